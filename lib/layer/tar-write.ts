/**
 * Owns entries -> tar, deterministically: `tar-stream` writes headers and padding; what it cannot write losslessly goes
 * into PAX headers that are made here (byte-string names, nanoseconds, large ids, binary xattrs).
 * Formats: POSIX ustar + pax; no user or group names; xattrs as `SCHILY.xattr.*`; records in a fixed order.
 * Invariant: the bytes depend on the entries alone: not on the clock, the machine or the order of xattrs.
 */
import { type Header, type Pack, pack } from 'tar-stream'
import { S } from '../sys/constants.js'
import { TarError } from './tar-error.js'
import { TreeInode } from './tree.js'

export interface TarSource {
  /** Byte string, relative, without a leading slash. */
  readonly name: string
  /** Type and attributes. Of a hard link only the name and `link` count. */
  readonly inode: TreeInode
  /** Set for a hard link: the earlier entry's name. */
  readonly link?: string
  /** A regular file's content, exactly `inode.size` bytes. */
  readonly content?: (() => Iterable<Buffer> | AsyncIterable<Buffer>) | undefined
}

const MAX_USTAR_ID = 0o777777
const MAX_USTAR_TIME = 0x7fffffff

/** The tar of `entries`, in their order, piece by piece. Throws TarError, or what an entry's content throws. */
export async function* writeTar(entries: Iterable<TarSource> | AsyncIterable<TarSource>): AsyncGenerator<Buffer> {
  const out = pack()
  let failure: unknown
  const feed = async (): Promise<void> => {
    try {
      for await (const entry of entries) {
        if (out.destroyed) return
        await writeEntry(out, entry)
      }
      out.finalize()
    } catch (error) {
      failure ??= error
      out.destroy()
    }
  }
  const feeding = feed()
  try {
    for await (const chunk of out as AsyncIterable<Buffer>) yield chunk
  } catch (error) {
    failure ??= error
  } finally {
    out.destroy()
  }
  await feeding
  if (failure !== undefined) throw failure as Error
}

async function writeEntry(out: Pack, entry: TarSource): Promise<void> {
  const { inode, link } = entry
  const type = link === undefined ? inode.mode & S.IFMT : 0
  const name = type === S.IFDIR && !entry.name.endsWith('/') ? `${entry.name}/` : entry.name
  const target = link ?? (type === S.IFLNK ? inode.target : '')
  const records: [string, string | Buffer][] = []
  const time = inode.mtimeNs === 0 && inode.mtime >= 0 && inode.mtime <= MAX_USTAR_TIME
  if (inode.gid > MAX_USTAR_ID) records.push(['gid', String(inode.gid)])
  if (!plainName(target)) records.push(['linkpath', target])
  if (!time) records.push(['mtime', timeText(inode.mtime, inode.mtimeNs)])
  if (!plainName(name)) records.push(['path', name])
  if (link === undefined)
    for (const key of [...(inode.xattrs?.keys() ?? [])].sort())
      records.push([`SCHILY.xattr.${key}`, inode.xattrs?.get(key) as Buffer])
  if (inode.uid > MAX_USTAR_ID) records.push(['uid', String(inode.uid)])
  if (records.length > 0) {
    // tar-stream's own pax support takes text only; a Readable may be pushed to between entries.
    out.push(paxHeader(Buffer.concat(records.map(([key, value]) => paxRecord(key, value)))))
  }
  const header = {
    name: plainName(name) ? name : asciiName(name),
    // The bit above the permissions is masked off again: tar-stream takes mode 0 for "not given".
    mode: (inode.mode & 0o7777) | 0o10000,
    uid: Math.min(inode.uid, MAX_USTAR_ID),
    gid: Math.min(inode.gid, MAX_USTAR_ID),
    mtime: new Date(time ? inode.mtime * 1000 : 0),
    size: type === S.IFREG ? inode.size : 0,
    type: tarType(type, link !== undefined, entry.name),
    ...(target === '' ? {} : { linkname: plainName(target) ? target : asciiName(target) }),
    ...(type === S.IFCHR || type === S.IFBLK ? device(inode.rdev, entry.name) : {}),
  }
  if (type !== S.IFREG || inode.size === 0) return raw(out, header)
  if (entry.content === undefined) throw new TarError('TAR_CORRUPT', 'file without content', entry.name)
  let done = (): void => {}
  let refuse: (error: unknown) => void = () => {}
  const finished = new Promise<void>((resolve, reject) => {
    done = resolve
    refuse = reject
  })
  const sink = out.entry(header, error => (error ? refuse(error) : done()))
  let written = 0
  for await (const chunk of entry.content()) {
    written += chunk.length
    if (written > inode.size) break
    if (!sink.write(chunk)) await new Promise<void>(resolve => sink.once('drain', () => resolve()))
  }
  if (written !== inode.size) throw new TarError('TAR_CORRUPT', `content is not ${inode.size} bytes`, entry.name)
  sink.end(undefined)
  await finished
}

/** An entry without content, waiting while the reader is behind. */
function raw(out: Pack, header: Parameters<Pack['entry']>[0]): Promise<void> {
  return new Promise((resolve, reject) => {
    out.entry(header, Buffer.alloc(0), error => (error ? reject(error) : resolve()))
  })
}

/** What the ustar name fields hold as it is: ASCII, at most 100 bytes (longer ones could be split, but need not be). */
function plainName(name: string): boolean {
  if (name.length > 100) return false
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i)
    if (c > 126 || c < 32) return false
  }
  return true
}

/** What readers without pax see. */
function asciiName(name: string): string {
  const slash = name.endsWith('/') ? '/' : ''
  return (
    name
      .slice(-99)
      .replace(/[^\x20-\x7e]/g, '_')
      .replace(/\/$/, '')
      .replace(/^\//, '_') + slash
  )
}

function tarType(type: number, link: boolean, name: string): Header['type'] {
  if (link) return 'link'
  switch (type) {
    case S.IFREG:
      return 'file'
    case S.IFDIR:
      return 'directory'
    case S.IFLNK:
      return 'symlink'
    case S.IFCHR:
      return 'character-device'
    case S.IFBLK:
      return 'block-device'
    case S.IFIFO:
      return 'fifo'
    default:
      throw new TarError('TAR_UNSUPPORTED', 'a socket cannot be in a tar', name)
  }
}

function device(rdev: number, name: string): { devmajor: number; devminor: number } {
  const devminor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)
  if (devminor > MAX_USTAR_ID)
    throw new TarError('TAR_UNSUPPORTED', `minor number ${devminor} is too large for a tar`, name)
  return { devmajor: (rdev >>> 8) & 0xfff, devminor }
}

function timeText(seconds: number, ns: number): string {
  if (ns === 0) return String(seconds)
  const [sec, frac] = seconds >= 0 ? [String(seconds), ns] : [`-${-seconds - 1}`, 1e9 - ns]
  return `${sec}.${String(frac).padStart(9, '0').replace(/0+$/, '')}`
}

/** An `x` header with its records and padding. */
function paxHeader(records: Buffer): Buffer {
  const block = Buffer.alloc(512 + Math.ceil(records.length / 512) * 512)
  const field = (at: number, text: string): void => void block.latin1Write(text, at)
  field(0, 'PaxHeaders/entry')
  field(100, '0000644\x000000000\x000000000\0')
  field(124, `${records.length.toString(8).padStart(11, '0')}\x0000000000000\0`)
  field(148, '        x')
  field(257, 'ustar\x0000')
  let sum = 0
  for (let i = 0; i < 512; i++) sum += block[i] as number
  field(148, `${sum.toString(8).padStart(6, '0')}\0 `)
  records.copy(block, 512)
  return block
}

/** `LENGTH KEY=VALUE\n`, LENGTH counting itself. */
function paxRecord(key: string, value: string | Buffer): Buffer {
  const body = Buffer.concat([
    Buffer.from(` ${key}=`, 'latin1'),
    typeof value === 'string' ? Buffer.from(value, 'latin1') : value,
    Buffer.from('\n'),
  ])
  let length = body.length + String(body.length).length
  if (body.length + String(length).length !== length) length++
  return Buffer.concat([Buffer.from(String(length)), body])
}

/**
 * The entries of a layer tree, as a layer tar has them: parents first, names in byte order, whiteouts and opaque marks in
 * the OCI form, the first name of a hard link carrying the data. `content` opens an object by its SHA-256 (hex).
 */
export function* layerEntries(root: TreeInode, content: (hex: string) => Iterable<Buffer>): Generator<TarSource> {
  const first = new Map<TreeInode, string>()
  if (!root.implicit) yield { name: './', inode: root }
  yield* below(root, '')

  function* below(dir: TreeInode, prefix: string): Generator<TarSource> {
    if (dir.opaque) yield { name: `${prefix}.wh..wh..opq`, inode: marker }
    for (const name of [...(dir.children?.keys() ?? [])].sort()) {
      const inode = dir.children?.get(name) as TreeInode
      const path = prefix + name
      if (inode.isDirectory) {
        if (!inode.implicit) yield { name: path, inode }
        yield* below(inode, `${path}/`)
        continue
      }
      if (inode.isWhiteout) {
        yield { name: `${prefix}.wh.${name}`, inode: marker }
        continue
      }
      const link = inode.outerLink === '' ? first.get(inode) : inode.outerLink.slice(1)
      if (link !== undefined) {
        yield { name: path, inode, link }
        continue
      }
      if (inode.nlink !== 1) first.set(inode, path)
      yield { name: path, inode, content: inode.object === '' ? undefined : () => content(inode.object) }
    }
  }
}

const marker = new TreeInode(S.IFREG | 0o600)
