/**
 * Owns the inode flags of `lsattr` and `chattr`: asked and set by ioctl, kept by a remount, and what append-only and
 * immutable forbid. Each case takes its flags away again, or nobody could remove the tree.
 */
import { O } from '../../../lib/sys/constants.js'
import { ioctl } from '../../../lib/sys/file.js'
import { addressOf, alloc } from '../../../lib/sys/libc.js'
import { contents, fails, ok, outcome, put, type Case, type Test } from '../case.js'
import { dir, file } from '../population.js'
import { ALICE, type Vfs } from '../vfs.js'

const FS_IOC_GETFLAGS = 0x80086601
const FS_IOC_SETFLAGS = 0x40086602
const FS_IOC_FSGETXATTR = 0x801c581f
const FS_IOC_FSSETXATTR = 0x401c5820
const IMMUTABLE = 0x10
const APPEND = 0x20
const NODUMP = 0x40
const NOATIME = 0x80
/** The same as FS_XFLAG_*. */
const X_APPEND = 0x10
const X_NODUMP = 0x80

const word = alloc(32)

function call(fs: Vfs, path: string, command: number): number {
  const fd = fs.open(path, O.RDONLY)
  if (fd < 0) return fd
  const r = ioctl(fd, command, addressOf(word))
  fs.close(fd)
  return r
}

/** The flags of these cases that `path` has, or `-errno`. */
function flags(fs: Vfs, path: string): number {
  word.fill(0)
  const r = call(fs, path, FS_IOC_GETFLAGS)
  return r < 0 ? r : word.readUInt32LE(0) & (IMMUTABLE | APPEND | NODUMP | NOATIME)
}

function setFlags(fs: Vfs, path: string, wanted: number): number {
  // What the filesystem below has of its own (extents on ext4) must be given back as it is.
  word.fill(0)
  const r = call(fs, path, FS_IOC_GETFLAGS)
  if (r < 0) return r
  word.writeUInt32LE(((word.readUInt32LE(0) & ~(IMMUTABLE | APPEND | NODUMP | NOATIME)) | wanted) >>> 0, 0)
  return call(fs, path, FS_IOC_SETFLAGS)
}

/** Runs `run` while `path` has `wanted`, and takes it away in any case. */
function having(t: Test, fs: Vfs, path: string, wanted: number, run: () => void): void {
  ok(t, setFlags(fs, path, wanted), `set 0x${wanted.toString(16)} on ${path}`)
  try {
    run()
  } finally {
    ok(t, setFlags(fs, path, 0), `take it from ${path}`)
  }
}

export const inodeFlagCases: readonly Case[] = [
  {
    title: 'inode flags are asked and set on files and directories, in both forms, and stay',
    kernel: true,
    difference: 'inode-flags',
    items: [file('f', 'text', { uid: 1001 }), dir('d'), file('d/in', 'in')],
    run(t, { fs, tree }) {
      for (const path of ['f', 'd']) {
        t.equal(flags(fs, path), 0, `${path}: none`)
        ok(t, setFlags(fs, path, NODUMP | NOATIME), `${path}: set`)
        t.equal(flags(fs, path), NODUMP | NOATIME, path)
      }
      tree.remount()
      for (const path of ['f', 'd']) {
        t.equal(flags(fs, path), NODUMP | NOATIME, `${path}: after a remount`)
        word.fill(0)
        ok(t, call(fs, path, FS_IOC_FSGETXATTR), 'the other form')
        t.equal(word.readUInt32LE(0) & (X_APPEND | X_NODUMP), X_NODUMP)
        word.writeUInt32LE((word.readUInt32LE(0) & ~X_NODUMP) >>> 0, 0)
        ok(t, call(fs, path, FS_IOC_FSSETXATTR), 'set by it')
        t.equal(flags(fs, path) & NODUMP, 0, `${path}: gone`)
        ok(t, setFlags(fs, path, 0), 'none')
      }
      t.equal(contents(fs, 'f'), 'text')
      t.equal(contents(fs, 'd/in'), 'in')
      fs.as(ALICE, () => {
        ok(t, setFlags(fs, 'f', NODUMP), 'by the owner')
        fails(t, setFlags(fs, 'f', IMMUTABLE), 'EPERM', 'not this one')
        fails(t, setFlags(fs, 'd', NODUMP), 'EPERM', 'not on what is another’s')
      })
      t.equal(flags(fs, 'f'), NODUMP)
    },
  },
  {
    title: 'an immutable file or directory changes in no way, an append-only one only grows, until the flag goes',
    kernel: true,
    difference: 'inode-flags',
    items: [file('f', 'text'), file('g', 'text'), dir('d'), file('d/in', 'in')],
    run(t, { fs, tree }) {
      const change = (path: string): Record<string, string> => ({
        write: outcome(fs.open(path, O.WRONLY)),
        truncate: outcome(fs.truncate(path, 1)),
        chmod: outcome(fs.chmod(path, 0o600)),
        chown: outcome(fs.chown(path, 5, 5)),
        utimens: outcome(fs.utimens(path, 1, 1, 1, 1)),
        setxattr: outcome(fs.setxattr(path, 'user.a', Buffer.from('x'))),
        link: outcome(fs.link(path, 'linked')),
        rename: outcome(fs.rename(path, 'renamed')),
        unlink: outcome(fs.unlink(path)),
      })
      const refused = Object.fromEntries(Object.keys(change('none')).map(name => [name, 'EPERM']))
      having(t, fs, 'f', IMMUTABLE, () => {
        t.same(change('f'), refused, 'immutable')
        fails(t, fs.open('f', O.WRONLY | O.APPEND), 'EPERM', 'not even appended to')
        tree.remount()
        t.same(change('f'), refused, 'after a remount')
        t.equal(contents(fs, 'f'), 'text')
      })
      having(t, fs, 'g', APPEND, () => {
        t.same(change('g'), refused, 'append-only')
        for (const [flag, text] of [
          [O.WRONLY, ' more'],
          [O.RDWR, ' and more'],
        ] as const) {
          const fd = fs.open('g', flag | O.APPEND)
          ok(t, fd, 'open to append')
          t.equal(fs.write(fd, Buffer.from(text)), text.length)
          fs.close(fd)
        }
        t.equal(contents(fs, 'g'), 'text more and more')
      })
      having(t, fs, 'd', APPEND, () => {
        t.equal(put(fs, 'd/new', 'new'), 'OK', 'a name comes')
        fails(t, fs.unlink('d/new'), 'EPERM', 'none goes')
        fails(t, fs.unlink('d/in'), 'EPERM', 'nor one that was there')
        fails(t, fs.rename('d/new', 'd/newer'), 'EPERM', 'or is renamed')
      })
      having(t, fs, 'd', IMMUTABLE, () => {
        fails(t, fs.mkdir('d/sub', 0o755), 'EPERM', 'none comes')
        fails(t, fs.unlink('d/in'), 'EPERM', 'none goes')
        fails(t, fs.rmdir('d'), 'EPERM', 'itself')
        ok(t, fs.chmod('d/in', 0o600), 'what is in it is not')
        t.equal(put(fs, 'd/in', 'changed'), 'OK')
        tree.remount()
        t.equal(contents(fs, 'd/in'), 'changed')
        fails(t, fs.rename('d/in', 'in'), 'EPERM', 'after a remount')
      })
      tree.remount()
      ok(t, fs.unlink('f'), 'unlink')
      ok(t, fs.rename('d/new', 'd/newer'), 'rename')
      ok(t, fs.unlink('d/in'), 'unlink')
    },
  },
]
