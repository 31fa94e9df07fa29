/**
 * Owns what is measured side by side: each peer mounts the same stack of directories its own way.
 * Lowers are topmost first here, as in every mount option of that name.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { launchServer } from '../lib/mount/launch.js'
import type { MountSpec } from '../lib/mount/spec.js'
import { unmountPath } from '../lib/mount/unmount.js'
import { readCounters } from '../lib/mount/counters.js'

export interface Stack {
  readonly lowers: readonly string[]
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
}

const run = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8' })
const has = (command: string): boolean =>
  (process.env['PATH'] ?? '').split(':').some(d => existsSync(`${d}/${command}`))
const asRoot = (): string | undefined => (process.geteuid?.() === 0 ? undefined : 'needs root')

async function unmountKernel(point: string): Promise<void> {
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

function kernel(name: string, options: string): Peer {
  return {
    name,
    missing: asRoot,
    async mount({ lowers, upper, work, point }) {
      const data = `lowerdir=${lowers.join(':')},upperdir=${upper},workdir=${work}${options}`
      run('mount', '-t', 'overlay', 'overlay', '-o', data, point)
      return { pid: undefined, requests: () => undefined, unmount: () => unmountKernel(point) }
    },
  }
}

const fuseOverlayfs: Peer = {
  name: 'fuse-overlayfs',
  missing: () => asRoot() ?? (has('fuse-overlayfs') ? undefined : 'fuse-overlayfs is not installed'),
  async mount({ lowers, upper, work, point }) {
    const data = `lowerdir=${lowers.join(':')},upperdir=${upper},workdir=${work}`
    const device = statSync(point).dev
    const child = spawn('fuse-overlayfs', ['-f', '-o', data, point], { stdio: ['ignore', 'ignore', 'inherit'] })
    const exited = once(child, 'exit')
    for (let i = 0; statSync(point).dev === device; i++) {
      if (i === 2000) throw new Error('fuse-overlayfs did not mount')
      await sleep(5)
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
}

/** Why the transport of `spec` cannot be had. */
function missingTransport({ transport }: Partial<MountSpec>): string | undefined {
  if (transport !== 'fuse-native') return undefined
  const probe = spawnSync(process.execPath, ['-e', "require('fuse-native')"])
  return probe.status === 0 ? undefined : 'fuse-native does not load (libfuse2)'
}

function lamina(name: string, spec: Partial<MountSpec>): Peer {
  return {
    name,
    missing: () => asRoot() ?? (existsSync('/dev/fuse') ? undefined : 'no /dev/fuse') ?? missingTransport(spec),
    async mount({ lowers, upper, work, point }) {
      const runRoot = `${process.env['LAMINA_RUN']}`
      const directories = lowers.map(path => ({ kind: 'directory', path }) as const)
      const record = await launchServer({
        spec: { ...spec, lowers: directories, upper, work },
        mountpoint: point,
        runRoot,
      })
      return {
        pid: record.pid,
        requests: () => readCounters(record.stats),
        unmount: () => unmountPath(runRoot, point),
      }
    },
  }
}

export const peers: readonly Peer[] = [
  plain,
  kernel('kernel', ',redirect_dir=on,metacopy=on,index=on'),
  fuseOverlayfs,
  lamina('lamina', {}),
  lamina('lamina-cached', { passthrough: false }),
  lamina('lamina-fuse-native', { transport: 'fuse-native' }),
]

/** What runs unless `--peers` says otherwise. */
export const usualPeers = ['plain', 'kernel', 'fuse-overlayfs', 'lamina']

/** Memory of a process in MB: resident, and its proportional share. */
export function memoryOf(pid: number): { rss: number; pss: number; anonymous: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0) / 1024
  return { rss: field('Rss'), pss: field('Pss'), anonymous: field('Anonymous') }
}
