/**
 * Owns what is measured side by side: each peer mounts the same stack of directories its own way.
 * Lowers are topmost first here, as in every mount option of that name.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { IndexLower } from '../lib/image/lowers.js'
import { launchServer } from '../lib/mount/launch.js'
import { inInitialUserNamespace } from '../lib/mount/privilege.js'
import type { LowerSpec, MountSpec } from '../lib/mount/spec.js'
import { unmountPath } from '../lib/mount/unmount.js'
import { readCounters } from '../lib/mount/counters.js'

export interface Stack {
  readonly lowers: readonly string[]
  /** The same lowers as an image, made when first asked for. */
  image(): Promise<{ readonly lowers: readonly IndexLower[]; readonly reference: string; readonly store: string }>
  readonly upper: string
  readonly work: string
  readonly point: string
}

export interface Mounted {
  /** The process that serves, where there is one. */
  readonly pid: number | undefined
  /** Requests the server has answered, by opcode. */
  requests(): Readonly<Record<string, number>> | undefined
  unmount(): Promise<void>
}

export interface Peer {
  readonly name: string
  /** Why it cannot be measured here. */
  missing(): string | undefined
  mount(stack: Stack): Promise<Mounted>
  /** What a user types to mount `stack`: returns when the mount answers. */
  command?(stack: Stack): Promise<readonly string[]>
}

const run = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8' })
const has = (command: string): boolean =>
  (process.env['PATH'] ?? '').split(':').some(d => existsSync(`${d}/${command}`))
const asRoot = (): string | undefined => (process.geteuid?.() === 0 ? undefined : 'needs root')

export async function unmountKernel(point: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      run('umount', point)
      return
    } catch (error) {
      if (attempt === 20) throw error
      await sleep(50)
    }
  }
}

/** The floor: the lowers merged into one directory of the host, bound to the mountpoint. */
const plain: Peer = {
  name: 'plain',
  missing: asRoot,
  async mount({ lowers, upper, point }) {
    for (const lower of lowers.toReversed())
      run('cp', '-a', '--reflink=auto', '--remove-destination', `${lower}/.`, upper)
    run('mount', '--bind', upper, point)
    return { pid: undefined, requests: () => undefined, unmount: () => unmountKernel(point) }
  },
}

/** `options` are overlayfs's; what they leave open is as the kernel has it by default. */
function kernel(name: string, options = ''): Peer {
  const data = ({ lowers, upper, work }: Stack): string =>
    `lowerdir=${lowers.join(':')},upperdir=${upper},workdir=${work}${options}${inInitialUserNamespace() ? '' : ',userxattr'}`
  const command = (stack: Stack): [string, ...string[]] => [
    'mount',
    '-t',
    'overlay',
    'overlay',
    '-o',
    data(stack),
    stack.point,
  ]
  return {
    name,
    missing: () => asRoot() ?? (options === '' || inInitialUserNamespace() ? undefined : 'needs trusted xattrs'),
    mount(stack) {
      run(...command(stack))
      return Promise.resolve({
        pid: undefined,
        requests: () => undefined,
        unmount: () => unmountKernel(stack.point),
      })
    },
    command: stack => Promise.resolve(command(stack)),
  }
}

const fuseOverlayfs: Peer = {
  name: 'fuse-overlayfs',
  missing: () => asRoot() ?? (has('fuse-overlayfs') ? undefined : 'fuse-overlayfs is not installed'),
  async mount(stack) {
    const { point } = stack
    const device = statSync(point).dev
    // It says on standard error which of its own mount options it does not know.
    const child = spawn('fuse-overlayfs', ['-f', ...fuseOverlayfsOptions(stack)], { stdio: 'ignore' })
    const exited = once(child, 'exit')
    for (let i = 0; statSync(point).dev === device; i++) {
      if (i === 10_000) throw new Error('fuse-overlayfs did not mount')
      await sleep(1)
    }
    return {
      pid: child.pid,
      requests: () => undefined,
      async unmount() {
        await unmountKernel(point)
        await exited
      },
    }
  },
  command: stack => Promise.resolve(['fuse-overlayfs', ...fuseOverlayfsOptions(stack)]),
}

function fuseOverlayfsOptions({ lowers, upper, work, point }: Stack): string[] {
  return ['-o', `lowerdir=${lowers.join(':')},upperdir=${upper},workdir=${work}`, point]
}

/** Why the transport of `spec` cannot be had. */
function missingTransport({ transport }: Partial<MountSpec>): string | undefined {
  if (transport !== 'fuse-native') return undefined
  const probe = spawnSync(process.execPath, ['-e', "require('fuse-native')"])
  return probe.status === 0 ? undefined : 'fuse-native does not load (libfuse2)'
}

type LowersOf = (stack: Stack) => Promise<{ readonly specs: readonly LowerSpec[]; readonly words: readonly string[] }>

/** As people start it. */
const LAMINA = fileURLToPath(new URL('../bin/lamina', import.meta.url))

const ofDirectories: LowersOf = ({ lowers }) =>
  Promise.resolve({
    specs: lowers.map(path => ({ kind: 'directory', path })),
    words: lowers.flatMap(path => ['--lower', path]),
  })

const ofImage: LowersOf = async stack => {
  const { lowers } = await stack.image()
  return { specs: lowers, words: [] }
}

function lamina(name: string, spec: Partial<MountSpec>, lowersOf: LowersOf = ofDirectories): Peer {
  return {
    name,
    missing: () => asRoot() ?? (existsSync('/dev/fuse') ? undefined : 'no /dev/fuse') ?? missingTransport(spec),
    async mount(stack) {
      const { upper, work, point } = stack
      const runRoot = `${process.env['LAMINA_RUN']}`
      const { specs } = await lowersOf(stack)
      const record = await launchServer({ spec: { ...spec, lowers: specs, upper, work }, mountpoint: point, runRoot })
      return {
        pid: record.pid,
        requests: () => readCounters(record.stats),
        unmount: () => unmountPath(runRoot, point),
      }
    },
    async command(stack) {
      const { words } = await lowersOf(stack)
      const { upper, work, point } = stack
      if (words.length > 0) return [LAMINA, 'mount', ...words, '--upper', upper, '--work', work, point]
      const { reference, store } = await stack.image()
      return ['env', `LAMINA_ROOT=${store}`, LAMINA, 'mount', reference, point]
    },
  }
}

export const peers: readonly Peer[] = [
  plain,
  kernel('kernel'),
  kernel('kernel-metacopy', ',redirect_dir=on,metacopy=on,index=on'),
  fuseOverlayfs,
  lamina('lamina', {}),
  lamina('lamina-indexed', {}, ofImage),
  lamina('lamina-overlay', { driver: 'overlay' }, ofImage),
  lamina('lamina-cached', { passthrough: false }),
  lamina('lamina-fuse-native', { transport: 'fuse-native' }),
]

/** What runs unless `--peers` says otherwise. */
export const usualPeers = ['plain', 'kernel', 'fuse-overlayfs', 'lamina', 'lamina-indexed', 'lamina-overlay']

/** Nanoseconds that a process has run on a processor, its threads together (those that have ended left out). */
export function processorTime(pid: number): number {
  let sum = 0
  for (const task of readdirSync(`/proc/${pid}/task`))
    sum += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0])
  return sum
}

/** Memory of a process in MB: resident, and its proportional share. */
export function memoryOf(pid: number): { rss: number; pss: number; anonymous: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0) / 1024
  return { rss: field('Rss'), pss: field('Pss'), anonymous: field('Anonymous') }
}
