/**
 * Owns the list of what a user namespace does not allow, on any filesystem: cases are left out by what their trees need, or by
 * title where they ask for it while they run. The plain directory beside the mount keeps the list honest.
 */
import { S } from '../../lib/sys/constants.js'
import type { Item } from './population.js'
import { cases } from './suite.js'
import type { IdKind } from './user-namespace.js'

const refused: Readonly<Record<string, readonly string[]>> = {
  'no trusted and security attributes': [
    'attributes are set, replaced, listed and removed on every kind that may have them',
    'an attribute set through a symlink does not land on its target',
    'a write or a truncate by a user clears suid, sgid and capabilities; by root only capabilities',
  ],
  'no device nodes': ['device nodes, FIFOs and sockets are made with their type, mode and number'],
  'append-only and immutable are the machine’s root’s to give': [
    'an immutable file or directory changes in no way, an append-only one only grows, until the flag goes',
  ],
  'ids beyond the range': ['owners may be any number of 32 bits'],
}
const refusedWithOneId: Readonly<Record<string, readonly string[]>> = {
  'one id: nothing can be given to another': [
    'a file that is unlinked while open goes on working, with nlink 0',
    'inode and device numbers stay for life: through write, chmod, rename and remount',
    'chown sets either id or both, of any kind of file, and not through a symlink',
    'chown clears suid and sgid of a file, keeps those of a directory',
    'calls on handles change the file they were opened for',
    'a default ACL is inherited, and stands in for the umask',
    'raw upper: a change of attributes moves no data, and the data follows when it is written',
  ],
  'one id: there is no other user': [
    'a created file has the mode asked for without the umask, and the creator as its owner',
    'a name that a user could not remove is still there',
  ],
}

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
  const named = Object.keys(xattrs).some(name => name.startsWith('system.posix_acl'))
  return kind === 'single' && (uid !== 0 || gid !== 0 || named) ? 'one id' : undefined
}
