/**
 * `lamina commit` as a property: a container is changed at random through its mount; what was committed, applied elsewhere
 * (by another store, and by umoci where that is installed), is the tree that was seen.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { lamina as inProcess } from '../cli/lamina.js'
import { makeImage, ociArchive } from '../image/made.js'
import type { RawEntry } from '../layer/raw-tar.js'

export const skip = process.getuid?.() !== 0 ? 'needs root' : existsSync('/dev/fuse') ? false : 'needs /dev/fuse'
const umoci = spawnSync('umoci', ['--version']).status === 0

const base: readonly RawEntry[] = [
  ...['d0/', 'd0/d1/', 'd0/d1/d2/', 'd3/'].map(name => ({ name, type: '5', mode: 0o755 })),
  ...['f0', 'd0/f1', 'd0/d1/f2', 'd0/d1/d2/f3', 'd3/f4', 'd3/f5'].map(name => ({ name, data: `data of ${name}\n` })),
  { name: 'd3/link', type: '2', link: '../f0', mode: 0o777 },
  { name: 'd0/hard', type: '1', link: 'd3/f4' },
  { name: 'd3/suid', data: 'program', mode: 0o4755, uid: 7, gid: 8 },
]
const above: readonly RawEntry[] = [
  { name: 'd0/d1/.wh.f2', data: '' },
  { name: 'd3/f5', data: 'changed above\n' },
  { name: 'd4/', type: '5', mode: 0o700 },
  { name: 'd4/f6', data: 'six\n' },
]

/** Makes that many changes, drawn from the seed. What a change finds impossible (a directory into itself) is left out. */
const CHANGE = `
import os, random, stat, sys
os.chdir(sys.argv[1])
draw = random.Random(int(sys.argv[2]))
def everything():
    return sorted(os.path.join(b, n)[2:] for b, ds, fs in os.walk('.') for n in ds + fs)
def pick(test):
    found = [p for p in everything() if test(p)]
    return draw.choice(found) if found else None
def directory(): return pick(lambda p: os.path.isdir(p) and not os.path.islink(p)) or '.'
def name(): return draw.choice(['n%d' % draw.randrange(6), 'f%d' % draw.randrange(6), 'd%d' % draw.randrange(5), 'link', 'ä ö', 'q"\\\\'])
def place(): return os.path.join(directory(), name())
regular = lambda p: os.path.isfile(p) and not os.path.islink(p)
def write():
    with open(pick(regular), draw.choice(['w', 'a', 'r+'])) as f: f.write('w' * draw.randrange(9000))
def create():
    with open(place(), 'x') as f: f.write('c' * draw.randrange(100))
def remove(): os.unlink(pick(lambda p: not os.path.isdir(p) or os.path.islink(p)))
def empty():
    top = directory()
    for b, ds, fs in os.walk(top, topdown=False):
        for n in fs: os.unlink(os.path.join(b, n))
        for n in ds: (os.unlink if os.path.islink(os.path.join(b, n)) else os.rmdir)(os.path.join(b, n))
    if draw.random() < 0.7: os.rmdir(top)
    if draw.random() < 0.7: os.mkdir(top)
def rename(): os.rename(pick(lambda p: True), place())
def owner(): os.chown(pick(lambda p: True), draw.randrange(3), draw.randrange(3), follow_symlinks=False)
def mode(): os.chmod(pick(lambda p: not os.path.islink(p)), draw.choice([0o644, 0o700, 0o4711, 0o1777]))
def times(): os.utime(pick(lambda p: True), ns=(1, draw.randrange(10**18)), follow_symlinks=False)
def attribute(): os.setxattr(pick(lambda p: regular(p) or os.path.isdir(p) and not os.path.islink(p)), 'user.k', b'\\x00v%d' % draw.randrange(3))
ways = [write] * 3 + [create] * 3 + [remove] * 2 + [empty] + [rename] * 4 + [owner, mode, times, attribute] + [
  lambda: os.mkdir(place()), lambda: os.symlink(name(), place()), lambda: os.link(pick(regular), place()),
  lambda: os.mkfifo(place()), lambda: os.mknod(place(), stat.S_IFCHR | 0o600, os.makedev(1, 3))]
made = 0
for i in range(60):
    try: draw.choice(ways)(); made += 1
    except (OSError, TypeError): pass
print(made)
`

/** All that can be seen of a tree: one line for each name, names of one file told by each other. */
const SEE = `
import hashlib, os, stat, sys
os.chdir(sys.argv[1])
seconds = len(sys.argv) > 2
inodes = {}
lines = []
for b, ds, fs in os.walk('.'):
    for n in ds + fs:
        p = os.path.join(b, n)
        s = os.lstat(p)
        if not stat.S_ISDIR(s.st_mode): inodes.setdefault(s.st_ino, []).append(p)
for b, ds, fs in os.walk('.'):
    for n in ds + fs:
        p = os.path.join(b, n)
        s = os.lstat(p)
        what = ''
        if stat.S_ISREG(s.st_mode): what = hashlib.sha1(open(p, 'rb').read()).hexdigest()
        elif stat.S_ISLNK(s.st_mode): what = os.readlink(p)
        elif stat.S_ISCHR(s.st_mode): what = s.st_rdev
        attributes = {k: os.getxattr(p, k, follow_symlinks=False) for k in os.listxattr(p, follow_symlinks=False) if k.startswith('user.')}
        others = sorted(inodes.get(s.st_ino, []))[:8] if not stat.S_ISDIR(s.st_mode) else ''
        mtime = s.st_mtime_ns // (10**9 if seconds else 1)
        lines.append(repr((p, oct(s.st_mode), s.st_uid, s.st_gid, 0 if stat.S_ISDIR(s.st_mode) else s.st_size, mtime, what, attributes, others)))
print('\\n'.join(sorted(lines)))
`

const python = (...args: string[]): string[] =>
  execFileSync('timeout', ['200', 'python3', '-c', ...args], { encoding: 'utf8', cwd: '/', maxBuffer: 1 << 26 })
    .trimEnd()
    .split('\n')

/** Runs the property for the seeds. */
export async function commitGivesTheSame(t: Test, seeds: readonly number[]): Promise<void> {
  if (!umoci) t.comment('umoci is not installed: applied by lamina alone')
  const dir = mkdtempSync(join(tmpdir(), 'lamina-commit-'))
  const [store, elsewhere] = [join(dir, 'store'), join(dir, 'elsewhere')]
  const done = async (root: string, ...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await inProcess('--root', root, ...args)
    if (code !== 0) throw new Error(`${args.join(' ')}: ${code}: ${stderr}`)
    return stdout
  }
  const point = join(dir, 'point')
  mkdirSync(point)
  t.teardown(async () => {
    await inProcess('unmount', '--lazy', point)
    rmSync(dir, { recursive: true, force: true })
  })
  writeFileSync(join(dir, 'base.tar'), ociArchive(makeImage([base, above]), 'docker.io/test/base:1'))
  await done(store, 'load', '-i', join(dir, 'base.tar'))
  let changes = 0
  for (const seed of seeds)
    await t.test(`seed ${seed}`, async t => {
      const work = `work${seed}`
      await done(store, 'mount', `--writable=${work}`, 'test/base:1', point)
      changes += Number(python(CHANGE, point, String(seed))[0])
      const seen = python(SEE, point)
      const inSeconds = python(SEE, point, 'seconds')
      await done(store, 'unmount', point)
      await done(store, 'commit', work, `test/made:${seed}`)
      const archive = join(dir, `made${seed}.tar`)
      await done(store, 'save', '--format', 'oci', '-o', archive, `test/made:${seed}`)

      await done(elsewhere, 'load', '-i', archive)
      await done(elsewhere, 'mount', `test/made:${seed}`, point)
      t.strictSame(python(SEE, point), seen, 'by lamina, from the archive')
      await done(elsewhere, 'unmount', point)
      t.equal(await done(store, 'diff', work, `test/made:${seed}`), '', 'and nothing differs from the container')
      if (umoci) {
        const layout = join(dir, `layout${seed}`)
        mkdirSync(layout)
        execFileSync('tar', ['-xf', archive, '-C', layout])
        const names = execFileSync('umoci', ['list', '--layout', layout], { encoding: 'utf8' })
        const image = `${layout}:${names.split('\n')[0] ?? ''}`
        execFileSync('umoci', ['unpack', '--image', image, join(dir, `bundle${seed}`)], { stdio: 'pipe' })
        t.strictSame(python(SEE, join(dir, `bundle${seed}`, 'rootfs'), 'seconds'), inSeconds, 'by umoci')
      }
      await done(store, 'rm', work)
    })
  t.ok(changes > 20 * seeds.length, `${changes} changes`)
}
