/**
 * Owns tar -> entries in one streaming pass: `tar-framing.ts` takes the extensions out, `tar-stream` decodes headers and
 * carries the data, and here the two meet again.
 * Formats: names, targets and xattr names are byte strings; times are seconds and nanoseconds; sizes bytes.
 * Invariant: memory does not grow with the archive; the handler is called in the archive's order, never concurrently.
 */
import { extract, type Header } from 'tar-stream'
import { type Extension, type Sparse, TarFraming } from './tar-framing.js'
import { TarError } from './tar-error.js'

export type TarType = 'file' | 'link' | 'symlink' | 'character-device' | 'block-device' | 'directory' | 'fifo'

export interface TarEntry {
  /** As the tar has it: not checked, not cleaned. */
  readonly name: string
  readonly type: TarType
  /** Permission bits, 0..07777. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: number
  readonly mtimeNs: number
  /** A file's size with its holes; 0 for everything else. */
  readonly size: number
  readonly target: string
  readonly major: number
  readonly minor: number
  readonly xattrs: Map<string, Buffer> | undefined
  readonly sparse: Sparse | undefined
}

/** What is done with the entries, synchronously: the pace is the reader's. Exceptions end the reading. */
export interface TarHandler {
  entry(entry: TarEntry): void
  /** A piece of the current file's stored bytes, valid during the call. */
  data(chunk: Buffer): void
  /** The current entry is complete. Called for every entry. */
  end(): void
}

/** Reads the whole tar. Resolves after the last entry; rejects with TarError, or with what the input or handler threw. */
export async function readTar(input: AsyncIterable<Buffer>, handler: TarHandler): Promise<void> {
  const framing = new TarFraming()
  // Both options are documented by tar-stream and missing from its types.
  const decoder = extract({ filenameEncoding: 'latin1', allowUnknownFormat: true } as object)
  const state: { failure: unknown; underway: number } = { failure: undefined, underway: 0 }
  // tar-stream may close before the last entry's stream has ended: `underway` says so.
  let settled = (): void => {}
  const fail = (error: unknown): void => {
    state.failure ??= error
    decoder.destroy()
    settled()
  }
  decoder.on('error', error => (state.failure ??= new TarError('TAR_CORRUPT', error.message)))
  decoder.on('entry', (headers, stream, next) => {
    state.underway++
    try {
      handler.entry(combine(headers, framing.next()))
    } catch (error) {
      return fail(error)
    }
    stream.on('data', chunk => {
      try {
        if (state.failure === undefined) handler.data(chunk as Buffer)
      } catch (error) {
        fail(error)
      }
    })
    stream.on('error', fail)
    stream.on('end', () => {
      try {
        handler.end()
      } catch (error) {
        return fail(error)
      }
      next()
      if (--state.underway === 0) settled()
    })
    stream.resume()
  })
  let wake = (): void => {}
  decoder.on('drain', () => wake())
  const closed = new Promise<void>(resolve =>
    decoder.on('close', () => {
      wake()
      resolve()
    }),
  )
  try {
    for await (const chunk of input) {
      for (const piece of framing.push(chunk)) {
        if (state.failure !== undefined) throw state.failure as Error
        if (!decoder.write(piece)) await new Promise<void>(resolve => (wake = resolve))
      }
    }
    if (state.failure !== undefined) throw state.failure as Error
    framing.end()
    decoder.end(undefined)
    await closed
    // oxlint-disable-next-line typescript/no-unnecessary-condition -- set by the callbacks above, meanwhile
    if (state.failure === undefined && state.underway > 0) await new Promise<void>(resolve => (settled = resolve))
    // oxlint-disable-next-line typescript/no-unnecessary-condition -- as above
    if (state.failure !== undefined) throw state.failure as Error
  } finally {
    decoder.destroy()
  }
}

function combine(headers: Header, extension: Extension): TarEntry {
  const { records, sparse } = extension
  const name = records.get('path') || headers.name
  const number = (key: string, value: number | undefined, max: number): number => {
    const text = records.get(key)
    const n = text ? Number(text) : (value ?? 0)
    if (!(Number.isInteger(n) && n >= 0 && n <= max)) throw new TarError('TAR_UNSUPPORTED', `${key} out of range`, name)
    return n
  }
  const { sec, ns } = time(records.get('mtime'), headers.mtime, name)
  let type = headers.type as TarType | 'contiguous-file' | null
  if (type === 'contiguous-file') type = 'file'
  const size = headers.size
  if (type === 'file' && name.endsWith('/') && size === 0 && sparse === undefined) type = 'directory'
  if (type === null || !known.has(type)) throw new TarError('TAR_UNSUPPORTED', 'unknown entry type', name)
  return {
    name,
    type,
    mode: headers.mode & 0o7777,
    uid: number('uid', headers.uid, 0xfffffffe),
    gid: number('gid', headers.gid, 0xfffffffe),
    mtime: sec,
    mtimeNs: ns,
    size: type === 'file' ? (sparse?.size ?? size) : 0,
    target: (records.get('linkpath') || (headers.linkname as string | null)) ?? '',
    major: number('major', headers.devmajor, 0xfff),
    minor: number('minor', headers.devminor, 0xfffff),
    xattrs: xattrs(records),
    sparse,
  }
}

const known = new Set<string>(['file', 'link', 'symlink', 'character-device', 'block-device', 'directory', 'fifo'])

/** `seconds[.fraction]`, maybe negative: -1.25 is second -2 and 750,000,000 ns. */
function time(record: string | undefined, header: Date | undefined, name: string): { sec: number; ns: number } {
  if (!record) {
    const ms = header?.getTime() ?? 0
    if (!Number.isFinite(ms)) throw new TarError('TAR_UNSUPPORTED', 'mtime out of range', name)
    return { sec: Math.floor(ms / 1000), ns: 0 }
  }
  const m = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(record)
  if (m === null) throw new TarError('TAR_CORRUPT', 'mtime is no number', name)
  const sec = Number(m[2])
  const ns = Number((m[3] ?? '').slice(0, 9).padEnd(9, '0'))
  if (m[1] === '') return { sec, ns }
  return ns === 0 ? { sec: sec === 0 ? 0 : -sec, ns: 0 } : { sec: -sec - 1, ns: 1e9 - ns }
}

const SCHILY = 'SCHILY.xattr.'
const LIBARCHIVE = 'LIBARCHIVE.xattr.'

/** xattrs as star, GNU tar and Go write them (raw), and as libarchive does (URL-quoted name, base64 value). */
function xattrs(records: ReadonlyMap<string, string>): Map<string, Buffer> | undefined {
  let found: Map<string, Buffer> | undefined
  for (const [key, value] of records) {
    if (key.startsWith(SCHILY)) (found ??= new Map()).set(key.slice(SCHILY.length), Buffer.from(value, 'latin1'))
    else if (key.startsWith(LIBARCHIVE)) {
      const name = key.slice(LIBARCHIVE.length).replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => byte(hex))
      found ??= new Map()
      if (!found.has(name)) found.set(name, Buffer.from(value, 'base64'))
    }
  }
  return found
}

function byte(hex: string): string {
  return String.fromCharCode(parseInt(hex, 16))
}
