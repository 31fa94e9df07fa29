/**
 * Owns the network that RUN steps have when nothing is said: a place on the bridge, as `lamina run` gives. It is taken
 * when the first step asks, shared by all steps of the build, and given back with `close`.
 * What a killed build had is given back by the next one.
 * Invariant: never the host's own. Where no bridge can be had, steps have loopback only, and that is said once.
 */
import { existsSync } from 'node:fs'
import type { ConnectedNetwork } from '../runtime/network/connect.js'
import { readLeases, type Lease } from '../runtime/network/networks.js'
import type { NetworkOfBuild } from './build-executor.js'
import type { Context } from './command.js'

export function buildNetwork(
  context: Pick<Context, 'root' | 'runRoot' | 'stderr'>,
): NetworkOfBuild & { close(): Promise<void> } {
  let connected: Promise<ConnectedNetwork | undefined> | undefined
  const swept = sweep(context.root)
  // Whoever waits for it hears of a failure; a build whose steps need no network does not fail for it.
  swept.catch(() => undefined)
  return {
    path: async () => {
      await swept
      return (await (connected ??= connect(context)))?.namespacePath
    },
    close: async () => {
      await swept.catch(() => undefined)
      await (await connected)?.release()
      connected = undefined
    },
  }
}

const NETWORK = 'bridge'
const NAME = /^build-(\d+)$/

/** A build that was killed could not give its place back. */
async function sweep(root: string): Promise<void> {
  const isGone = ({ names }: Lease): boolean => {
    const pid = NAME.exec(names[0] ?? '')?.[1]
    return pid !== undefined && !existsSync(`/proc/${pid}`)
  }
  if (!Object.values(readLeases(root, NETWORK)).some(isGone)) return
  const { sweepLeases } = await import('../runtime/network/bridge.js')
  await sweepLeases(root, NETWORK, isGone)
}

async function connect({
  root,
  runRoot,
  stderr,
}: Pick<Context, 'root' | 'runRoot' | 'stderr'>): Promise<ConnectedNetwork | undefined> {
  const [{ connectNetwork }, { Containers }, { freshConfig }, { newId }] = await Promise.all([
    import('../runtime/network/connect.js'),
    import('../runtime/containers.js'),
    import('../runtime/config.js'),
    import('../runtime/names.js'),
  ])
  const config = freshConfig(newId(), `build-${process.pid}`, { kind: 'directory', path: '/' })
  config.network = { network: NETWORK }
  try {
    const warn = (line: string): void => void stderr.write(`warning: ${line}\n`)
    return await connectNetwork(new Containers(root, runRoot), config, warn)
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    if (code !== 'UNSUPPORTED' && code !== 'NOT_PERMITTED') throw error
    stderr.write(`warning: RUN steps have no network: ${message} (--network host gives them this machine's)\n`)
    return undefined
  }
}
