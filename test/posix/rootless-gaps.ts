/**
 * Owns the list of what a user namespace does not allow, on any filesystem: cases are left out by what their trees need, or by
 * title where they ask for it while they run. The plain directory beside the mount keeps the list honest.
 */
import { S } from '../../lib/sys/constants.js'
import type { Item } from './population.js'
import { cases } from './suite.js'
import type { IdKind } from './user-namespace.js'

const refused: Readonly<Record<string, readonly string[]>> = {}
const refusedWithOneId: Readonly<Record<string, readonly string[]>> = {}

/** Reasons by title. */
export function rootlessGaps(kind: IdKind): Record<string, string> {
  const gaps: Record<string, string> = {}
  for (const { title, items, layers } of cases) {
    const all = [...(items ?? []), ...(layers?.lowers.flat() ?? []), ...(layers?.upper ?? [])]
    const reason = all.map(item => refusal(item, kind)).find(r => r !== undefined)
    if (reason !== undefined) gaps[title] = reason
  }
  for (const table of kind === 'single' ? [refused, refusedWithOneId] : [refused])
    for (const [reason, titles] of Object.entries(table)) for (const title of titles) gaps[title] = reason
  return gaps
}

function refusal(item: Item, kind: IdKind): string | undefined {
  if (item.type === 'node' && (item.mode === S.IFCHR || item.mode === S.IFBLK)) return 'no device nodes'
  const { uid = 0, gid = 0, xattrs = {} } = item.attributes
  if (Object.keys(xattrs).some(name => !/^(user|system)\./.test(name))) return 'no trusted and security attributes'
  return kind === 'single' && (uid !== 0 || gid !== 0) ? 'one id' : undefined
}
