/**
 * Owns reading image archives: a tar that is searched once and then read at offsets, or an OCI layout directory.
 * Compressed archives and pipes are spooled to a file of the session first: an archive's order is not ours to choose.
 * Invariant: only names of the archive are looked up; nothing outside it is opened (a directory's blobs are regular files
 * reached without symlinks).
 */
import { closeSync, createReadStream, createWriteStream, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { TAR_BLOCK, TarFraming } from '../layer/tar-framing.js'
import { bytesOf } from '../bytes.js'
import { O, RESOLVE, S } from '../sys/constants.js'
import { close, open, openat2 } from '../sys/file.js'
import { fstat, Stat } from '../sys/stat.js'
import { decompress, isCompressed } from './decompress.js'
import { ImageError } from './error.js'
import type { Session } from './store.js'

export interface Region {
  readonly path: string
  readonly offset: number
  readonly size: number
}

export interface Archive {
  /** Where a member's content lies, or undefined when there is no such regular member. */
  region(name: string): Region | undefined
}

/** Opens `path` (file or directory) or a stream. Throws ImageError ARCHIVE_INVALID, TarError. */
export async function openArchive(session: Session, source: string | NodeJS.ReadableStream): Promise<Archive> {
  if (typeof source !== 'string') return scanTar(await spool(session, source as AsyncIterable<Buffer>))
  const st = statSync(source)
  if (st.isDirectory()) return directoryArchive(source)
  if (!st.isFile()) return scanTar(await spool(session, createReadStream(source)))
  const fd = openSync(source, 'r')
  const start = Buffer.alloc(6)
  readSync(fd, start, 0, 6, 0)
  closeSync(fd)
  if (!isCompressed(start)) return scanTar(source)
  return scanTar(await spool(session, createReadStream(source, { highWaterMark: 1 << 18 })))
}

async function spool(session: Session, source: AsyncIterable<Buffer>): Promise<string> {
  const path = join(session.path, 'archive.tar')
  await pipeline(Readable.from(decompress(source)), createWriteStream(path, { mode: 0o600 }))
  return path
}

/** A member's whole content, for documents. Throws ImageError when it is larger than `limit` or not there. */
export function readMember(archive: Archive, name: string, limit: number): Buffer {
  const region = archive.region(name)
  if (region === undefined)
    throw new ImageError('ARCHIVE_INVALID', `read archive: ${name} is missing`, { member: name })
  if (region.size > limit)
    throw new ImageError('MANIFEST_TOO_LARGE', `read archive: ${name} has ${region.size} bytes, the limit is ${limit}`)
  const bytes = Buffer.alloc(region.size)
  const fd = openSync(region.path, 'r')
  try {
    for (let at = 0; at < bytes.length;) {
      const n = readSync(fd, bytes, at, bytes.length - at, region.offset + at)
      if (n === 0) throw new ImageError('ARCHIVE_INVALID', `read archive: ${name} ends early`, { member: name })
      at += n
    }
  } finally {
    closeSync(fd)
  }
  return bytes
}

/** An OCI layout directory. */
function directoryArchive(root: string): Archive {
  return {
    region(name) {
      const dir = open(bytesOf(root), O.PATH | O.DIRECTORY)
      if (dir < 0) return undefined
      const fd = openat2(dir, bytesOf(name), O.RDONLY, 0, RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS)
      close(dir)
      if (fd < 0) return undefined
      const st = new Stat()
      const r = fstat(fd, st)
      close(fd)
      if (r < 0 || (st.mode & S.IFMT) !== S.IFREG) return undefined
      return { path: join(root, name), offset: 0, size: st.size }
    },
  }
}

/** Members of a tar file by name. Old `docker save` archives share layers by symlinks: those are followed once. */
function scanTar(path: string): Archive {
  const members = new Map<string, Region>()
  const links = new Map<string, string>()
  const fd = openSync(path, 'r')
  try {
    const length = fstatSync(fd).size
    const framing = new TarFraming()
    const block = Buffer.alloc(TAR_BLOCK)
    for (let at = 0; at + TAR_BLOCK <= length;) {
      readSync(fd, block, 0, TAR_BLOCK, at)
      at += TAR_BLOCK
      const [header] = framing.push(block)
      if (header === undefined) continue
      const { records } = framing.next()
      const name = clean(records.get('path') ?? nameField(header))
      const type = header[156] as number
      const size = framing.skipData()
      if (at + size.padded > length)
        throw new ImageError('ARCHIVE_INVALID', `read archive ${path}: it ends inside ${name}`)
      if (type === 0 || type === 0x30) members.set(name, { path, offset: at, size: size.bytes })
      else if (type === 0x31 || type === 0x32) {
        const target = records.get('linkpath') ?? field(header, 157, 100)
        links.set(name, clean(type === 0x31 ? target : `${name.replace(/[^/]*$/, '')}${target}`))
      }
      at += size.padded
    }
    framing.end()
  } finally {
    closeSync(fd)
  }
  return { region: name => members.get(name) ?? members.get(links.get(name) ?? '') }
}

function field(header: Buffer, at: number, length: number): string {
  const end = header.indexOf(0, at)
  return header.latin1Slice(at, end < 0 || end > at + length ? at + length : end)
}

function nameField(header: Buffer): string {
  const prefix = header.latin1Slice(257, 263) === 'ustar\0' ? field(header, 345, 155) : ''
  return prefix === '' ? field(header, 0, 100) : `${prefix}/${field(header, 0, 100)}`
}

/** Folds `.` and `..` so that symlinks between members can be looked up; what leads out matches no member. */
function clean(name: string): string {
  const parts: string[] = []
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..' && parts.length > 0) parts.pop()
    else parts.push(part)
  }
  return parts.join('/')
}
