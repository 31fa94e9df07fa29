/** Network namespaces of the test's own, with links between them: traffic that never meets the machine's network. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

export interface Namespace {
  /** Words to put before a command that is to run inside. */
  readonly prefix: readonly string[]
  /** Standard output of a shell line inside; throws what it said when it fails. */
  sh(script: string): string
  /** Starts a program inside that goes on until `close`. */
  start(program: string, ...words: string[]): void
  close(): void
}

/** A new network namespace with its loopback up. Throws where that is not permitted. */
export async function makeNamespace(): Promise<Namespace> {
  const keeper = spawn('unshare', ['-n', 'sh', '-c', 'ip link set lo up && echo up && exec sleep infinity'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [first] = (await Promise.race([once(keeper.stdout, 'data'), once(keeper, 'close')])) as unknown[]
  if (String(first) !== 'up\n') throw new Error('no network namespace')
  const prefix = ['nsenter', '-t', String(keeper.pid), '-n', '--']
  const started = [keeper as ChildProcess]
  return {
    prefix,
    sh: script => {
      const r = spawnSync(prefix[0] as string, [...prefix.slice(1), 'sh', '-c', script], {
        encoding: 'utf8',
        timeout: 120_000,
      })
      if (r.status !== 0) throw new Error(`${script}: ${r.stderr}`)
      return r.stdout
    },
    start: (...words) =>
      void started.push(spawn(prefix[0] as string, [...prefix.slice(1), ...words], { stdio: 'ignore' })),
    close: () => started.forEach(child => child.kill('SIGKILL')),
  }
}

/** Joins two namespaces by a cable: addresses `10.77.0.1/24` in `a` and `10.77.0.2/24` in `b`. */
export function cable(a: Namespace, b: Namespace): void {
  a.sh(`ip link add cable type veth peer name cable netns ${b.prefix[2] ?? ''}`)
  a.sh('ip addr add 10.77.0.1/24 dev cable && ip link set cable up')
  b.sh('ip addr add 10.77.0.2/24 dev cable && ip link set cable up')
}
