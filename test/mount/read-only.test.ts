/**
 * A mount that takes no changes says so only where something would change: names that are there are EEXIST, devices and what
 * lies elsewhere can be written (xfstests generic 294, 306).
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cannotMount, workspace, type Workspace } from './workspace.js'

const program = `
import errno, os, stat
m = os.environ['M']
def says(code, f, *a):
    try: f(*a)
    except OSError as e: assert e.errno == code, (f.__name__, a, e)
    else: assert code == 0, (f.__name__, a, 'went well')
def make(name, code):
    p = m + '/' + name
    says(code, os.mkdir, p)
    says(code, os.mknod, p, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    says(code, os.symlink, 'x', p)
    says(code, os.link, m + '/null', p)
    says(code, os.open, p, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
for name in ('f', 'd', 's', 'null'): make(name, errno.EEXIST)
make('none', errno.EROFS)
for f, a in ((os.unlink, 'f'), (os.rmdir, 'd'), (os.unlink, 's')): says(errno.EROFS, f, m + '/' + a)
says(errno.EROFS, os.rename, m + '/f', m + '/g')
says(errno.EROFS, os.open, m + '/f', os.O_RDWR)
says(errno.EROFS, os.open, m + '/f', os.O_WRONLY | os.O_TRUNC)
says(errno.EROFS, os.truncate, m + '/f', 0)
says(errno.EROFS, os.chmod, m + '/f', 0o600)
says(errno.EROFS, os.utime, m + '/f')
says(errno.EROFS, os.setxattr, m + '/f', 'user.x', b'y')
for flags in (0, os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_CREAT | os.O_TRUNC):
    fd = os.open(m + '/null', os.O_RDWR | flags, 0o600)
    assert os.write(fd, b'x' * 512) == 512
    os.close(fd)
    # A symlink that leads to a filesystem that is written to.
    fd = os.open(m + '/s', os.O_RDWR | flags, 0o600)
    assert os.write(fd, b'out') == 3
    os.close(fd)
assert os.read(os.open(m + '/zero', os.O_RDONLY), 8) == bytes(8)
`

for (const [title, place] of [
  ['mounted read-only', 'lower'],
  ['remounted read-only', 'upper'],
] as const)
  t.test(title, { skip: cannotMount }, async t => {
    const w = workspace(t)
    const { lower, base } = w
    writeFileSync(join(base, 'outside'), '')
    const tree = `echo f > f; mkdir d; ln -s ${base}/outside s; mknod null c 1 3; mknod zero c 1 5; chmod 666 null zero`
    if (place === 'lower') {
      w.sh(`cd ${lower}; ${tree}`)
      await w.mount({ ...w.spec, readOnly: true })
    } else {
      await w.mount()
      w.sh(`cd "$M"; ${tree}; mount -o remount,bind,ro "$M"`)
    }
    w.python(program)
    t.equal(w.sh('cat "$M/f"'), 'f\n')
    overwritten(w, t)
  })

/** A file of another filesystem that is mounted over one of a read-only mount is written. */
function overwritten(w: Workspace, t: { equal(a: unknown, b: unknown): unknown }): void {
  const file = join(w.base, 'target')
  writeFileSync(file, 'target')
  try {
    w.sh(`mount --bind ${file} "$M/f"; echo one > "$M/f"; echo two >> "$M/f"; cat "$M/f" > ${w.base}/seen`)
  } finally {
    w.sh('umount "$M/f"')
  }
  t.equal(w.sh(`cat ${w.base}/seen ${file}`), 'one\ntwo\none\ntwo\n')
}
