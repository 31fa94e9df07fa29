/**
 * Owns the network of an ordinary user's container: a namespace of its own, a way out of it by pasta(1) or slirp4netns(1)
 * where one of them is installed and /dev/net/tun is open to the user, and published ports by the proxy of publish.ts.
 * Invariant: the program ends with the container; one that a killed supervisor has left is ended by the sweep.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MNT, MS } from '../../sys/constants.js'
import { close } from '../../sys/file.js'
import { mount, umount } from '../../sys/mount.js'
import { pidfdOpen, pidfdSignal } from '../../sys/process.js'
import type { ContainerConfig, NetworkState } from '../config.js'
import { isAlive, startOf, type Containers } from '../containers.js'
import { RuntimeError } from '../error.js'
import { findProgram } from '../program.js'
import type { ConnectedNetwork } from './connect.js'
import { newNamespaceApart, readIn, socketIn } from './namespace.js'
import { publish, wantedPorts, type Published } from './publish.js'

/** A process that carries packets between a namespace and this one. */
export type Helper = NonNullable<NetworkState['helper']>

type Program = 'pasta' | 'slirp4netns'

/** Where each answers DNS for the container, by the host's servers. */
const nameserver: Readonly<Record<Program, string>> = { pasta: '169.254.1.1', slirp4netns: '10.0.2.3' }

/**
 * Makes the namespace and its way out; `wanted` is `bridge` for whichever program there is, or one by name. Without any it
 * has a loopback alone, and `warn` is told. Throws UNSUPPORTED for networks that need root, PORT_TAKEN, NOT_PERMITTED.
 */
export async function joinUserNetwork(
  containers: Containers,
  config: ContainerConfig,
  wanted: string,
  warn: (line: string) => void,
): Promise<ConnectedNetwork> {
  if (!['bridge', 'pasta', 'slirp4netns'].includes(wanted))
    throw new RuntimeError('UNSUPPORTED', `network ${wanted}: an ordinary user has bridge, none or host only`)
  for (const [option, given] of [
    ['--ip', config.address],
    ['--mac-address', config.mac],
    ['--link', config.links],
  ] as const)
    if (given !== undefined)
      throw new RuntimeError(
        'UNSUPPORTED',
        `${option}: needs a network that root has made; an ordinary user's has none`,
      )
  const fd = newNamespaceApart()
  let helper: Helper | undefined
  let published: Published | undefined
  let open = true
  const release = (): Promise<void> => {
    if (open) {
      open = false
      published?.close()
      if (helper !== undefined) {
        endHelper(helper)
        const file = namespaceFile(containers, config)
        umount(file, MNT.DETACH)
        rmSync(file, { force: true })
      }
      close(fd)
    }
    return Promise.resolve()
  }
  try {
    const found = choose(wanted)
    if ('why' in found) {
      if (wanted !== 'bridge') throw new RuntimeError('UNSUPPORTED', `network ${wanted}: ${found.why}`)
      warn(`the network is none: ${found.why}`)
    } else helper = await start(found.program, found.path, fd, namespaceFile(containers, config))
    const { address, prefix, gateway } = look(fd)
    published = await publish(wantedPorts(config), address === '' ? '127.0.0.1' : address, kind => socketIn(fd, kind))
    const name = 'why' in found ? 'none' : found.program
    const { ports } = published
    const state = {
      name,
      address,
      prefix,
      gateway,
      mac: '',
      link: '',
      ports,
      ...(helper === undefined ? {} : { helper }),
    }
    return {
      state,
      namespacePath: `/proc/${process.pid}/fd/${fd}`,
      nameservers: 'why' in found ? [] : [nameserver[found.program]],
      attached: () => Promise.resolve(state),
      release,
    }
  } catch (error) {
    await release()
    throw error
  }
}

function namespaceFile(containers: Containers, { id }: ContainerConfig): string {
  return join(containers.runDirectory(id), 'netns')
}

function choose(wanted: string): { program: Program; path: string } | { why: string } {
  const programs: readonly Program[] = wanted === 'bridge' ? ['pasta', 'slirp4netns'] : [wanted as Program]
  for (const program of programs) {
    const path = findProgram(program)
    if (path === undefined) continue
    try {
      closeSync(openSync('/dev/net/tun', 'r+'))
      return { program, path }
    } catch (error) {
      return { why: `/dev/net/tun: ${(error as NodeJS.ErrnoException).code ?? String(error)}` }
    }
  }
  return { why: `${programs.join(' or ')} is not installed` }
}

/** Starts the program for the namespace `fd`; resolves when it carries. Throws START_FAILED with its words. */
async function start(program: Program, path: string, fd: number, file: string): Promise<Helper> {
  // By a name: who has given up capabilities, as pasta does first, may not follow another process's namespaces.
  const pidFile = `${file}.pid`
  writeFileSync(file, '')
  const r = mount(`/proc/self/fd/${fd}`, file, '', MS.BIND, null)
  if (r < 0) throw new RuntimeError('START_FAILED', `network: binding ${file}: errno ${-r}`)
  rmSync(pidFile, { force: true })
  return program === 'pasta' ? pasta(path, file, pidFile) : slirp(path, file)
}

/** It goes to the background when it carries. */
async function pasta(path: string, namespace: string, pidFile: string): Promise<Helper> {
  // Ports are the proxy's, and the host's loopback is nobody's.
  const closed = ['-t', 'none', '-u', 'none', '-T', 'none', '-U', 'none', '--no-map-gw']
  const dns = ['--dns-forward', nameserver.pasta]
  const args = ['--quiet', '--config-net', '-I', 'eth0', ...closed, ...dns, '--pid', pidFile, '--netns', namespace]
  const child = spawn(path, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')))
  const [code] = (await once(child, 'exit').catch((error: unknown) => [String(error)])) as [number | string]
  child.stderr.destroy()
  if (code !== 0) throw failed('pasta', said)
  const pid = Number(readFileSync(pidFile, 'latin1'))
  return { pid, start: startOf(pid) }
}

/** It writes a byte to its ready-fd when it carries, and ends when its exit-fd is closed: at this process's death too. */
async function slirp(path: string, namespace: string): Promise<Helper> {
  const args = [
    '--configure',
    '--mtu=65520',
    '--disable-host-loopback',
    '--ready-fd=3',
    '--exit-fd=4',
    '--netns-type=path',
  ]
  const child = spawn(path, [...args, namespace, 'eth0'], { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] })
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')))
  const ready = child.stdio[3] as NodeJS.ReadableStream & { destroy(): void }
  const carries = await Promise.race([
    once(ready, 'data').then(() => true),
    once(child, 'exit').then(() => false),
    once(child, 'error').then(() => false),
  ])
  ready.destroy()
  const { pid } = child
  if (!carries || pid === undefined) throw failed('slirp4netns', said)
  child.unref()
  for (const stream of [child.stderr, child.stdio[4]]) (stream as unknown as { unref(): void }).unref()
  return { pid, start: startOf(pid) }
}

function failed(program: Program, said: string): RuntimeError {
  return new RuntimeError('START_FAILED', `network: ${program}: ${said.trim().split('\n').at(-1) ?? 'it ended'}`)
}

/** Ends the program, if it still is that one. */
export function endHelper({ pid, start }: Helper): void {
  const pidfd = pidfdOpen(pid)
  if (pidfd < 0) return
  if (isAlive(pid, start)) pidfdSignal(pidfd, 9)
  close(pidfd)
}

/** The address and the way out that the program has given the namespace `fd` (proc(5), fib_trie and route). */
function look(fd: number): { address: string; prefix: number; gateway: string } {
  const found = [...readIn(fd, 'fib_trie').matchAll(/\|-- (\S+)\n\s+\/32 host LOCAL/g)].map(m => m[1] as string)
  const rows = readIn(fd, 'route')
    .split('\n')
    .slice(1)
    .map(line => line.split('\t'))
  const number = (hex: string | undefined): Buffer => Buffer.from(hex ?? '', 'hex').reverse()
  const byDefault = rows.find(r => r[1] === '00000000')
  const network = rows.find(r => r[1] !== '00000000')
  const bits = [...number(network?.[7])].map(byte => byte.toString(2).replaceAll('0', '').length)
  return {
    address: found.find(a => !a.startsWith('127.')) ?? '',
    prefix: bits.reduce((sum, n) => sum + n, 0),
    gateway: byDefault === undefined ? '' : number(byDefault[2]).join('.'),
  }
}
