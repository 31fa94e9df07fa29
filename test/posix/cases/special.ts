/** Owns what must hold for symlinks, FIFOs, sockets and device nodes. */
import { makedev, O, S } from '../../../lib/sys/constants.js'
import { contents, fails, lstat, ok, put, type Case } from '../case.js'
import { chardev, dir, fifo, file, socket, symlink } from '../population.js'
import { names } from '../snapshot.js'

export const specialCases: readonly Case[] = [
  {
    title: 'device nodes, FIFOs and sockets are made with their type, mode and number',
    run(t, { fs, tree }) {
      const table = [
        ['char', S.IFCHR | 0o620, makedev(5, 1)],
        ['block', S.IFBLK | 0o660, makedev(8, 300)],
        ['large', S.IFCHR | 0o600, makedev(4095, 0xfffff)],
        ['fifo', S.IFIFO | 0o644, 0],
        ['sock', S.IFSOCK | 0o755, 0],
      ] as const
      for (const [name, mode, rdev] of table) ok(t, fs.mknod(name, mode, rdev), name)
      tree.remount()
      for (const [name, mode, rdev] of table) {
        const st = lstat(t, fs, name)
        t.same([st.mode, st.rdev], [mode, rdev], name)
        ok(t, fs.rename(name, `${name}2`), 'rename')
        ok(t, fs.unlink(`${name}2`), 'unlink')
      }
      t.same(names(fs, ''), [])
    },
  },
  {
    title: 'attributes of device nodes, FIFOs and sockets change, and their numbers stay',
    items: [chardev('char', 1, 3, { mode: 0o666 }), fifo('fifo'), socket('sock')],
    run(t, { fs, tree, target }) {
      const kinds = target.differences['sockets'] === undefined ? ['char', 'fifo', 'sock'] : ['char', 'fifo']
      for (const name of kinds) {
        const before = lstat(t, fs, name)
        ok(t, fs.chown(name, 9, 10), `chown ${name}`)
        ok(t, fs.chmod(name, 0o604), `chmod ${name}`)
        ok(t, fs.utimens(name, 1, 2, 3, 4), `utimens ${name}`)
        ok(t, fs.setxattr(name, 'trusted.x', Buffer.from('y')), `setxattr ${name}`)
        t.equal(lstat(t, fs, name).ino, before.ino)
      }
      tree.remount()
      for (const name of kinds) {
        const st = lstat(t, fs, name)
        t.same([st.uid, st.gid, st.mode & 0o7777, st.mtime, st.mtimeNs], [9, 10, 0o604, 3, 4], name)
      }
      t.equal(lstat(t, fs, 'char').rdev, makedev(1, 3))
    },
  },
  {
    title: 'symlinks hold any target, up to 4095 bytes',
    items: [symlink('lower', '\xff/\x80'), dir('d'), file('d/f', 'f')],
    run(t, { fs, tree }) {
      const targets = ['x', '/absolute', '../..', 'y'.repeat(4095), '\xfe\xff', ' spaces and\nlines ']
      targets.forEach((target, i) => ok(t, fs.symlink(target, `s${i}`), `symlink ${i}`))
      tree.remount()
      targets.forEach((target, i) => t.equal(fs.readlink(`s${i}`), target, `readlink ${i}`))
      targets.forEach((target, i) => t.equal(lstat(t, fs, `s${i}`).size, target.length, `size ${i}`))
      t.equal(fs.readlink('lower'), '\xff/\x80')
      fails(t, fs.symlink('y'.repeat(4096), 'too-long'), 'ENAMETOOLONG', '4096 bytes')
      ok(t, fs.symlink('d', 'through'), 'to a directory')
      t.equal(contents(fs, 'through/f'), 'f')
      t.equal(put(fs, 'through/g', 'g'), 'OK')
      t.equal(contents(fs, 'd/g'), 'g')
      ok(t, fs.rename('through/g', 'through/h'), 'rename through it')
      t.same(names(fs, 'd'), ['f', 'h'])
    },
  },
  {
    title: 'a file created through a dangling symlink is its target',
    items: [symlink('s', 'target')],
    run(t, { fs }) {
      const fd = fs.open('s', O.CREAT | O.WRONLY, 0o600)
      ok(t, fd, 'open')
      fs.close(fd)
      t.same(names(fs, ''), ['s', 'target'])
    },
  },
]
