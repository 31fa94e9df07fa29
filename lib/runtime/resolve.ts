/**
 * Owns what has to be looked up at the start before a spec can be written: who the user is (in the root's own passwd),
 * where volumes lie, which namespaces other containers have, and the files under /etc.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { ContainerMount } from './config.js'
import type { Container, Containers } from './containers.js'
import { RuntimeError } from './error.js'
import { writeEtcFiles } from './etc-files.js'
import type { ImageMount } from './image-mounts.js'
import type { ConnectedNetwork } from './network/connect.js'
import type { NamespaceType, OciSpec } from './oci.js'
import { readInRoot } from './read-in-root.js'
import { buildSpec } from './spec.js'
import { identify, type Identity } from './user.js'

/** Reads the identity of `user` inside the tree at `root`. Throws INVALID_USER. */
export async function identityIn(root: number, user: string, groupAdd: readonly string[]): Promise<Identity> {
  const [passwd, group] = await Promise.all([readInRoot(root, 'etc/passwd'), readInRoot(root, 'etc/group')])
  return identify(user, passwd?.toString('utf8') ?? '', group?.toString('utf8') ?? '', groupAdd)
}

const namespaceFile: Readonly<Record<NamespaceType, string>> = {
  mount: 'mnt',
  pid: 'pid',
  network: 'net',
  ipc: 'ipc',
  uts: 'uts',
  cgroup: 'cgroup',
  user: 'user',
}

export async function resolve(
  containers: Containers,
  container: Container,
  root: number,
  cgroupPath: string,
  network: ConnectedNetwork,
  images: readonly ImageMount[],
): Promise<OciSpec> {
  const { config, directory } = container
  const identity = await identityIn(root, config.user, config.groupAdd)
  const others = new Map<string, number>()
  for (const mode of [config.pid, config.ipc, config.uts, config.network]) {
    if (typeof mode !== 'object' || !('container' in mode)) continue
    const other = await containers.find(mode.container)
    if (other.state.status !== 'running' || other.state.pid === 0)
      throw new RuntimeError(
        'WRONG_STATE',
        `container ${mode.container}: does not run, its namespaces cannot be joined`,
      )
    others.set(mode.container, other.state.pid)
  }
  const sources = new Map<ContainerMount, string>(images.map(i => [i.mount, i.path]))
  for (const m of config.mounts)
    if (m.kind === 'volume') {
      const { openVolume } = await import('./volumes.js')
      sources.set(m, await openVolume(containers.root, m, root))
    } else if (m.kind === 'bind') {
      if (m.copyUp === true && !existsSync(m.source)) mkdirSync(m.source, { recursive: true })
      sources.set(m, m.source)
    }
  const etc = writeEtcFiles(
    directory,
    config,
    network.state?.address || undefined,
    await othersOn(containers.root, network),
    network.nameservers,
  )
  return buildSpec(config, {
    identity,
    binds: [
      ...etc.map(name => ({ source: join(directory, name), destination: `/etc/${name}`, readOnly: false })),
      ...(config.init ? [await initBind(containers)] : []),
    ],
    sourceOf: m => sources.get(m) ?? m.source,
    namespaceOf: (other, type) => `/proc/${others.get(other) ?? 0}/ns/${namespaceFile[type]}`,
    cgroupPath,
    networkNamespace: network.namespacePath,
  })
}

async function initBind(containers: Containers): Promise<{ source: string; destination: string; readOnly: boolean }> {
  const { initProgram } = await import('./init.js')
  return { source: initProgram(containers.runRoot), destination: '/dev/init', readOnly: true }
}

/** Lines for the hosts file: who else is on the network now. Later ones are told by the bridge. */
async function othersOn(root: string, { state }: ConnectedNetwork): Promise<string> {
  if (state === undefined || state.link === '') return ''
  const [{ readLeases }, { othersOf }] = await Promise.all([
    import('./network/networks.js'),
    import('./network/bridge.js'),
  ])
  return othersOf(readLeases(root, state.name), state.address)
}
