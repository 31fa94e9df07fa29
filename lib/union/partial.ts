/**
 * Owns block-wise copy-up: a large lower file opened to be written only (a log, `>>`) is not copied before the first byte.
 * The upper gets a metadata copy; blocks that are written go to it, the rest is read from the lower and copied by another
 * thread, a stretch at a time. When all is there (and on disk), the metacopy mark is removed and the file is whole. The file
 * is served by us meanwhile (`OpenMode.Direct`), and in passthrough mode from the first open after its last release.
 *
 * Crash: until the mark is gone the lower's data counts, so the file is as before. fsync, and whatever needs the whole file
 * (a change of size, fallocate, copy_file_range), waits for the end of the copy. A clean unmount finishes it.
 * Files opened for reading as well are copied whole at once instead: a database deserves passthrough.
 * Invariant: a block is `present` exactly if the upper has its data; a block in flight is not written by anybody else.
 */
import { E } from '../errno.js'
import { O } from '../sys/constants.js'
import { close, preadAt } from '../sys/file.js'
import { addressOf, alloc } from '../sys/libc.js'
import { Stat, fstat } from '../sys/stat.js'
import { CAPABILITY } from '../sys/xattr.js'
import type { Io, Job } from './filesystem.js'
import { mutate } from './mutate.js'
import { extraOf, type Node, Presence } from './node.js'
import type { Tree } from './tree.js'
import { getxattrUpper, openUpper } from './upper.js'

const BLOCK = 1 << 16
/** Blocks copied by one job: 16 MiB. A write into them waits so long. */
const STRETCH = 256
/** Files up to this size are copied whole: that is soon done, and they are in passthrough mode at once. */
const SMALL = 8 << 20

const block = alloc(BLOCK)
const blockAddress = addressOf(block)
const st = new Stat()

export class Partial {
  readonly from: number
  readonly to: number
  /** How much of the file is the lower's. */
  readonly end: number
  readonly present: Uint8Array
  missing: number
  /** Blocks [first, last) are being copied by `job`. */
  first = 0
  last = 0
  job: Job | null = null
  /** Why the copy stopped, 0 as long as it goes on. */
  failed = 0
  mtime: number
  mtimeNs: number
  written = false
  readonly capability: Buffer | null

  constructor(from: number, to: number, before: Stat, capability: Buffer | null) {
    this.from = from
    this.to = to
    this.end = before.size
    this.missing = Math.ceil(before.size / BLOCK)
    this.present = new Uint8Array(this.missing)
    this.mtime = before.mtime
    this.mtimeNs = before.mtimeNs
    this.capability = capability
  }
}

/** Whether a write-open of `node` may go block-wise: it is large, and nobody has it open in another mode. */
export function mayBePartial(tree: Tree, node: Node, flags: number): boolean {
  if (!tree.metacopy || (flags & (O.ACCMODE | O.TRUNC)) !== O.WRONLY || node.parent === null) return false
  if (node.extra !== null && (node.extra.opens > 0 || node.extra.copy !== null)) return false
  return node.layer >= 0 && tree.layer(node.layer).stat(node.lower, st) >= 0 && st.size > SMALL
}

/** Begins a block-wise copy of a node whose metadata is in the upper. Returns 0 or `-errno`. */
export function begin(tree: Tree, node: Node): number {
  const from = tree.layer(node.layer).open(node.lower)
  if (from < 0) return from
  const to = openUpper(tree, node, O.RDWR)
  const r = to < 0 ? to : fstat(to, st)
  if (r < 0) {
    close(from)
    if (to >= 0) close(to)
    return r
  }
  const capability = getxattrUpper(tree, node, CAPABILITY)
  extraOf(node).partial = new Partial(from, to, st, typeof capability === 'number' ? null : capability)
  tree.partials.add(node)
  next(tree, node)
  return 0
}

/** Waits for the end of a node's block-wise copy: 0 when there is none, PENDING, or why it cannot end. */
export function settled(tree: Tree, node: Node): number {
  const partial = node.extra?.partial ?? null
  if (partial === null) return 0
  if (partial.failed < 0) {
    // Once more: there may be space again.
    const { failed } = partial
    partial.failed = 0
    next(tree, node)
    return failed
  }
  return partial.job === null ? 0 : tree.host.defer(partial.job)
}

/** Copies the next stretch that is missing, or ends the copy. */
function next(tree: Tree, node: Node): void {
  const partial = node.extra?.partial ?? null
  if (partial === null) return
  const { present } = partial
  let first = partial.last
  if (partial.missing > 0) {
    while (present[first] !== 0) first = first + 1 < present.length ? first + 1 : 0
    let last = first + 1
    while (last < present.length && last - first < STRETCH && present[last] === 0) last++
    partial.first = first
    partial.last = last
    start(tree, partial, {
      spec: {
        op: 'copy-range',
        from: partial.from,
        to: partial.to,
        start: first * BLOCK,
        end: Math.min(last * BLOCK, partial.end),
      },
      done: result => {
        partial.job = null
        if (result < 0) partial.failed = result
        else {
          present.fill(1, first, last)
          partial.missing -= last - first
          next(tree, node)
        }
      },
    })
    return
  }
  partial.first = partial.last = 0
  if (tree.volatile) finish(tree, node, partial)
  else {
    start(tree, partial, {
      spec: { op: 'fsync', fd: partial.to, dataOnly: true },
      done: result => {
        partial.job = null
        if (result < 0) partial.failed = result
        else finish(tree, node, partial)
      },
    })
  }
}

function start(tree: Tree, partial: Partial, job: Job): void {
  partial.job = job
  tree.host.defer(job)
}

/** All data is there: the lower's counts no more. */
function finish(tree: Tree, node: Node, partial: Partial): void {
  let r = 0
  if (!partial.written && partial.capability !== null) r = mutate.fsetxattr(partial.to, CAPABILITY, partial.capability)
  if (r >= 0) r = fstat(partial.to, st)
  if (r >= 0) r = mutate.futimens(partial.to, st.atime, st.atimeNs, partial.mtime, partial.mtimeNs)
  if (r >= 0) r = mutate.fremovexattr(partial.to, `${tree.xattrPrefix}metacopy`)
  if (r < 0) {
    partial.failed = r
    return
  }
  close(partial.from)
  close(partial.to)
  node.upper = Presence.Full
  extraOf(node).partial = null
  tree.partials.delete(node)
  if (node.lookups <= 0) tree.collect(node)
}

/** Ends every block-wise copy in this thread, before the tree goes. */
export function finishAll(tree: Tree): void {
  // oxlint-disable-next-line unicorn/no-useless-spread -- the set changes while we go over it
  for (const node of [...tree.partials]) {
    const partial = node.extra?.partial ?? null
    if (partial === null) continue
    let r = 0
    for (let i = 0; i < partial.present.length && r >= 0; i++) if (partial.present[i] === 0) r = fetch(partial, i)
    if (r >= 0 && !tree.volatile) r = mutate.fdatasync(partial.to)
    if (r >= 0) finish(tree, node, partial)
    else tree.host.log(`union: the copy of a file could not be finished: errno ${-r}`)
  }
}

/** Copies one block now. */
function fetch(partial: Partial, i: number): number {
  const from = i * BLOCK
  const r = copy(partial, from, Math.min(from + BLOCK, partial.end))
  if (r < 0) return r
  partial.present[i] = 1
  partial.missing--
  return 0
}

function copy(partial: Partial, from: number, end: number): number {
  for (let at = from; at < end;) {
    const n = preadAt(partial.from, blockAddress, Math.min(end - at, block.length), at)
    if (n === -E.EINTR) continue
    if (n <= 0) return n
    for (let done = 0; done < n;) {
      const w = mutate.pwriteAt(partial.to, blockAddress + done, n - done, at + done)
      if (w === -E.EINTR) continue
      if (w < 0) return w
      done += w
    }
    at += n
  }
  return 0
}

/** read of a file under way: each stretch from the layer that has it. */
export function readPartial(partial: Partial, size: number, position: number, into: Io, at: number): number {
  let done = 0
  while (done < size) {
    const from = position + done
    const i = Math.floor(from / BLOCK)
    const lower = from < partial.end && partial.present[i] === 0
    let end = i + 1
    while (end * BLOCK < position + size && end * BLOCK < partial.end && (partial.present[end] === 0) === lower) end++
    const until = Math.min(end * BLOCK, position + size, lower ? partial.end : Infinity)
    const n = preadAt(lower ? partial.from : partial.to, into.address + at + done, until - from, from)
    if (n === -E.EINTR) continue
    if (n < 0) return done > 0 ? done : n
    done += n
    if (n === 0) break
  }
  return done
}

/** write to a file under way. PENDING while another thread copies what it would touch. */
export function writePartial(
  tree: Tree,
  partial: Partial,
  size: number,
  position: number,
  from: Io,
  at: number,
): number {
  const end = position + size
  const first = Math.floor(position / BLOCK)
  const last = Math.min(Math.ceil(end / BLOCK), partial.present.length)
  for (let i = first; i < last; i++) {
    if (partial.present[i] !== 0) continue
    if (partial.job !== null && i >= partial.first && i < partial.last) return tree.host.defer(partial.job)
  }
  // Blocks that are not overwritten whole need their own bytes first: only the outermost two can be such.
  for (let i = first; i < last; i++) {
    if (partial.present[i] !== 0) continue
    const whole = i * BLOCK >= position && Math.min((i + 1) * BLOCK, partial.end) <= end
    const r = whole ? 0 : fetch(partial, i)
    if (r < 0) return r
  }
  let done = 0
  let error = 0
  while (done < size) {
    const n = mutate.pwriteAt(partial.to, from.address + at + done, size - done, position + done)
    if (n === -E.EINTR) continue
    if (n <= 0) {
      error = n
      break
    }
    done += n
  }
  if (done === 0) return error
  for (let i = first; i < last && i * BLOCK < position + done; i++) {
    if (partial.present[i] !== 0) continue
    // A write that fell short has begun this block: the rest of it is the lower's.
    const r = copy(partial, Math.max(i * BLOCK, position + done), Math.min((i + 1) * BLOCK, partial.end))
    if (r < 0) return r
    partial.present[i] = 1
    partial.missing--
  }
  partial.written = true
  if (fstat(partial.to, st) >= 0) {
    partial.mtime = st.mtime
    partial.mtimeNs = st.mtimeNs
  }
  return done
}
