/**
 * Owns copying into a container, running or not. The destination is resolved inside the container's own
 * root by the kernel (openat2 with RESOLVE_IN_ROOT, no magic links), and from there on every step is a directory descriptor
 * and one name (lib/diff/extract): no symlink that the container makes, before or meanwhile, leads out of it.
 * A running container is reached by its first process's root; another one is mounted for the time of the copy.
 */
import { basename, dirname } from 'node:path'
import { bytesOf } from '../bytes.js'
import { childPath, isDirectory } from '../diff/change.js'
import { extract, extractChildren, type ExtractOptions } from '../diff/extract.js'
import { E, FsError } from '../errno.js'
import { type Container, isAlive, startOf } from '../runtime/containers.js'
import { AT, O, RESOLVE } from '../sys/constants.js'
import { close, open, openat2 } from '../sys/file.js'
import { statat, Stat } from '../sys/stat.js'
import { UsageError } from './command.js'
import type { CopySource } from './copy-source.js'

/**
 * Copies `source` to `path` (text, absolute) in the container; `path` is an existing directory when the source is a tar.
 * Throws FsError, UsageError for a copy onto or into itself, and what mounting throws.
 */
export async function copyIn(
  storeRoot: string,
  container: Container,
  source: CopySource,
  path: string,
  options: ExtractOptions,
): Promise<void> {
  const { state } = container
  if (source.operand.kind === 'container' && source.operand.container.id === container.id) refuseSelf(source, path)
  if (state.status === 'running' && state.pid !== 0) {
    const fd = open(bytesOf(`/proc/${state.pid}/root`), O.PATH | O.DIRECTORY)
    if (fd >= 0 && isAlive(state.pid, state.pidStart) && startOf(state.pid) === state.pidStart) {
      try {
        put(fd, source, path, options)
      } finally {
        close(fd)
      }
      return
    }
    if (fd >= 0) close(fd)
  }
  const [{ lowersOf }, { openRootfs }] = await Promise.all([
    import('../runtime/image-root.js'),
    import('../runtime/rootfs.js'),
  ])
  const lowers = await lowersOf(storeRoot, container.config.root)
  const rootfs = await openRootfs(lowers, container.directory, container.config, line => options.warn(line))
  try {
    put(rootfs.fd, source, path, options)
  } finally {
    await rootfs.close()
  }
}

/** A copy replaces what is in its way: onto itself it would lose it, into itself it would have no end. */
function refuseSelf({ tree, entry, name, inside }: CopySource, path: string): void {
  const into = tree.resolve(bytesOf(path), true)
  const directory = into !== undefined && isDirectory(into.attributes)
  const parent = directory ? into : tree.resolve(bytesOf(dirname(path)), true)
  if (parent === undefined) return
  const target = directory && inside ? parent.path : childPath(parent.path, directory ? name : bytesOf(basename(path)))
  if (target === entry.path || target.startsWith(entry.path === '/' ? '/' : `${entry.path}/`))
    throw new UsageError(`${path}: what is copied lies there itself`)
}

const st = new Stat()

function put(
  root: number,
  { tree, entry, name, inside, operand }: CopySource,
  path: string,
  options: ExtractOptions,
): void {
  const inRoot = (at: string): number =>
    openat2(root, bytesOf(at), O.RDONLY | O.DIRECTORY, 0, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS)
  let fd = inRoot(path)
  const into = fd >= 0
  if (!into) {
    if (fd !== -E.ENOENT && fd !== -E.ENOTDIR) throw new FsError(fd, 'open', path)
    if (operand.name === '-' || (path.endsWith('/') && !isDirectory(entry.attributes)))
      throw new FsError(fd, 'open', path)
    fd = inRoot(dirname(path))
    if (fd < 0) throw new FsError(fd, 'open', dirname(path))
  }
  try {
    const last = bytesOf(basename(path))
    if (into && inside) extractChildren(tree, entry, fd, options)
    else if (into) extract(tree, entry, fd, name, options)
    else if (isDirectory(entry.attributes) && statat(fd, last, st, AT.SYMLINK_NOFOLLOW) >= 0) {
      throw new FsError(E.ENOTDIR, 'copy a directory onto', path)
    } else extract(tree, entry, fd, last, options)
  } finally {
    close(fd)
  }
}
