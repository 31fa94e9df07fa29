/**
 * Owns the container's mounts before there is a container: what can be made beforehand is made here as *detached*
 * mounts (fsmount and open_tree fds), so nothing of it shows on the host and a killed process leaves nothing behind.
 * What belongs to a namespace of the child (proc, sysfs, mqueue, cgroup) is left to the birth's table.
 * Invariant: every fd handed out is in `PreparedMounts.fds` and closed by `close`.
 */
import { FsError } from '../errno.js'
import { bytesOf } from '../bytes.js'
import { AT, MOUNT_ATTR, MS, O, OPEN_TREE, S, makedev } from '../sys/constants.js'
import { mkdirat, mknodat, symlinkat } from '../sys/dir.js'
import { close, openat, pwriteAll } from '../sys/file.js'
import { fsconfig, FSCONFIG, fsconfigString, fsmount, fsopen, mountSetattr, openTree } from '../sys/mount.js'
import { chmodat, chownat, fchmod, fstat, Stat } from '../sys/stat.js'
import { RuntimeError } from './error.js'
import { readMountOptions, type MountOptions } from './mount-options.js'
import type { OciDevice, OciMount, OciSpec } from './oci.js'

/** One mount to be put at `destination` (absolute, inside the container). */
export interface PreparedMount {
  destination: string
  /** `attach`: the detached mount `fd`. `make`: a mount(2) in the child. */
  /** `part`: what is at `path` in the detached mount `fd`. */
  how:
    | { do: 'attach'; fd: number }
    | { do: 'make'; type: string; source: string }
    | { do: 'part'; fd: number; path: string }
  options: MountOptions
  /** The mountpoint is to be a file (a bind-mounted file, a device). */
  file: boolean
}

export interface PreparedMounts {
  list: PreparedMount[]
  /** The devpts instance's directory, for making terminals; -1 when the container has none of its own. */
  devpts: number
  fds: number[]
  close(): void
}

const ALL = AT.EMPTY_PATH | AT.RECURSIVE

/**
 * Prepares every mount of `spec`. `given` are detached mounts, the caller's, for binds of those sources. Throws
 * MOUNT_SOURCE_MISSING, NOT_PERMITTED or INVALID; then nothing is left open.
 */
export function prepareMounts(spec: OciSpec, given: ReadonlyMap<string, number> = new Map()): PreparedMounts {
  const fds: number[] = []
  const prepared: PreparedMounts = { list: [], devpts: -1, fds, close: () => fds.splice(0).forEach(close) }
  try {
    for (const m of spec.mounts) {
      const options = readMountOptions(m.options)
      const at = { destination: m.destination, options, file: false }
      const fd = given.get(m.source)
      if (fd !== undefined) {
        setAttributes(fd, m, options)
        prepared.list.push({ ...at, how: { do: 'attach', fd } })
      } else if (options.bind || m.type === 'bind') {
        const { fd, file } = bind(m, options, fds)
        prepared.list.push({ ...at, file, how: { do: 'attach', fd } })
      } else if (m.type === 'tmpfs' || m.type === 'devpts') {
        const fd = detached(m, options, fds)
        if (m.type === 'devpts') prepared.devpts = fd
        prepared.list.push({ ...at, how: { do: 'attach', fd } })
        if (m.destination === '/dev') prepared.list.push(...fillDev(fd, spec.linux.devices ?? [], fds))
      } else prepared.list.push({ ...at, how: { do: 'make', type: m.type, source: m.source } })
    }
    return prepared
  } catch (error) {
    prepared.close()
    throw error
  }
}

function need(result: number, what: string, path: string): number {
  if (result < 0) throw new FsError(result, what, path)
  return result
}

/** A private clone of the tree at the source, with the attributes asked for. */
function bind(m: OciMount, options: MountOptions, fds: number[]): { fd: number; file: boolean } {
  const flags = OPEN_TREE.CLONE | (options.recursive ? AT.RECURSIVE : 0)
  const fd = openTree(AT.FDCWD, bytesOf(m.source), flags)
  if (fd < 0) {
    const { code } = new FsError(fd, 'open_tree')
    const cause = code === 'ENOENT' ? 'does not exist' : code === 'EPERM' ? 'not permitted' : code
    throw new RuntimeError(
      code === 'EPERM' ? 'NOT_PERMITTED' : 'MOUNT_SOURCE_MISSING',
      `mount ${m.source} at ${m.destination}: ${cause}`,
    )
  }
  fds.push(fd)
  setAttributes(fd, m, options)
  const st = new Stat()
  need(fstat(fd, st), 'statx', m.source)
  return { fd, file: (st.mode & S.IFMT) !== S.IFDIR }
}

/** What the options say of the detached mount `fd`; private unless they say otherwise. */
function setAttributes(fd: number, m: OciMount, options: MountOptions): void {
  const propagation = (options.propagation === 0 ? MS.PRIVATE : options.propagation) & ~MS.REC
  if (!(propagation & MS.SHARED)) need(mountSetattr(fd, '', ALL, 0, 0, propagation), 'mount_setattr', m.source)
  if (options.set !== 0 || options.clear !== 0) {
    const deep = options.recursive ? ALL : AT.EMPTY_PATH
    need(mountSetattr(fd, '', deep, options.set, options.clear), 'mount_setattr', m.source)
  }
}

/** A new instance of a filesystem that needs nothing of the child's namespaces. */
function detached(m: OciMount, options: MountOptions, fds: number[]): number {
  const context = need(fsopen(m.type), 'fsopen', m.type)
  try {
    need(fsconfigString(context, 'source', m.source), 'fsconfig source', m.source)
    for (const word of options.data) {
      const [key, value] = split(word)
      const r =
        value === undefined ? fsconfig(context, FSCONFIG.SET_FLAG, key) : fsconfigString(context, key, bytesOf(value))
      if (r < 0) throw new RuntimeError('INVALID', `mount ${m.destination}: ${m.type} does not take '${word}'`)
    }
    need(fsconfig(context, FSCONFIG.CMD_CREATE, null), `fsconfig ${m.type}`, m.destination)
    const fd = need(fsmount(context, options.set), 'fsmount', m.destination)
    fds.push(fd)
    return fd
  } finally {
    close(context)
  }
}

function split(word: string): [string, string | undefined] {
  const at = word.indexOf('=')
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)]
}

const devLinks: readonly (readonly [name: string, target: string])[] = [
  ['fd', '/proc/self/fd'],
  ['stdin', '/proc/self/fd/0'],
  ['stdout', '/proc/self/fd/1'],
  ['stderr', '/proc/self/fd/2'],
  ['core', '/proc/kcore'],
  ['ptmx', 'pts/ptmx'],
]

/** Fills a fresh /dev: nodes by mknod, or, where that is not permitted (user namespace), by binds of the host's. */
function fillDev(dev: number, devices: readonly OciDevice[], fds: number[]): PreparedMount[] {
  const bound: PreparedMount[] = []
  for (const name of ['pts', 'shm', 'mqueue']) {
    need(mkdirat(dev, name, 0o755), 'mkdir', `/dev/${name}`)
    need(chmodat(dev, name, 0o755), 'chmod', `/dev/${name}`)
  }
  for (const [name, target] of devLinks) need(symlinkat(target, dev, name), 'symlink', `/dev/${name}`)
  for (const d of devices) {
    if (!d.path.startsWith('/dev/')) continue
    const name = bytesOf(d.path.slice('/dev/'.length))
    const parts = name.split('/').slice(0, -1)
    parts.forEach((_, i) => mkdirat(dev, parts.slice(0, i + 1).join('/'), 0o755))
    const type = d.type === 'b' ? S.IFBLK : d.type === 'p' ? S.IFIFO : S.IFCHR
    const r = mknodat(dev, name, type | (d.fileMode ?? 0o666), makedev(d.major, d.minor))
    if (r === 0) {
      need(chmodat(dev, name, d.fileMode ?? 0o666), 'chmod', d.path)
      need(chownat(dev, name, d.uid ?? 0, d.gid ?? 0), 'chown', d.path)
      continue
    }
    if (new FsError(r, 'mknod').code !== 'EPERM') throw new FsError(r, 'mknod', d.path)
    const file = need(openat(dev, name, 0o101, 0o666), 'open', d.path)
    close(file)
    const fd = openTree(AT.FDCWD, bytesOf(d.path), OPEN_TREE.CLONE)
    if (fd < 0) throw new RuntimeError('NOT_PERMITTED', `device ${d.path}: cannot be made or bound here`)
    fds.push(fd)
    bound.push({
      destination: d.path,
      how: { do: 'attach', fd },
      options: { ...readMountOptions(['nosuid', 'noexec']), propagation: 0 },
      file: true,
    })
  }
  return bound
}

export interface Secret {
  readonly data: Uint8Array
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

/** A detached tmpfs that holds the bytes in a file `secret`: they are never on a disk. */
export function secretTmpfs({ data, mode, uid, gid }: Secret, fds: number[]): number {
  const options = readMountOptions(['nosuid', 'nodev', 'noexec', 'mode=0755'])
  const tmpfs = { destination: 'secret', type: 'tmpfs', source: 'secret', options: [] }
  const fd = detached(tmpfs, options, fds)
  const file = need(openat(fd, 'secret', O.WRONLY | O.CREAT | O.EXCL, 0o600), 'open', 'secret')
  try {
    need(pwriteAll(file, data, 0), 'write', 'secret')
    need(fchmod(file, mode), 'chmod', 'secret')
    need(chownat(fd, 'secret', uid, gid), 'chown', 'secret')
  } finally {
    close(file)
  }
  need(mountSetattr(fd, '', AT.EMPTY_PATH, MOUNT_ATTR.RDONLY, 0), 'mount_setattr', 'secret')
  return fd
}
