/**
 * Owns the container's root while it runs: its layers joined with its upper directory, served by a thread of this
 * process as a detached mount. Nothing of it is visible on the host; it ends when the last user of it is gone.
 */
import { close } from '../sys/file.js'
import { join } from 'node:path'
import type { LowerSpec } from '../mount/spec.js'
import type { ContainerConfig } from './config.js'

export interface Rootfs {
  readonly fd: number
  /** Lets go of the mount. Resolves when the upper directory is free again. */
  close(): Promise<void>
}

export async function openRootfs(
  lowers: readonly LowerSpec[],
  directory: string,
  config: Pick<ContainerConfig, 'id' | 'autoRemove' | 'driver'>,
  log: (line: string) => void,
): Promise<Rootfs> {
  const { MountServer } = await import('../mount/server.js')
  const spec = {
    lowers,
    upper: join(directory, 'upper'),
    work: join(directory, 'work'),
    source: `lamina:${config.id.slice(0, 12)}`,
    allowOther: true,
    driver: config.driver ?? 'fuse',
    // What is thrown away at its end need not reach the disk: syncing takes longer than all the rest of a short run.
    volatile: config.autoRemove,
  }
  const server = await MountServer.startDetached(spec, { log })
  return {
    fd: server.mountFd,
    close: async () => {
      close(server.mountFd)
      await server.ended
    },
  }
}
