/**
 * Requests that wait, and signals for those who wait: an open for writing that waits for a copy of a lower whose filesystem
 * does not answer. Those who are being killed are let go at once, others get what they wait for, and all else goes on.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { diesOf } from '../../lib/fuse/being-killed.js'
import { readCounters } from '../../lib/mount/counters.js'
import { OpenMode } from '../../lib/union/filesystem.js'
import { mounted } from '../fuse/mounted.js'
import { cannotMount, workspace } from './workspace.js'

/** Opens the file for reading and writing, by way of a wait; SIGUSR1 has a handler. */
const OPEN = `
import ctypes, os, resource, signal
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
caught = []
signal.signal(signal.SIGUSR1, lambda *a: caught.append(1))
signal.siginterrupt(signal.SIGUSR1, True)
# Not os.open, which hides an EINTR by trying again.
fd = ctypes.CDLL(None, use_errno=True).open((os.environ['M'] + '/gated').encode(), os.O_RDWR)
if fd < 0: raise OSError(ctypes.get_errno(), 'open')
os.pwrite(fd, b'changed', 0)
print(len(caught), os.pread(fd, 8, 0), os.fstat(fd).st_size)
`

t.test('an open that waits for a copy', { skip: cannotMount }, async t => {
  const gate = new Int32Array(new SharedArrayBuffer(4))
  const open = (): void => {
    Atomics.store(gate, 0, 1)
    Atomics.notify(gate, 0)
  }
  const slow = mounted(t, { mode: OpenMode.Cached, wishes: { passthrough: false }, gate })
  const w = workspace(t)
  t.teardown(open)
  writeFileSync(join(slow.source, 'gated'), Buffer.alloc(3_000_000, 'x'))
  writeFileSync(join(w.lower, 'other'), 'other')
  const lowers = [slow.point, w.lower].map(path => ({ kind: 'directory', path }) as const)
  const record = await w.mount({ ...w.spec, lowers })
  w.sh('ls $M; cat $M/other')

  const parked = (): number => readCounters(record.stats)['parked'] ?? 0
  const interrupts = (): number => readCounters(record.stats)['INTERRUPT'] ?? 0
  const waiter = async (): Promise<ChildProcess> => {
    const before = parked()
    const child = spawn('python3', ['-c', OPEN], { env: { ...process.env, M: w.point }, cwd: '/' })
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
    while (parked() === before && child.exitCode === null) await pause(20)
    return child
  }
  let said = ''
  const patient = await waiter()
  const doomed: [NodeJS.Signals, ChildProcess][] = []
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGQUIT'] as const) doomed.push([signal, await waiter()])
  const asked = interrupts()
  patient.kill('SIGUSR1')
  while (interrupts() === asked) await pause(20)
  for (const [signal, child] of doomed) {
    child.kill(signal)
    // SIGINT is KeyboardInterrupt to Python: a handler. It is there when the wait is over.
    if (signal !== 'SIGINT') t.equal((await once(child, 'exit'))[1], signal, `${signal} ends who waits`)
  }
  t.equal(w.sh('echo fine > $M/new; cat $M/other $M/new; stat -c %s $M/gated'), 'otherfine\n3000000\n', 'meanwhile')
  t.equal(patient.exitCode, null, 'a signal that is handled breaks off no open')
  const exit = once(patient, 'close')
  open()
  t.equal((await exit)[0], 0)
  t.match(said, /^1 b'changedx' 3000000$/m, 'it got the copy, after its handler had run')
  const interrupted = doomed.find(([signal]) => signal === 'SIGINT')?.[1]
  if (interrupted?.exitCode === null && interrupted.signalCode === null) await once(interrupted, 'exit')
  t.match(said, /KeyboardInterrupt/)
  t.equal(w.sh('head -c 8 $M/gated; head -c 8 $U/gated'), 'changedxchangedx')
})

t.test('which pending signals end a process', t => {
  const status = (masks: Record<string, number[]>): string =>
    ['SigPnd', 'ShdPnd', 'SigBlk', 'SigIgn', 'SigCgt']
      .map(name => {
        const mask = (masks[name] ?? []).reduce((sum, n) => sum | (1n << BigInt(n - 1)), 0n)
        return `${name}:\t${mask.toString(16).padStart(16, '0')}\n`
      })
      .join('')
  t.equal(diesOf(status({})), false, 'none')
  t.equal(diesOf(status({ SigPnd: [9] })), true, 'KILL to the thread')
  t.equal(diesOf(status({ ShdPnd: [9], SigCgt: [15] })), true, 'KILL to the process')
  t.equal(diesOf(status({ ShdPnd: [3] })), true, 'QUIT, which dumps core')
  t.equal(diesOf(status({ ShdPnd: [3], SigCgt: [3] })), false, 'QUIT, handled')
  t.equal(diesOf(status({ ShdPnd: [15], SigIgn: [15] })), false, 'TERM, ignored')
  t.equal(diesOf(status({ ShdPnd: [15], SigBlk: [15] })), false, 'TERM, blocked')
  t.equal(diesOf(status({ ShdPnd: [17, 18, 20, 23, 28] })), false, 'those that end nothing')
  t.equal(diesOf(status({ ShdPnd: [34] })), true, 'a real-time signal')
  t.end()
})
