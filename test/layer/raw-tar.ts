/** Tar archives written byte by byte, so that tests can say what no tar program would. Names are byte strings. */

export interface RawEntry {
  name: string
  type?: string
  mode?: number
  uid?: number
  gid?: number
  mtime?: number
  link?: string
  major?: number
  minor?: number
  data?: Buffer | string
  /** Lies about the size. */
  size?: number
  pax?: Record<string, string | Buffer>
  /** Changes the finished header, before its checksum is made. */
  patch?: (header: Buffer) => void
}

export function header(e: RawEntry): Buffer {
  const h = Buffer.alloc(512)
  const size = e.size ?? (e.data ?? '').length
  h.write(e.name.slice(0, 100), 0, 'latin1')
  h.write((e.mode ?? 0o644).toString(8).padStart(7, '0'), 100, 'latin1')
  h.write((e.uid ?? 0).toString(8).padStart(7, '0'), 108, 'latin1')
  h.write((e.gid ?? 0).toString(8).padStart(7, '0'), 116, 'latin1')
  h.write(size.toString(8).padStart(11, '0'), 124, 'latin1')
  h.write((e.mtime ?? 1700000000).toString(8).padStart(11, '0'), 136, 'latin1')
  h.write(e.type ?? '0', 156, 'latin1')
  h.write((e.link ?? '').slice(0, 100), 157, 'latin1')
  h.write('ustar\x0000', 257, 'latin1')
  h.write((e.major ?? 0).toString(8).padStart(7, '0'), 329, 'latin1')
  h.write((e.minor ?? 0).toString(8).padStart(7, '0'), 337, 'latin1')
  e.patch?.(h)
  checksum(h)
  return h
}

export function checksum(h: Buffer): void {
  h.write('        ', 148, 'latin1')
  let sum = 0
  for (const byte of h) sum += byte
  h.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
}

function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)])
}

export function paxRecords(records: Record<string, string | Buffer> | [string, string | Buffer][]): Buffer {
  return Buffer.concat(
    (Array.isArray(records) ? records : Object.entries(records)).map(([key, value]) => {
      const body = Buffer.concat([
        Buffer.from(` ${key}=`, 'latin1'),
        typeof value === 'string' ? Buffer.from(value, 'latin1') : value,
        Buffer.from('\n'),
      ])
      let n = body.length + 1
      while (String(n).length + body.length !== n) n = String(n).length + body.length
      return Buffer.concat([Buffer.from(String(n)), body])
    }),
  )
}

/** A tar of the entries, with its two zero blocks unless `end` is false. */
export function rawTar(entries: readonly (RawEntry | Buffer)[], end = true): Buffer {
  const parts: Buffer[] = []
  for (const e of entries) {
    if (Buffer.isBuffer(e)) {
      parts.push(e)
      continue
    }
    if (e.pax !== undefined) {
      const data = paxRecords(e.pax)
      parts.push(header({ name: 'PaxHeaders/x', type: 'x', data }), padded(data))
    }
    parts.push(header(e))
    if (e.data !== undefined) parts.push(padded(Buffer.from(e.data as string, 'latin1')))
  }
  if (end) parts.push(Buffer.alloc(1024))
  return Buffer.concat(parts)
}

export function gnuLong(type: 'L' | 'K', text: string): Buffer {
  const data = Buffer.from(`${text}\0`, 'latin1')
  return Buffer.concat([header({ name: '././@LongLink', type, data }), padded(data)])
}

/** Pieces of awkward sizes, so that nothing falls on a block boundary. */
export async function* pieces(bytes: Buffer, size = 1000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield Buffer.from(bytes.subarray(at, at + size))
}
