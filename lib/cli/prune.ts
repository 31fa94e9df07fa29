/**
 * Owns what the prune verbs share: their options, the question at a terminal, and Docker's words for what is gone.
 * Invariant: nothing is removed before the question is answered with yes; without a terminal there is none.
 */
import type { ImageRemoval } from '../image/gc.js'
import type { StoredImage } from '../image/images.js'
import type { Context, Output } from './command.js'
import { size } from './human.js'
import { printable } from './printable.js'

export const forceOption = { force: { alias: 'f', type: 'boolean', describe: 'Do not ask' } } as const

/** `filter` of those whose things have a time and labels. */
export const filterOption = {
  filter: {
    type: 'string',
    array: true,
    requiresArg: true,
    describe: 'Only those that match: until=TIME or AGE, label=KEY[=VALUE], label!=…',
  },
} as const

/** Whether the user wants what is about to happen. `what`: one line for each kind of thing that goes. */
export async function agreed(context: Context, force: boolean | undefined, what: readonly string[]): Promise<boolean> {
  if (force === true || context.stdin.isTTY !== true) return true
  const { ask } = await import('./ask.js')
  const list = what.length === 1 ? ` ${what[0]}.\n` : `:\n${what.map(line => `  - ${line}\n`).join('')}\n`
  const answer = await ask(context, `WARNING! This will remove${list}Are you sure you want to continue? [y/N] `)
  if (/^y(es)?$/i.test(answer.trim())) return true
  context.stderr.write('nothing was removed\n')
  return false
}

/** `Deleted Volumes:`, the names, an empty line; nothing when there are none. */
export function tellDeleted(out: Output, kind: string, names: readonly string[]): void {
  if (names.length === 0) return
  out.write(`Deleted ${kind}:\n${names.map(name => `${printable(name)}\n`).join('')}\n`)
}

export function tellReclaimed(out: Output, bytes: number): void {
  out.write(`Total reclaimed space: ${size(bytes)}\n`)
}

/** The names and IDs of images that are gone, as Docker tells them. */
export function imageLines({ untagged, deleted }: Pick<ImageRemoval, 'untagged' | 'deleted'>): string[] {
  return [...untagged.map(name => `untagged: ${name}`), ...deleted.map(id => `deleted: ${id}`)]
}

/** For `pruneImages`: what the filters do not let go. */
export async function keptBy(filters: readonly string[]): Promise<(image: StoredImage) => boolean> {
  if (filters.length === 0) return () => false
  const [{ pruneFilter }, { asPrunable }] = await Promise.all([
    import('../runtime/filters.js'),
    import('./image-filter.js'),
  ])
  const goes = pruneFilter(filters)
  return image => !goes(asPrunable(image))
}
