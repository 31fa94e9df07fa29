/** The fuse-native transport: the same tree as the direct one, a writable top that keeps what it is told, and its end. */
import t from 'tap'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { readCounters } from '../../lib/mount/counters.js'
import { launchServer } from '../../lib/mount/launch.js'
import { isAlive, listMounts, type MountRecord } from '../../lib/mount/registry.js'
import type { MountSpec, Transport } from '../../lib/mount/spec.js'
import { unmountPath } from '../../lib/mount/unmount.js'
import { runRoot } from '../../lib/roots.js'
import { lamina as inProcess } from '../cli/lamina.js'

const skip = whyNot()

function whyNot(): string | false {
  if (process.geteuid?.() !== 0) return 'not root'
  const probe = spawnSync(process.execPath, ['-e', "require('fuse-native')"], { encoding: 'utf8' })
  return probe.status === 0
    ? false
    : (/libfuse\.so\.2[^\n]*|Cannot find module[^\n]*/.exec(probe.stderr)?.[0] ?? 'no fuse-native')
}

/** Runs a shell script with a time limit, for the mount is served by another process. Throws when it fails. */
function sh(script: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('timeout', ['200', 'sh', '-c', script, 'sh', ...args], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`${script}: ${status}: ${stderr}`)
  return stdout
}

interface Place {
  readonly base: string
  readonly point: string
  readonly spec: MountSpec
}

/** A lower with every kind of name, an empty upper, a mountpoint. */
function place(writable: boolean): Place {
  const base = mkdtempSync(join(tmpdir(), 'lamina-native-'))
  const at = (...names: string[]): string => join(base, ...names)
  for (const name of ['lower', 'lower/dir', 'lower/dir/deep', 'upper', 'work', 'mnt']) mkdirSync(at(name))
  writeFileSync(at('lower/file'), 'from the lower\n')
  writeFileSync(at('lower/dir/ünï cödé'), 'x'.repeat(300_000))
  writeFileSync(at('lower/dir/deep/suid'), '')
  chmodSync(at('lower/dir/deep/suid'), 0o4711)
  linkSync(at('lower/file'), at('lower/dir/second'))
  symlinkSync('../file', at('lower/dir/link'))
  lutimesSync(at('lower/dir/link'), 1000, 1000)
  utimesSync(at('lower/file'), 1_000_000, 1_234_567.891)
  sh(
    'mkfifo "$1/fifo"; chown 1234:70000 "$1/dir"; truncate -s 5G "$1/large"; setfattr -n user.x -v y "$1/file"',
    at('lower'),
  )
  const top = writable ? { upper: at('upper'), work: at('work') } : {}
  return { base, point: at('mnt'), spec: { lowers: [{ kind: 'directory', path: at('lower') }], ...top } }
}

async function mounted(t: Tap, { point, spec }: Place, transport: Transport): Promise<MountRecord> {
  const record = await launchServer({ spec: { ...spec, transport }, mountpoint: point, runRoot: runRoot() })
  t.teardown(async () => {
    const left = (await listMounts(runRoot())).some(mount => mount.mountpoint === point)
    if (left) await unmountPath(runRoot(), point)
  })
  return record
}
type Tap = Pick<typeof t, 'teardown'>

/** Until the server of `record` has ended; false when it has not after two minutes. */
async function ends(record: MountRecord): Promise<boolean> {
  for (let i = 0; i < 6000 && isAlive(record); i++) await pause(20)
  return !isAlive(record)
}

/** Names, types, modes, owners, sizes, times (ms), link counts, targets and contents of everything at `path`. */
function tree(path: string): string {
  const listing = sh('cd "$1" && find . -printf "%P %y %m %U %G %s %n %Ts %l\\n" | sort', path)
  const sums = sh('cd "$1" && find . -type f -size -1G -exec md5sum {} + | sort', path)
  return `${listing}${sums}${sh('getfattr -d "$1/file" 2>/dev/null | tail -n +2', path)}`
}

t.test('a read-only mount is the same tree as by the direct transport', { skip }, async t => {
  const here = place(false)
  await mounted(t, here, 'direct')
  const direct = tree(here.point)
  await unmountPath(runRoot(), here.point)
  const record = await mounted(t, here, 'fuse-native')
  t.match(direct, /ünï cödé f 644 0 0 300000 1 /, 'the listing has something to compare')
  t.match(direct, /user\.x="y"/)
  t.equal(tree(here.point), direct)
  t.strictSame(readCounters(record.stats), {}, 'libfuse counts nothing, and asking is no error')
  t.throws(() => sh('echo x > "$1/new"', here.point), /Read-only file system/)
  await unmountPath(runRoot(), here.point)
  t.ok(await ends(record), 'lamina unmount ends the server')
})

t.test('a writable mount keeps every change in the upper, and the lower as it was', { skip }, async t => {
  const here = place(true)
  const lower = join(here.base, 'lower')
  const before = tree(lower)
  const record = await mounted(t, here, 'fuse-native')
  const script = `cd "$1" && set -e
    echo more >> file && mv dir renamed && rm renamed/second && ln file third && test "$(stat -c %h third)" = 2
    mkdir made && ln -s there made/s && mkfifo made/p && touch -d '2001-02-03 04:05:06.789 UTC' file
    cp -p renamed/deep/suid made/copied && setfattr -n user.a -v b made/copied && chown 7:8 made/copied && chmod 640 made/copied
    truncate -s 6G large && dd if=/dev/zero of=large bs=1 count=1 seek=5500000000 conv=notrunc status=none
    cat "renamed/ünï cödé" | wc -c; stat -c %s large; stat -c '%a %u %g' made/copied; readlink made/s
    getfattr --only-values -n user.a made/copied; echo; stat -c %.3Y file`
  t.equal(sh(script, here.point), '300000\n6442450944\n640 7 8\nthere\nb\n981173106.789\n')
  t.equal(tree(lower), before)
  t.equal(sh('cd "$1" && ls', join(here.base, 'upper')), 'dir\nfile\nlarge\nmade\nrenamed\nthird\n')
  t.equal(sh('stat -c "%F %t:%T" "$1/dir"', join(here.base, 'upper')), 'character special file 0:0\n', 'a whiteout')
  t.equal(sh('cat "$1"', join(here.base, 'upper/file')), 'from the lower\nmore\n')
  sh('fusermount3 -u "$1"', here.point)
  t.ok(await ends(record), 'fusermount -u ends the server')
  t.strictSame(await listMounts(runRoot()), [], 'and takes it off the list')

  await mounted(t, here, 'direct')
  t.equal(sh('cat "$1/third"; ls "$1/renamed"', here.point), 'from the lower\nmore\ndeep\nlink\nünï cödé\n')
})

t.test('an open file outlives its name, and atime and mtime are set apart', { skip }, async t => {
  const here = place(true)
  await mounted(t, here, 'fuse-native')
  const script = `
import os, sys
os.chdir(sys.argv[1])
fd = os.open('held', os.O_RDWR | os.O_CREAT)
os.write(fd, b'still here')
os.unlink('held')
assert os.pread(fd, 99, 0) == b'still here' and os.fstat(fd).st_size == 10
os.ftruncate(fd, 5)
assert os.fstat(fd).st_size == 5 and os.pread(fd, 99, 0) == b'still'
os.close(fd)
assert 'held' not in os.listdir('.')
os.utime('file', ns=(10**18 + 123 * 10**6, 11 * 10**17 + 456 * 10**6))
st = os.stat('file')
print(st.st_atime_ns, st.st_mtime_ns)
try: os.rename('nothing', 'x')
except FileNotFoundError: print('ENOENT')
try: os.mkdir('dir')
except FileExistsError: print('EEXIST')
try: os.rmdir('dir')
except OSError as e: print(e.errno)
os.setxattr('file', 'user.long', b'v' * 3000)
print(len(os.getxattr('file', 'user.long')), sorted(os.listxattr('file')))
`
  const { stdout, stderr } = spawnSync('timeout', ['200', 'python3', '-c', script, here.point], { encoding: 'utf8' })
  t.equal(stderr, '')
  t.equal(stdout, `1000000000123000000 1100000000456000000\nENOENT\nEEXIST\n39\n3000 ['user.long', 'user.x']\n`)
})

t.test('what it cannot do safely is refused, with the reason', { skip }, async t => {
  const here = place(true)
  const spec: MountSpec = { ...here.spec, transport: 'fuse-native', allowOther: true }
  await t.rejects(launchServer({ spec, mountpoint: here.point, runRoot: runRoot() }), {
    code: 'UNSUPPORTED',
    message: /serves one user/,
  })
  t.strictSame(await listMounts(runRoot()), [])
  await mounted(t, here, 'fuse-native')
  const exchange = spawnSync('timeout', ['200', 'python3', '-c', EXCHANGE, here.point], { encoding: 'utf8' })
  t.equal(exchange.stdout, '-1 22\n', 'rename flags: EINVAL')
})

const EXCHANGE = `
import ctypes, os, sys
os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
print(libc.renameat2(-100, b'file', -100, b'large', 2), ctypes.get_errno())
`

t.test('the read-only mount of an image is the same tree as by the direct transport', { skip }, async t => {
  const here = place(false)
  const store = join(here.base, 'store')
  const lamina = async (...argv: string[]): Promise<void> => {
    const { code, stderr } = await inProcess('--root', store, ...argv)
    if (code !== 0) throw new Error(`${argv.join(' ')}: ${stderr}`)
  }
  sh('tar -C "$1" --xattrs -cf "$2" --exclude=./large .', join(here.base, 'lower'), join(here.base, 'root.tar'))
  await lamina('import', join(here.base, 'root.tar'), 'test/tree:1')
  t.teardown(() => inProcess('unmount', '--lazy', here.point))
  await lamina('mount', 'test/tree:1', here.point)
  const direct = tree(here.point)
  await lamina('unmount', here.point)
  await lamina('mount', '--transport', 'fuse-native', 'test/tree:1', here.point)
  t.match(direct, /ünï cödé f 644 0 0 300000 1 /, 'the listing has something to compare')
  t.match(direct, /deep\/suid f 4711/)
  t.equal(tree(here.point), direct)
  t.throws(() => sh('rm "$1/file"', here.point), /Read-only file system/)
  sh('fusermount -u "$1"', here.point)
  const [record] = await listMounts(runRoot())
  if (record !== undefined) t.ok(await ends(record), 'fusermount -u ends the server')
  t.strictSame(await listMounts(runRoot()), [])
})

t.test('a missing libfuse.so.2 is named, with its package, and containers are refused', { skip }, async t => {
  const here = place(false)
  // A mount namespace in which every copy of the library is an empty file.
  const script = `for f in $(ldconfig -p | sed -n 's/.*libfuse[.]so[.]2[^/]*=> //p'); do mount --bind /dev/null "$f"; done; exec "$@"`
  const command = [process.execPath, resolve('dist/bin/lamina.js'), 'mount', '--transport', 'fuse-native', '--lower']
  const hidden = ['-m', 'sh', '-c', script, 'sh', ...command, join(here.base, 'lower'), here.point]
  const { status, stderr } = spawnSync('unshare', hidden, { encoding: 'utf8', timeout: 200_000 })
  t.match(stderr, /^lamina: mount \S+: transport fuse-native needs libfuse\.so\.2 \(Debian package libfuse2\)\n$/)
  t.equal(status, 3)
  t.strictSame(await listMounts(runRoot()), [])
  const run = await inProcess('run', '--transport', 'fuse-native', '--rootfs', '/', '--', 'true')
  t.match(run.stderr, /^lamina: run: transport fuse-native cannot serve containers: it is not told who asks/)
  t.not(run.code, 0)
})

t.test('kill -9 leaves nothing that is not listed and cleaned up', { skip }, async t => {
  const here = place(true)
  const record = await mounted(t, here, 'fuse-native')
  sh('echo kept > "$1/kept"', here.point)
  process.kill(record.pid, 'SIGKILL')
  t.ok(await ends(record))
  const [status] = await listMounts(runRoot())
  t.match(status, { mountpoint: here.point, state: 'dead' })
  await unmountPath(runRoot(), here.point)
  t.strictSame(await listMounts(runRoot()), [])
  t.equal(sh('grep -c " $1 " /proc/self/mountinfo || true', here.point), '0\n')
  const again = await mounted(t, here, 'fuse-native')
  t.equal(sh('cat "$1/kept"', here.point), 'kept\n', 'the upper is good for the next mount')
  process.kill(again.pid, 'SIGTERM')
  t.ok(await ends(again), 'SIGTERM unmounts and ends')
  t.strictSame(await listMounts(runRoot()), [])
})
