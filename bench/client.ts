/**
 * Owns the measured calls: a process that does one kind of work on a tree, as fast as it can, and tells how long it took.
 * Protocol: argv is the work's name and its options as JSON; it says `ready`, waits for a line, works, and answers with
 * one line of JSON (`Outcome`). So its own start is outside the measurement, also when caches are dropped before.
 */
import { createHash } from 'node:crypto'
import { readSync, writeSync } from 'node:fs'
import { check } from '../lib/errno.js'
import { AT, O, S } from '../lib/sys/constants.js'
import { listdir, unlinkat } from '../lib/sys/dir.js'
import { close, fsync, openat, pread, pwrite, writeAt } from '../lib/sys/file.js'
import { addressOf, alloc } from '../lib/sys/libc.js'
import { setFsIdentity } from '../lib/sys/credentials.js'
import { chmodat, Stat, statat as statx, STATX } from '../lib/sys/stat.js'

export interface Options {
  readonly path: string
  readonly count?: number
  /** The first of `count` names. */
  readonly from?: number
  readonly size?: number
  readonly user?: number
  readonly fsyncEvery?: number
  /** Ask for times of birth too. */
  readonly birth?: boolean
}

export interface Outcome {
  readonly seconds: number
  /** Things done: entries, files, calls. */
  readonly count: number
  readonly bytes: number
  /** What every peer must agree on. */
  readonly check: string
}

type Result = Omit<Outcome, 'seconds'>

const buffer = alloc(1 << 20)
const at = AT.FDCWD
const name = (i: number): string => `f${String(i).padStart(6, '0')}`

function directory(path: string): number {
  return check(openat(at, path, O.RDONLY | O.DIRECTORY), 'open', path)
}

/**
 * As find, ls, tar and git look. Node and programs in Rust ask for the time of birth too, which no listing brings: the kernel
 * then asks the server for each file once.
 */
function statat(parent: number, child: string, st: Stat, birth = false): number {
  return statx(parent, child, st, AT.SYMLINK_NOFOLLOW, birth ? STATX.ALL : STATX.BASIC)
}

/** Lists and stats everything below `path`. `each` gets every entry that is no directory. */
function tree(path: string, each: (directory: number, name: string, st: Stat) => void, birth = false): number {
  const st = new Stat()
  let count = 0
  const visit = (parent: number, child: string): void => {
    const fd = check(openat(parent, child, O.RDONLY | O.DIRECTORY | O.NOFOLLOW), 'open', child)
    const directories: string[] = []
    for (const entry of namesIn(fd)) {
      check(statat(fd, entry, st, birth), 'stat', entry)
      count++
      if ((st.mode & S.IFMT) === S.IFDIR) directories.push(entry)
      else each(fd, entry, st)
    }
    for (const entry of directories) visit(fd, entry)
    close(fd)
  }
  visit(at, path)
  return count
}

function namesIn(fd: number): string[] {
  const names: string[] = []
  check(
    listdir(fd, entry => void names.push(entry)),
    'getdents',
  )
  return names
}

/** Reads to the end; the bytes. */
function readWhole(directory: number, name: string): number {
  const file = check(openat(directory, name, O.RDONLY), 'open', name)
  let position = 0
  for (;;) {
    const n = check(pread(file, buffer, position), 'read', name)
    if (n === 0) break
    position += n
  }
  close(file)
  return position
}

function walk({ path, birth }: Options): Result {
  let bytes = 0
  const count = tree(path, (_, __, st) => void (bytes += st.size), birth)
  return { count, bytes, check: `${count} entries, ${bytes} bytes` }
}

/** Walks, and reads every regular file whole. */
function readAll({ path }: Options): Result {
  let count = 0
  let bytes = 0
  tree(path, (directory, entry, st) => {
    if ((st.mode & S.IFMT) !== S.IFREG) return
    bytes += readWhole(directory, entry)
    count++
  })
  return { count, bytes, check: `${count} files, ${bytes} bytes` }
}

function list({ path }: Options): Result {
  const fd = directory(path)
  let count = 0
  check(
    listdir(fd, () => void count++),
    'getdents',
  )
  close(fd)
  return { count, bytes: 0, check: `${count} names` }
}

/** As `ls -l` does. */
function listLong({ path }: Options): Result {
  const fd = directory(path)
  const st = new Stat()
  let bytes = 0
  const names = namesIn(fd)
  for (const entry of names) {
    check(statat(fd, entry, st), 'stat', entry)
    bytes += st.size
  }
  close(fd)
  return { count: names.length, bytes, check: `${names.length} names, ${bytes} bytes` }
}

function create({ path, from = 0, count = 0, size = 0 }: Options): Result {
  const fd = directory(path)
  const data = buffer.subarray(0, size)
  for (let i = from; i < from + count; i++) {
    const file = check(openat(fd, name(i), O.CREAT | O.EXCL | O.WRONLY, 0o644), 'create', name(i))
    if (size > 0) check(writeAt(file, addressOf(data), size), 'write', name(i))
    close(file)
  }
  close(fd)
  return { count, bytes: count * size, check: `${count} created` }
}

function unlinkMany({ path, from = 0, count = 0 }: Options): Result {
  const fd = directory(path)
  for (let i = from; i < from + count; i++) check(unlinkat(fd, name(i)), 'unlink', name(i))
  close(fd)
  return { count, bytes: 0, check: `${count} unlinked` }
}

function openRead({ path, from = 0, count = 0 }: Options): Result {
  const fd = directory(path)
  let bytes = 0
  const small = buffer.subarray(0, 4096)
  for (let i = from; i < from + count; i++) {
    const file = check(openat(fd, name(i), O.RDONLY), 'open', name(i))
    bytes += check(pread(file, small, 0), 'read', name(i))
    close(file)
  }
  close(fd)
  return { count, bytes, check: `${count} files, ${bytes} bytes` }
}

function missing({ path, from = 0, count = 0 }: Options): Result {
  const fd = directory(path)
  const st = new Stat()
  let none = 0
  for (let i = from; i < from + count; i++) if (statat(fd, `missing${i}`, st) < 0) none++
  close(fd)
  return { count, bytes: 0, check: `${none} missing` }
}

function append({ path, from = 0, count = 0 }: Options): Result {
  const fd = directory(path)
  const byte = buffer.subarray(0, 1)
  for (let i = from; i < from + count; i++) {
    const file = check(openat(fd, name(i), O.WRONLY | O.APPEND), 'open', name(i))
    check(writeAt(file, addressOf(byte), 1), 'write', name(i))
    close(file)
  }
  close(fd)
  return { count, bytes: count, check: `${count} appended` }
}

function chmodMany({ path, from = 0, count = 0 }: Options): Result {
  const fd = directory(path)
  for (let i = from; i < from + count; i++) check(chmodat(fd, name(i), 0o600), 'chmod', name(i))
  close(fd)
  return { count, bytes: 0, check: `${count} changed` }
}

function appendOne({ path }: Options): Result {
  const file = check(openat(at, path, O.WRONLY | O.APPEND), 'open', path)
  check(writeAt(file, addressOf(buffer), 1), 'write', path)
  close(file)
  const st = new Stat()
  check(statat(at, path, st), 'stat', path)
  return { count: 1, bytes: 1, check: `${st.size} bytes` }
}

function writeSequential({ path, size = 0 }: Options): Result {
  const file = check(openat(at, path, O.CREAT | O.WRONLY, 0o644), 'open', path)
  for (let position = 0; position < size; position += buffer.length)
    check(pwrite(file, buffer, position), 'write', path)
  close(file)
  return { count: size / buffer.length, bytes: size, check: `${size} bytes` }
}

function readSequential({ path }: Options): Result {
  const bytes = readWhole(at, path)
  return { count: Math.ceil(bytes / buffer.length), bytes, check: `${bytes} bytes` }
}

function writeRandom({ path, count = 0, size = 0, fsyncEvery = 0 }: Options): Result {
  const file = check(openat(at, path, O.WRONLY), 'open', path)
  const block = buffer.subarray(0, 4096)
  const blocks = size / block.length
  let state = 12345
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    check(pwrite(file, block, (state % blocks) * block.length), 'write', path)
    if (fsyncEvery > 0 && i % fsyncEvery === fsyncEvery - 1) check(fsync(file), 'fsync', path)
  }
  close(file)
  return { count, bytes: count * block.length, check: `${count} written` }
}

function readRandom({ path, count = 0, size = 0 }: Options): Result {
  const file = check(openat(at, path, O.RDONLY), 'open', path)
  const block = buffer.subarray(0, 4096)
  const blocks = size / block.length
  let state = 12345
  let bytes = 0
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    bytes += check(pread(file, block, (state % blocks) * block.length), 'read', path)
  }
  close(file)
  return { count, bytes, check: `${bytes} bytes` }
}

/** All names, types, modes, owners, sizes and contents: what peers must show alike before any of them is measured. */
function digest({ path }: Options): Result {
  const sum = createHash('sha256')
  const st = new Stat()
  let count = 0
  const visit = (parent: number, child: string, full: string): void => {
    check(statat(parent, child, st), 'stat', full)
    const kind = st.mode & S.IFMT
    const links = kind === S.IFDIR ? '' : st.nlink
    sum.update(`${full} ${st.mode} ${st.uid} ${st.gid} ${links} ${kind === S.IFDIR ? '' : st.size} ${st.rdev}\n`)
    count++
    if (kind === S.IFREG) {
      const file = check(openat(parent, child, O.RDONLY), 'open', full)
      for (let position = 0; ;) {
        const n = check(pread(file, buffer, position), 'read', full)
        if (n === 0) break
        sum.update(buffer.subarray(0, n))
        position += n
      }
      close(file)
    }
    if (kind !== S.IFDIR) return
    const fd = check(openat(parent, child, O.RDONLY | O.DIRECTORY | O.NOFOLLOW), 'open', full)
    for (const entry of namesIn(fd).sort()) visit(fd, entry, `${full}/${entry}`)
    close(fd)
  }
  visit(at, path, '')
  return { count, bytes: 0, check: `${count} entries, ${sum.digest('hex').slice(0, 16)}` }
}

export const works = {
  walk,
  readAll,
  list,
  listLong,
  create,
  unlinkMany,
  openRead,
  missing,
  append,
  chmodMany,
  appendOne,
  writeSequential,
  readSequential,
  writeRandom,
  readRandom,
  digest,
} as const

export type WorkName = keyof typeof works

if (process.argv[1]?.endsWith('client.js')) {
  const [, , work = '', json = '{}'] = process.argv
  const options = JSON.parse(json) as Options
  const run = works[work as WorkName]
  if (options.user !== undefined) check(setFsIdentity(options.user, options.user, []), 'setfsuid')
  writeSync(1, 'ready\n')
  readSync(0, Buffer.alloc(16))
  const start = process.hrtime.bigint()
  const result = run(options)
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  writeSync(1, `${JSON.stringify({ ...result, seconds } satisfies Outcome)}\n`)
}
