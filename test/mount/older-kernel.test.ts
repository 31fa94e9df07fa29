/** Kernels below 5.12, where a detached mount cannot be changed: lowers are as safe there. */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { unmount } from '../../lib/fuse/mount.js'
import { bytesOf } from '../../lib/bytes.js'
import { records } from '../../lib/mount/registry.js'
import { onLinux } from './older-kernel.js'
import { cannotMount, workspace } from './workspace.js'
import { REFUSED } from './write-through-clone.js'

const skip = cannotMount || (spawnSync('python3', ['--version']).status === 0 ? false : 'no python3')
const limit = { encoding: 'utf8', timeout: 300_000, cwd: '/' } as const

t.test('the bind mount that stands in for a read-only clone refuses every write in the kernel', { skip }, t => {
  const w = workspace(t)
  const script = fileURLToPath(new URL('./write-through-clone-process.js', import.meta.url))
  const { stdout, stderr } = spawnSync(...onLinux('5.4', process.execPath, script, w.lower), limit)
  t.equal(stderr, '')
  t.strictSame(JSON.parse(stdout), REFUSED)
  t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), w.lower, 'and it is in nobody else’s tree')
  t.end()
})

t.test('lamina mount on Linux 5.4 keeps its lower, by the kernel and not by care', { skip }, t => {
  const w = workspace(t)
  w.sh('mkdir $L/d $L/d/deep; echo data > $L/d/f; echo more > $L/d/deep/f')
  const look = 'cd $L; find . -printf "%p %m %u %s %T@\\n"; cat d/f d/deep/f'
  const before = w.sh(look)
  w.sh('cd $L; touch -a -d @1 . d d/f d/deep')
  const env = { ...process.env, LAMINA_RUN: w.runRoot }
  const layers = ['--lower', w.lower, '--upper', w.upper, '--work', w.work, w.point]
  const command = onLinux('5.4', process.execPath, resolve('dist/bin/lamina.js'), 'mount', ...layers)
  const run = spawnSync(...command, { ...limit, env })
  t.teardown(() => unmount(bytesOf(w.point), true))
  t.equal(run.status, 0, run.stderr)
  t.equal(
    w.python(`
import os
os.chdir(os.environ['M'])
reader = open('d/f')
assert reader.read(1) == 'd'
open('d/f', 'a').write('written')
assert open('d/f').read() == 'data\\nwritten' and reader.read() == 'ata\\n'
os.rename('d/deep', 'moved')
os.chmod('moved/f', 0o600)
os.remove('d/f')
print(sorted(os.listdir('.')), open('moved/f').read())`),
    "['d', 'moved'] more\n\n",
  )
  // The server's own descriptors, as /proc gives them: through those of the lower nobody can write, whatever the server does.
  const server = records(w.runRoot)[0]?.pid ?? 0
  const { dev, ino } = statSync(w.lower)
  const roots = readdirSync(`/proc/${server}/fd`).filter(fd => {
    const st = statSync(`/proc/${server}/fd/${fd}`, { throwIfNoEntry: false })
    return st?.dev === dev && st.ino === ino
  })
  t.not(roots.length, 0, 'the lower is open in the server')
  for (const fd of roots)
    t.throws(
      () => writeFileSync(join(`/proc/${server}/fd`, fd, 'new'), 'x'),
      { code: 'EROFS' },
      `fd ${fd} of the server`,
    )
  t.equal(w.sh('cd $L; stat -c %X . d d/f d/deep'), '1\n'.repeat(4), 'access times stand still')
  t.equal(w.sh(look), before)
  t.end()
})

t.test('lamina run on Linux 5.11 says what it needs', { skip }, t => {
  const argv = ['run', '--rm', '--network', 'none', '--rootfs', '/', '--', 'true']
  const run = spawnSync(...onLinux('5.11', process.execPath, resolve('dist/bin/lamina.js'), ...argv), limit)
  t.equal(run.status, 125)
  t.match(run.stderr, /^lamina: start: .*: ENOSYS \(containers need Linux 5\.12\)\n$/)
  t.end()
})
