/**
 * Owns what one looks at: a range of layers of a dataset, and for each node what it was before the range, what it is after
 * it, and what that means. Used by the page and by the terminal.
 * Invariant: one pass over flat arrays per change of range (150,000 nodes: some ten milliseconds), none per row drawn.
 */
import { ASPECT, type Dataset, EVENT, eventAt } from './dataset.js'

/** How a node differs between the two ends of the range. Order matters: `filter` shows kinds by bit 1 << kind. */
export const KIND = { ABSENT: 0, SAME: 1, ADDED: 2, MODIFIED: 3, METADATA: 4, REMOVED: 5 } as const
export type Kind = (typeof KIND)[keyof typeof KIND]

export const ALL_KINDS = 0b111110
export const CHANGED_KINDS = 0b111100

const DIRECTORY = 0o040000
const FORMAT = 0o170000
const LINK = 0o120000

/** The last event per node at both ends, the kind of change, and sums over what is below (the node itself included). */
export interface View {
  readonly data: Dataset
  readonly from: number
  readonly to: number
  /** -1: not there. */
  readonly before: Int32Array
  readonly after: Int32Array
  readonly kind: Uint8Array
  /** Bit 1 << kind for every kind that occurs at or below the node. */
  readonly kindsBelow: Uint8Array
  /** Bytes of regular files at the end of the range; removed files count with what they had. */
  readonly bytes: Float64Array
  /** Bytes in files that were added or whose content changed. */
  readonly changedBytes: Float64Array
  readonly totals: Readonly<Record<'added' | 'modified' | 'metadata' | 'removed', number>>
}

/** What layers `from` to `to` (inclusive, base = 0) did. `from` 0: against nothing. */
export function viewOf(data: Dataset, from: number, to: number): View {
  const n = data.names.length
  const before = new Int32Array(n)
  const after = new Int32Array(n)
  const kind = new Uint8Array(n)
  const kindsBelow = new Uint8Array(n)
  const bytes = new Float64Array(n)
  const changedBytes = new Float64Array(n)
  const totals = { added: 0, modified: 0, metadata: 0, removed: 0 }
  for (let node = 0; node < n; node++) {
    const a = live(data, from === 0 ? -1 : eventAt(data, node, from - 1))
    const b = live(data, eventAt(data, node, to))
    before[node] = a
    after[node] = b
    const k = kindOf(data, node, a, b)
    kind[node] = k
    kindsBelow[node] = k === KIND.ABSENT ? 0 : 1 << k
    const shown = b >= 0 ? b : a
    const isDirectory = shown >= 0 && ((data.mode[shown] as number) & FORMAT) === DIRECTORY
    if (shown >= 0 && ((data.mode[shown] as number) & FORMAT) === 0o100000) {
      bytes[node] = data.size[shown] as number
      if (k === KIND.ADDED || k === KIND.MODIFIED) changedBytes[node] = data.size[shown] as number
    }
    if (isDirectory) continue
    if (k === KIND.ADDED) totals.added++
    else if (k === KIND.MODIFIED) totals.modified++
    else if (k === KIND.METADATA) totals.metadata++
    else if (k === KIND.REMOVED) totals.removed++
  }
  for (let node = n - 1; node > 0; node--) {
    const up = data.parent[node] as number
    kindsBelow[up] = (kindsBelow[up] as number) | (kindsBelow[node] as number)
    // What is gone takes no room in what is there.
    if (kind[node] !== KIND.REMOVED || kind[up] === KIND.REMOVED)
      bytes[up] = (bytes[up] as number) + (bytes[node] as number)
    changedBytes[up] = (changedBytes[up] as number) + (changedBytes[node] as number)
  }
  return { data, from, to, before, after, kind, kindsBelow, bytes, changedBytes, totals }
}

function live(data: Dataset, event: number): number {
  return event >= 0 && data.eventKind[event] !== EVENT.REMOVED ? event : -1
}

function kindOf(data: Dataset, node: number, a: number, b: number): Kind {
  if (a < 0) return b < 0 ? KIND.ABSENT : KIND.ADDED
  if (b < 0) return KIND.REMOVED
  if (a === b) return KIND.SAME
  let aspects = 0
  let added = false
  const last = data.eventStart[node + 1] as number
  for (let e = a + 1; e < last && e <= b; e++) {
    aspects |= data.eventAspects[e] as number
    if (data.eventKind[e] !== EVENT.CHANGED) added = true
  }
  if (added || (aspects & (ASPECT.TYPE | ASPECT.CONTENT)) !== 0) return KIND.MODIFIED
  return aspects === 0 ? KIND.SAME : KIND.METADATA
}

/** The event that gives what is shown of a node: after the range, or before it for what was removed; -1 for neither. */
export function shownEvent({ before, after }: View, node: number): number {
  const b = after[node] as number
  return b >= 0 ? b : (before[node] as number)
}

export function isDirectoryIn(view: View, node: number): boolean {
  const event = shownEvent(view, node)
  return event >= 0 && ((view.data.mode[event] as number) & FORMAT) === DIRECTORY
}

export function isLinkIn(view: View, node: number): boolean {
  const event = shownEvent(view, node)
  return event >= 0 && ((view.data.mode[event] as number) & FORMAT) === LINK
}

/** Which nodes match a search, and which must be shown to reach them. */
export interface Matches {
  readonly count: number
  /** 1: matches; 2: leads to one. */
  readonly mark: Uint8Array
}

/** Nodes of the view whose name (with a `/` in `text`: whose path) contains `text`, upper and lower case alike. */
export function search(view: View, text: string): Matches | undefined {
  const wanted = text.trim().toLowerCase()
  if (wanted === '') return undefined
  const { data, kind } = view
  const mark = new Uint8Array(data.names.length)
  const asPath = wanted.includes('/')
  const tail = asPath ? wanted.slice(wanted.lastIndexOf('/') + 1) : wanted
  let count = 0
  for (let node = data.names.length - 1; node > 0; node--) {
    if (kind[node] !== KIND.ABSENT && (data.names[node] as string).toLowerCase().includes(tail)) {
      if (!asPath || pathOf(data, node).includes(wanted)) {
        mark[node] = (mark[node] as number) | 1
        count++
      }
    }
    if (mark[node] !== 0) {
      const up = data.parent[node] as number
      mark[up] = (mark[up] as number) | 2
    }
  }
  return { count, mark }
}

function pathOf(data: Dataset, node: number): string {
  let path = ''
  for (let n = node; n !== 0; n = data.parent[n] as number) path = `/${data.names[n] as string}${path}`
  return path.toLowerCase()
}

export interface Rows {
  readonly nodes: Int32Array
  readonly depths: Uint16Array
  readonly length: number
}

/**
 * The rows of the tree from the top: children of `open` directories, only kinds in `kinds`, only what matches. With a
 * search, ways to matches are open by themselves.
 */
export function rowsOf(view: View, open: Uint8Array, kinds: number, matches?: Matches): Rows {
  const { data, kind, kindsBelow } = view
  const nodes = new Int32Array(data.names.length)
  const depths = new Uint16Array(data.names.length)
  let length = 0
  const stack: number[] = [0]
  const levels: number[] = [-1]
  while (stack.length > 0) {
    const node = stack.pop() as number
    const depth = levels.pop() as number
    if (node !== 0) {
      nodes[length] = node
      depths[length++] = depth
      const forced = matches !== undefined && ((matches.mark[node] as number) & 2) !== 0
      if (open[node] === 0 && !forced) continue
      if (!isDirectoryIn(view, node)) continue
    }
    const first = data.first[node] as number
    for (let child = first + (data.count[node] as number) - 1; child >= first; child--) {
      if (kind[child] === KIND.ABSENT || ((kindsBelow[child] as number) & kinds) === 0) continue
      if (matches !== undefined && matches.mark[child] === 0 && !inside(matches, data, child)) continue
      stack.push(child)
      levels.push(depth + 1)
    }
  }
  return { nodes: nodes.subarray(0, length), depths: depths.subarray(0, length), length }
}

/** Below a directory that matches itself, everything may be looked at. */
function inside(matches: Matches, data: Dataset, node: number): boolean {
  for (let n = data.parent[node] as number; n !== 0; n = data.parent[n] as number) {
    if (((matches.mark[n] as number) & 1) !== 0) return true
  }
  return false
}

const TYPE_CHARS: Readonly<Record<number, string>> = {
  0o140000: 's',
  0o120000: 'l',
  0o100000: '-',
  0o060000: 'b',
  0o040000: 'd',
  0o020000: 'c',
  0o010000: 'p',
}

/** `-rwsr-xr-x`, as ls shows a mode. */
export function modeText(mode: number): string {
  const bits = [0o400, 0o200, 0o100, 0o040, 0o020, 0o010, 0o004, 0o002, 0o001]
  const chars = bits.map((bit, i) => ((mode & bit) !== 0 ? 'rwx'.charAt(i % 3) : '-'))
  const special = (bit: number, at: number, small: string, big: string): void => {
    if ((mode & bit) !== 0) chars[at] = chars[at] === 'x' ? small : big
  }
  special(0o4000, 2, 's', 'S')
  special(0o2000, 5, 's', 'S')
  special(0o1000, 8, 't', 'T')
  return (TYPE_CHARS[mode & FORMAT] ?? '?') + chars.join('')
}

/** `1.21 MB`: three digits, powers of 1000. */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit] as string}`
}
