/**
 * Owns the explorer's data: every path an image ever had and what each layer did to it, in flat arrays. One form for the
 * page, the terminal and the file that is sent; it holds no DOM and no Node API beyond typed arrays.
 * Format on the wire: u32 length of a JSON header, the header, then the arrays back to back, each 8-byte aligned, all
 * little-endian (the caller compresses it). Names are text that is already safe to show.
 * Invariant: nodes are in breadth-first order, so a parent's index is lower than its children's, and the children of one
 * directory are consecutive and sorted: directories first, then by name.
 */

export interface DatasetLayer {
  /** What made it: `RUN apt-get …`, or '' when the image does not say. */
  readonly instruction: string
  readonly id: string
  readonly bytes: number
  readonly visibleBytes: number
  readonly hiddenBytes: number
  readonly added: number
  readonly changed: number
  readonly removed: number
}

/** Kinds of event. */
export const EVENT = { ADDED: 1, CHANGED: 2, REMOVED: 3 } as const

/** Bits for what changed. TYPE and CONTENT as in change.ts, the rest metadata. */
export const ASPECT = { TYPE: 1, CONTENT: 2, MODE: 4, OWNER: 8, TIME: 16, XATTR: 32 } as const

export interface DatasetInfo {
  readonly title: string
  readonly layers: readonly DatasetLayer[]
  readonly efficiency: number
  readonly totalBytes: number
  readonly wastedBytes: number
  /** Texts kept in the page itself, by event: what a page without a server can show. */
  readonly texts?: Readonly<Record<number, string>>
  /** The two sides of a comparison instead of the layers of one image. */
  readonly comparison?: boolean
}

/** `N` nodes, `E` events; the events of node n are `eventStart[n]` to `eventStart[n + 1]`, by layer, base first. */
export interface Dataset {
  readonly info: DatasetInfo
  readonly names: readonly string[]
  readonly parent: Uint32Array
  /** First child, and how many; 0 of 0 for what never was a directory. */
  readonly first: Uint32Array
  readonly count: Uint32Array
  readonly eventStart: Uint32Array
  readonly eventLayer: Uint16Array
  readonly eventKind: Uint8Array
  readonly eventAspects: Uint8Array
  readonly mode: Uint16Array
  readonly uid: Uint32Array
  readonly gid: Uint32Array
  readonly size: Float64Array
  readonly mtime: Float64Array
  /** Index + 1 into `targets` for symlinks. */
  readonly target: Uint32Array
  readonly targets: readonly string[]
  /** Layer + 1 since which the event's data can no longer be seen; 0: visible to the end, or no data. */
  readonly hiddenSince: Uint16Array
}

const ARRAYS = {
  parent: Uint32Array,
  first: Uint32Array,
  count: Uint32Array,
  eventStart: Uint32Array,
  eventLayer: Uint16Array,
  eventKind: Uint8Array,
  eventAspects: Uint8Array,
  mode: Uint16Array,
  uid: Uint32Array,
  gid: Uint32Array,
  size: Float64Array,
  mtime: Float64Array,
  target: Uint32Array,
  hiddenSince: Uint16Array,
} as const
type ArrayName = keyof typeof ARRAYS
const ORDER = Object.keys(ARRAYS) as ArrayName[]

interface Header {
  readonly info: DatasetInfo
  readonly lengths: Readonly<Record<ArrayName, number>>
  readonly names: number
  readonly targets: number
}

const align = (n: number): number => (n + 7) & ~7

export function encodeDataset(data: Dataset): Uint8Array {
  const utf8 = new TextEncoder()
  const names = utf8.encode(data.names.join('\0'))
  const targets = utf8.encode(data.targets.join('\0'))
  const lengths = Object.fromEntries(ORDER.map(k => [k, data[k].length])) as Record<ArrayName, number>
  const header: Header = { info: data.info, lengths, names: names.length, targets: targets.length }
  const head = utf8.encode(JSON.stringify(header))
  const pieces = [
    head,
    ...ORDER.map(k => new Uint8Array(data[k].buffer, data[k].byteOffset, data[k].byteLength)),
    names,
    targets,
  ]
  let size = 8
  for (const piece of pieces) size = align(size) + piece.length
  const out = new Uint8Array(align(size))
  new DataView(out.buffer).setUint32(0, head.length, true)
  let at = 8
  for (const piece of pieces) {
    at = align(at)
    out.set(piece, at)
    at += piece.length
  }
  return out
}

export function decodeDataset(bytes: Uint8Array): Dataset {
  const { buffer, byteOffset } = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice()
  const headLength = new DataView(buffer, byteOffset).getUint32(0, true)
  const text = new TextDecoder()
  const header = JSON.parse(text.decode(new Uint8Array(buffer, byteOffset + 8, headLength))) as Header
  let at = 8 + headLength
  const arrays: Partial<Record<ArrayName, unknown>> = {}
  for (const name of ORDER) {
    at = align(at)
    const length = header.lengths[name]
    const array = new ARRAYS[name](buffer as ArrayBuffer, byteOffset + at, length)
    arrays[name] = array
    at += array.byteLength
  }
  const list = (length: number): string[] => {
    at = align(at)
    const found = text.decode(new Uint8Array(buffer, byteOffset + at, length)).split('\0')
    at += length
    return found
  }
  const names = list(header.names)
  const targets = list(header.targets)
  return { info: header.info, names, targets, ...(arrays as Record<ArrayName, never>) }
}

/** Path of a node as it is shown. */
export function shownPath(data: Dataset, node: number): string {
  if (node === 0) return '/'
  const names: string[] = []
  for (let n = node; n !== 0; n = data.parent[n] as number) names.push(data.names[n] as string)
  return `/${names.reverse().join('/')}`
}

/** The node's last event at or below `layer`, or -1 when it was never heard of. */
export function eventAt(data: Dataset, node: number, layer: number): number {
  const start = data.eventStart[node] as number
  for (let e = (data.eventStart[node + 1] as number) - 1; e >= start; e--) {
    if ((data.eventLayer[e] as number) <= layer) return e
  }
  return -1
}
