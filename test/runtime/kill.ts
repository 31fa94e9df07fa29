/**
 * Kills a Lamina process with SIGKILL at some moment of a container's life, and looks at what the next command leaves.
 * Used short in npm test, long by test:long.
 */
import type { Test } from 'tap'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, watch, type FSWatcher } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Lamina, until } from './lamina.js'

const IMAGE = ['--rootfs', '/', '--']
const LIMITS = ['--memory', '64m', '--pids-limit', '20']
const BRIDGE = ['--network', 'bridge', '-p', '127.0.0.1:0:80', '-p', '0:81']

/** A command on the container `c`, which runs before it (`running`), is stopped (`stopped`), or is not there yet. */
interface Moment {
  args: readonly string[]
  before: 'absent' | 'running' | 'stopped'
}

const moments: readonly Moment[] = [
  { before: 'absent', args: ['run', '--name', 'c', ...BRIDGE, ...LIMITS, ...IMAGE, 'sleep', '0.1'] },
  { before: 'absent', args: ['run', '--rm', '--name', 'c', ...BRIDGE, '-v', 'v:/data', ...IMAGE, 'sleep', '0.1'] },
  { before: 'absent', args: ['run', '-d', '--name', 'c', ...BRIDGE, ...LIMITS, ...IMAGE, 'sleep', '1000'] },
  { before: 'absent', args: ['create', '--name', 'c', ...BRIDGE, ...IMAGE, 'true'] },
  { before: 'stopped', args: ['start', 'c'] },
  { before: 'running', args: ['exec', 'c', 'sleep', '0.1'] },
  { before: 'running', args: ['stop', '-t', '0', 'c'] },
  { before: 'running', args: ['restart', '-t', '0', 'c'] },
  { before: 'running', args: ['rm', '-f', 'c'] },
  { before: 'stopped', args: ['rm', 'c'] },
  { before: 'running', args: ['pause', 'c'] },
  { before: 'running', args: ['update', '--memory', '128m', 'c'] },
  { before: 'running', args: ['rename', 'c', 'd'] },
]

/** `rounds` times one of the commands is cut short: its own process is killed, or the container's supervisor, or both. */
export async function killAtAnyMoment(t: Test, rounds: number, random: () => number): Promise<void> {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  for (const dir of ['root/containers', 'root/networks', 'root/volumes', 'run/c']) mkdirSync(join(lamina.scratch, dir))
  const times = new Map<Moment, number>()
  const ids = new Set<string>()
  let cut = 0
  for (let round = 0; round < rounds; round++) {
    const moment = moments[round % moments.length] as Moment
    const title = `round ${round}: ${moment.args.slice(0, 3).join(' ')}`
    makeReady(lamina, moment.before)
    const time = times.get(moment)
    const when =
      time === undefined || round % 2 === 1 ? { changes: 1 + Math.floor(random() * 24) } : { ms: random() * time }
    const whom = ['command', 'supervisor', 'both'][Math.floor(random() * 3)] as Whom
    const start = performance.now()
    if (await cutShort(lamina, moment.args, when, whom)) cut++
    times.set(moment, Math.max(time ?? 0, performance.now() - start))
    for (const id of idsOf(lamina)) ids.add(id)
    const how = `${title}, ${whom} at ${JSON.stringify(when)}`
    // The next command sees a container that is whole, or none.
    const ps = lamina.do(['ps', '-a', '--format', '{{.Names}} {{.Status}}'])
    t.match(ps, { code: 0, stderr: '', stdout: /^([cd] (Up|Exited|Created).*\n)?$/ }, how)
    const name = ps.stdout.slice(0, 1)
    if (name !== '') t.match(lamina.do(['rm', '-f', name]), { code: 0, stderr: '' }, `${how}: rm -f`)
    t.same(await remaining(lamina, ids), [], `${how}: nothing is left`)
    if (round % 8 === 7)
      t.match(lamina.do(['run', '--rm', ...BRIDGE, ...IMAGE, 'true']), { code: 0, stderr: '' }, `${how}: and all works`)
  }
  t.comment(`${cut} of ${rounds} commands were cut short`)
  t.ok(cut > 0, 'something was killed')
}

type Whom = 'command' | 'supervisor' | 'both'

function idsOf(lamina: Lamina): string[] {
  return readdirSync(join(lamina.root, 'containers')).filter(name => name.length === 64)
}

function makeReady(lamina: Lamina, state: Moment['before']): void {
  if (state === 'absent') return
  lamina.out('run', '-d', '--name', 'c', ...BRIDGE, ...LIMITS, ...IMAGE, 'sleep', '1000')
  if (state === 'stopped') lamina.out('stop', '-t', '0', 'c')
}

/** Runs a command; kills at the n-th change in the store or after a time. Whether it was killed before its end. */
async function cutShort(
  lamina: Lamina,
  args: readonly string[],
  when: { ms?: number; changes?: number },
  whom: Whom,
): Promise<boolean> {
  const child = lamina.start(args)
  child.stdin?.end()
  child.stdout?.resume()
  child.stderr?.resume()
  const ended = new Promise(resolve => child.once('close', resolve))
  let killed = false
  const kill = (): void => {
    if (killed || child.exitCode !== null) return
    killed = true
    if (whom !== 'command') for (const pid of supervisorsOf(lamina)) if (pid !== child.pid) process.kill(pid, 'SIGKILL')
    if (whom !== 'supervisor') child.kill('SIGKILL')
  }
  const timer = when.ms === undefined ? undefined : setTimeout(kill, when.ms)
  let left = when.changes ?? Infinity
  const watched = watchStore(lamina, () => {
    if (--left === 0) kill()
  })
  await ended
  clearTimeout(timer)
  watched.close()
  return killed
}

/** Calls `changed` for each change of a name in the directories of the store and of its containers. */
function watchStore(lamina: Lamina, changed: () => void): { close(): void } {
  const watchers = new Map<string, FSWatcher>()
  const add = (directory: string): void => {
    if (watchers.has(directory)) return
    try {
      const watcher = watch(directory, (_, name) => {
        changed()
        if (name?.length === 64) add(join(directory, name))
      })
      // A directory that goes is no error.
      watcher.on('error', () => undefined)
      watchers.set(directory, watcher)
    } catch {
      // It went before it could be watched.
    }
  }
  for (const name of ['containers', 'networks', 'volumes']) add(join(lamina.root, name))
  for (const id of idsOf(lamina)) add(join(lamina.root, 'containers', id))
  add(join(lamina.run, 'c'))
  return { close: () => watchers.forEach(watcher => watcher.close()) }
}

function supervisorsOf(lamina: Lamina): number[] {
  return idsOf(lamina).flatMap(id => {
    try {
      const text = readFileSync(join(lamina.root, 'containers', id, 'state.json'), 'utf8')
      const { supervisor } = JSON.parse(text) as { supervisor: number }
      return supervisor > 0 && existsSync(`/proc/${supervisor}`) ? [supervisor] : []
    } catch {
      return []
    }
  })
}

/** What is still there of containers that are gone, after the time that processes take to end. */
async function remaining(lamina: Lamina, ids: ReadonlySet<string>): Promise<string[]> {
  let found: string[] = []
  await until(() => (found = look(lamina, ids)).length === 0, 20)
  await sleep(0)
  return found
}

function look(lamina: Lamina, ids: ReadonlySet<string>): string[] {
  const short = [...ids].map(id => id.slice(0, 10))
  const list = (program: string, ...args: string[]): string[] => {
    const r = spawnSync(program, args, { encoding: 'utf8' }) as { readonly stdout: string | null }
    return (r.stdout ?? '').split('\n')
  }
  const has = (line: string): boolean => short.some(id => line.includes(id))
  const bridge = linkOf(lamina)
  return [
    ...idsOf(lamina).map(id => `directory ${id}`),
    ...readdirSync(join(lamina.run, 'c')),
    ...list('find', '/sys/fs/cgroup', '-type', 'd', '-path', '*lamina*').filter(has),
    ...readFileSync('/proc/self/mountinfo', 'latin1')
      .split('\n')
      .filter(line => line.includes('lamina:') && has(line)),
    ...list('ip', '-o', 'link').filter(line => has(line) || line.includes(bridge)),
    ...list('nft', 'list', 'tables').filter(line => has(line) || line.includes(bridge)),
    ...leasesOf(lamina),
    ...processesOf(lamina),
  ]
}

function linkOf(lamina: Lamina): string {
  const file = join(lamina.root, 'networks/bridge.json')
  if (!existsSync(file)) return 'no bridge'
  return (JSON.parse(readFileSync(file, 'utf8')) as { link: string }).link
}

function leasesOf(lamina: Lamina): string[] {
  const file = join(lamina.root, 'networks/bridge.leases.json')
  if (!existsSync(file)) return []
  const leases = JSON.parse(readFileSync(file, 'utf8')) as Record<string, { id: string }>
  return Object.entries(leases).map(([address, { id }]) => `address ${address} of ${id}`)
}

/** Processes of this store: each Lamina process carries its run root in its environment or its arguments. */
function processesOf(lamina: Lamina): string[] {
  return readdirSync('/proc').flatMap(pid => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return []
    try {
      const [environment, line] = ['environ', 'cmdline'].map(file => readFileSync(`/proc/${pid}/${file}`, 'latin1'))
      const own = environment?.includes(`LAMINA_RUN=${lamina.run}\0`) === true || line?.includes(lamina.run) === true
      return own ? [`process ${pid}: ${line?.replaceAll('\0', ' ') ?? ''}`] : []
    } catch {
      return []
    }
  })
}
