/**
 * Owns the explorer's data: every path an image ever had and what each layer did to it, in flat arrays. One form for the
 * page, the terminal and the file that is sent; it holds no DOM and no Node API beyond typed arrays.
 * Format on the wire: u32 length of a JSON header, the header, then the arrays back to back, each 8-byte aligned, all
 * little-endian (the caller compresses it). Each in as few bytes an element as its values need, none at all when they are
 * all the same; what the order of nodes says anyway is not sent: a page inflates a quarter of what it holds. Names are
 * text that is already safe to show.
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

/** What is sent of the arrays, and as what the reader wants it. */
const ARRAYS = {
  count: Uint32Array,
  events: Uint32Array,
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
type Numbers = Uint8Array | Uint16Array | Uint32Array | Float64Array
const ORDER = Object.keys(ARRAYS) as ArrayName[]
/** Forms on the wire, the first that can hold all values is taken. */
const FORMS = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array, f64: Float64Array } as const
type FormName = keyof typeof FORMS

interface Column {
  readonly length: number
  /** Or the one value that all have. */
  readonly form: FormName | number
}

interface Header {
  readonly info: DatasetInfo
  readonly columns: Readonly<Record<ArrayName, Column>>
  readonly names: number
  readonly targets: number
}

const align = (n: number): number => (n + 7) & ~7

/** The column, and its bytes. */
function pack(values: Numbers): { column: Column; bytes: Uint8Array } {
  const { length } = values
  const fits = { u8: true, u16: true, u32: true }
  let same = true
  for (let i = 0; i < length; i++) {
    const value = values[i] as number
    if (value !== values[0]) same = false
    if (value >>> 0 !== value) return packed(values, 'f64')
    if (value > 0xff) fits.u8 = false
    if (value > 0xffff) fits.u16 = false
  }
  if (same && length > 0) return { column: { length, form: values[0] as number }, bytes: new Uint8Array(0) }
  return packed(values, fits.u8 ? 'u8' : fits.u16 ? 'u16' : 'u32')
}

function packed(values: Numbers, form: FormName): { column: Column; bytes: Uint8Array } {
  return { column: { length: values.length, form }, bytes: new Uint8Array(new FORMS[form](values).buffer) }
}

export function encodeDataset(data: Dataset): Uint8Array {
  const utf8 = new TextEncoder()
  const names = utf8.encode(data.names.join('\0'))
  const targets = utf8.encode(data.targets.join('\0'))
  const events = data.eventStart.subarray(1).map((end, node) => end - (data.eventStart[node] as number))
  const columns = ORDER.map(name => [name, pack(name === 'events' ? events : data[name])] as const)
  const header: Header = {
    info: data.info,
    columns: Object.fromEntries(columns.map(([name, { column }]) => [name, column])) as Header['columns'],
    names: names.length,
    targets: targets.length,
  }
  const head = utf8.encode(JSON.stringify(header))
  const pieces = [head, ...columns.map(([, { bytes }]) => bytes), names, targets]
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
  const array = (name: ArrayName): Numbers => {
    const { length, form } = header.columns[name]
    at = align(at)
    if (typeof form === 'number') return new ARRAYS[name](length).fill(form)
    const sent = new FORMS[form](buffer as ArrayBuffer, byteOffset + at, length)
    at += sent.byteLength
    return sent instanceof ARRAYS[name] ? sent : new ARRAYS[name](sent)
  }
  const { count, events, ...arrays } = Object.fromEntries(ORDER.map(name => [name, array(name)])) as Record<
    ArrayName,
    never
  >
  const list = (length: number): string[] => {
    at = align(at)
    const found = text.decode(new Uint8Array(buffer, byteOffset + at, length)).split('\0')
    at += length
    return found
  }
  const names = list(header.names)
  const targets = list(header.targets)
  return { info: header.info, names, targets, count, ...treeOf(count), eventStart: startsOf(events), ...arrays }
}

/** Breadth first, the children of one directory follow those of the one before it. */
function treeOf(count: Uint32Array): { parent: Uint32Array; first: Uint32Array } {
  const parent = new Uint32Array(count.length)
  const first = new Uint32Array(count.length)
  let next = 1
  for (let node = 0; node < count.length; node++) {
    const children = count[node] as number
    if (children === 0) continue
    first[node] = next
    parent.fill(node, next, next + children)
    next += children
  }
  return { parent, first }
}

function startsOf(events: Uint32Array): Uint32Array {
  const starts = new Uint32Array(events.length + 1)
  for (let node = 0; node < events.length; node++)
    starts[node + 1] = (starts[node] as number) + (events[node] as number)
  return starts
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
