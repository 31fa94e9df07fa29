/** Owns what must hold for names: every byte, the length limits, and lookups that find exactly what is there. */
import { O } from '../../../lib/sys/constants.js'
import { contents, fails, lstat, ok, printable, put, type Case } from '../case.js'
import { dir, file } from '../population.js'
import { names } from '../snapshot.js'

const long = 'n'.repeat(255)
const tooLong = 'n'.repeat(256)
const odd = '\xff\xfe\x80 bytes\n\t\\'
/** Every byte a name may hold, in names of at most 64 bytes. */
const allBytes = Array.from({ length: 255 }, (_, i) => String.fromCharCode(i + 1)).filter(c => c !== '/')

export const nameCases: readonly Case[] = [
  {
    title: 'every byte but / and NUL can be a name',
    once: true,
    run(t, { fs }) {
      const expected = allBytes.filter(c => c !== '.')
      for (const name of expected) if (put(fs, name, name) !== 'OK') t.fail(`create ${printable(name)}`)
      t.same(names(fs, ''), expected.toSorted(), 'all listed, byte for byte')
      for (const name of expected) if (contents(fs, name) !== name) t.fail(`read ${printable(name)}`)
      for (const name of expected) if (fs.unlink(name) !== 0) t.fail(`unlink ${printable(name)}`)
      t.same(names(fs, ''), [])
    },
  },
  {
    title: 'names that are no UTF-8 are found, renamed and removed',
    items: [dir('d'), file(`d/${odd}`, 'odd'), file('d/\xe9', 'latin1')],
    run(t, { fs }) {
      t.same(names(fs, 'd'), ['\xe9', odd])
      t.equal(contents(fs, `d/${odd}`), 'odd')
      ok(t, fs.rename(`d/${odd}`, 'd/\x80'), 'rename')
      ok(t, fs.unlink('d/\xe9'), 'unlink')
      t.same(names(fs, 'd'), ['\x80'])
      t.equal(contents(fs, 'd/\x80'), 'odd')
      fails(t, fs.unlink('d/\xc3\xa9'), 'ENOENT', 'the UTF-8 spelling is another name')
    },
  },
  {
    title: 'names of 255 bytes work everywhere',
    difference: 'long-redirect',
    items: [file(long, 'long'), dir('d')],
    run(t, { fs }) {
      t.equal(contents(fs, long), 'long')
      ok(t, fs.chmod(long, 0o600), 'chmod')
      ok(t, fs.rename(long, `d/${long}`), 'rename')
      ok(t, fs.link(`d/${long}`, `d/${'l'.repeat(255)}`), 'link')
      ok(t, fs.mkdir('\xff'.repeat(255), 0o755), 'mkdir')
      ok(t, fs.symlink(long, `d/${'s'.repeat(255)}`), 'symlink')
      t.equal(contents(fs, `d/${'s'.repeat(255)}`), 'long', 'followed')
      ok(t, fs.unlink(`d/${long}`), 'unlink')
      t.same(names(fs, 'd'), ['l'.repeat(255), 's'.repeat(255)])
    },
  },
  {
    title: 'a name of 256 bytes is ENAMETOOLONG in every call',
    items: [file('f'), dir('d')],
    run(t, { fs }) {
      const table: [string, () => unknown][] = [
        ['stat', () => fs.open(tooLong, O.PATH)],
        ['open', () => fs.open(tooLong, O.RDONLY)],
        ['create', () => fs.open(tooLong, O.CREAT | O.WRONLY, 0o644)],
        ['mkdir', () => fs.mkdir(tooLong, 0o755)],
        ['mknod', () => fs.mknod(tooLong, 0o010644, 0)],
        ['symlink', () => fs.symlink('x', tooLong)],
        ['link from', () => fs.link(tooLong, 'x')],
        ['link to', () => fs.link('f', tooLong)],
        ['unlink', () => fs.unlink(tooLong)],
        ['rmdir', () => fs.rmdir(tooLong)],
        ['rename from', () => fs.rename(tooLong, 'x')],
        ['rename to', () => fs.rename('f', `d/${tooLong}`)],
        ['readlink', () => fs.readlink(tooLong)],
        ['chmod', () => fs.chmod(tooLong, 0o600)],
        ['truncate', () => fs.truncate(tooLong, 0)],
        ['getxattr', () => fs.getxattr(tooLong, 'user.a')],
        ['through', () => fs.open(`${tooLong}/x`, O.RDONLY)],
      ]
      for (const [title, call] of table) fails(t, call(), 'ENAMETOOLONG', title)
      t.same(names(fs, ''), ['d', 'f'])
      for (const [title, call] of table) fails(t, call(), 'ENAMETOOLONG', `${title}, in a directory that was listed`)
    },
  },
  {
    title: 'dots, trailing slashes and doubled slashes lead where they should',
    items: [dir('d'), file('d/f', 'f')],
    run(t, { fs }) {
      t.equal(contents(fs, 'd/./f'), 'f')
      t.equal(contents(fs, 'd//f'), 'f')
      t.equal(contents(fs, 'd/../d/f'), 'f')
      t.equal(lstat(t, fs, 'd/').ino, lstat(t, fs, 'd').ino)
      t.equal(lstat(t, fs, 'd/.').ino, lstat(t, fs, 'd').ino)
    },
  },
  {
    title: 'a name is gone at once after unlink, and new at once after create',
    items: [file('f', 'old')],
    run(t, { fs }) {
      const before = lstat(t, fs, 'f')
      ok(t, fs.unlink('f'), 'unlink')
      fails(t, fs.open('f', O.RDONLY), 'ENOENT', 'gone')
      t.same(names(fs, ''), [])
      t.equal(put(fs, 'f', 'new'), 'OK')
      t.equal(contents(fs, 'f'), 'new')
      ok(t, before.ino, 'had a number')
      for (let i = 0; i < 20; i++) {
        ok(t, fs.unlink('f'), 'unlink again')
        fails(t, fs.unlink('f'), 'ENOENT', 'twice')
        t.equal(put(fs, 'f', String(i)), 'OK')
      }
      t.equal(contents(fs, 'f'), '19')
    },
  },
]
