/**
 * Owns the data of copies: fresh files in the work directory, filled at once or by another thread.
 * - Small files are copied within the call; what the filesystem can share takes no time; the rest is a job (`host.defer`),
 *   noted in the node's `extra.copy`, and the caller returns PENDING. Whoever wants the node's data meanwhile waits for it.
 * Invariant: a copy's file and fds belong to the job from its start until `resume` hands the copy over, or drops it.
 */
import { E } from '../errno.js'
import { O } from '../sys/constants.js'
import { close } from '../sys/file.js'
import { type Stat, UTIME_NOW } from '../sys/stat.js'
import { type Job, PENDING } from './filesystem.js'
import { mutate } from './mutate.js'
import { type Copying, extraOf, type Node } from './node.js'
import type { Tree } from './tree.js'
import type { Work } from './work.js'

/** Files up to this size are copied within the call: a copy in the page cache takes less than waking another thread. */
const INLINE = 1 << 20

/** The name in the work directory of the copy whose fd was returned last; '' where it has none. */
export let temporary = ''

/** A fresh empty file in the work directory, open for reading and writing. */
export function emptyCopy(tree: Tree): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  temporary = work.name()
  return mutate.openat(work.fd, temporary, O.CREAT | O.EXCL | O.RDWR, 0o600)
}

/** The same without a name: its sync need not wait for the directory's (ext4 without a journal syncs that of a new name with the file). */
function namelessCopy(work: Work): number {
  temporary = ''
  return mutate.openat(work.fd, '.', O.TMPFILE | O.RDWR, 0o600)
}

/**
 * Copies the first `size` bytes of a node's lower data to a fresh file in the work directory, called `temporary`. Returns an
 * fd of it that the caller closes, PENDING, or `-errno`. `linkable`: the caller can give a name to a copy that has none, which is
 * what it gets where the copy is done within the call.
 */
export function copyData(tree: Tree, node: Node, size: number, linkable = false): number {
  const running = node.extra?.copy ?? null
  if (running !== null) return resume(tree, node, running)
  const from = tree.layer(node.layer).open(node.lower)
  if (from < 0) return from
  const { work } = tree
  const to = linkable && size <= INLINE && work?.tmpfile === true ? namelessCopy(work) : emptyCopy(tree)
  if (to < 0) {
    close(from)
    return to
  }
  const r = copyOrDefer(tree, node, from, to, size)
  if (r === PENDING) return r
  close(from)
  if (r >= 0) return to
  close(to)
  work?.discard(temporary)
  return r
}

/** Copies at once what is small or can be shared; else starts a job, which then owns both fds. */
function copyOrDefer(tree: Tree, node: Node, from: number, to: number, size: number): number {
  if (size <= INLINE) {
    const r = mutate.copyData(from, to, size)
    return r < 0 || tree.volatile ? r : mutate.fdatasync(to)
  }
  if (mutate.ficlone(to, from) >= 0) return mutate.ftruncate(to, size)
  const copy: Copying = {
    job: {
      spec: { op: 'copy', from, to, size, sync: !tree.volatile },
      done: (result: number): void => {
        copy.result = result
      },
    } satisfies Job,
    name: temporary,
    from,
    to,
    before: null,
    result: 1,
  }
  extraOf(node).copy = copy
  return tree.host.defer(copy.job)
}

/** Takes over a copy that a job made: its fd (and `temporary`), PENDING while it runs, or why it failed. */
export function resume(tree: Tree, node: Node, copy: Copying): number {
  if (copy.result === 1) return tree.host.defer(copy.job)
  extraOf(node).copy = null
  close(copy.from)
  temporary = copy.name
  if (copy.result >= 0) return copy.to
  close(copy.to)
  tree.work?.discard(copy.name)
  return copy.result
}

/** Fills an open upper file with the first `size` bytes of its node's lower data, as `copyData`. */
export function fill(tree: Tree, node: Node, to: number, size: number): number {
  const from = tree.layer(node.layer).open(node.lower)
  if (from < 0) return from
  temporary = ''
  const r = copyOrDefer(tree, node, from, to, size)
  if (r !== PENDING) close(from)
  return r
}

/** The times of the original; a copy that is `cut` short has been changed just now. */
export function setTimes(fd: number, st: Stat, cut: boolean): number {
  return mutate.futimens(fd, st.atime, st.atimeNs, st.mtime, cut ? UTIME_NOW : st.mtimeNs)
}
