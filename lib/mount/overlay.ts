/**
 * Owns the driver `overlay`: the kernel's overlayfs makes the tree and takes the changes, on one lower that our server merges
 * and describes (lib/union/as-lower.ts), with the directories of objects as data-only lowers below it. Names and attributes come
 * from the server, once; data never does where a layer is an index. So an unprivileged user namespace, which gets no
 * passthrough, reads and writes at the disk's speed. What is lost is what overlayfs does not do there (lib/README.md).
 * Formats: bookkeeping in `trusted.` attributes, with metacopy and redirect_dir, in the initial user namespace; else `user.` ones (`userxattr`), without.
 * Needs Linux 6.16 for userxattr on data-only lowers, 6.8 for `lowerdir+`.
 * Invariant: the thread that serves the lower never makes the calls that ask it.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { bytesOf } from '../bytes.js'
import { E, errnoName, FsError } from '../errno.js'
import { MOUNT_ATTR, O } from '../sys/constants.js'
import { close, openat } from '../sys/file.js'
import { FSCONFIG, fsconfigInThread, fsErrors, fsmount, fsopen } from '../sys/mount.js'
import { markVolatile, refuseLostVolatile, VOLATILE_MARK } from '../union/volatile.js'
import { lockWork, REDIRECTS, removeTree } from '../union/work.js'
import { MountError } from './failure.js'
import { inInitialUserNamespace, mayMount } from './privilege.js'
import { filesystemGone, mountIndex } from './kernel-index.js'
import { isWritable, type MountSpec } from './spec.js'
import { stackDepth, workFailure } from './stack.js'

/** The mount that our server serves for the kernel's to stand on. */
function lowerOf(spec: MountSpec, trusted: boolean): MountSpec {
  const { upper, lowers } = spec
  return {
    lowers: upper === undefined || isWritable(spec) ? lowers : [{ kind: 'directory', path: upper }, ...lowers],
    readOnly: true,
    asLower: trusted ? 'trusted' : 'user',
    allowOther: true,
    ...(spec.ids === undefined ? {} : { ids: spec.ids }),
    ...(spec.acl === undefined ? {} : { acl: spec.acl }),
    ...(spec.passthrough === undefined ? {} : { passthrough: spec.passthrough }),
    ...(spec.source === undefined ? {} : { source: spec.source }),
  }
}

type Upper = MountSpec & { readonly upper: string; readonly work: string }

/** The kernel's own mount of an image's index; -1 where a server has to show it: several layers, other owners, no such kernel. */
function kernelIndex(spec: MountSpec): number {
  const [lower, ...others] = spec.lowers
  const alone = lower?.kind === 'index' && others.length === 0 && (spec.upper === undefined || isWritable(spec))
  return alone && spec.ids === undefined && stackDepth(spec) === 1 ? mountIndex(lower.path) : -1
}

/** A mount of the kernel's that is about to be made. It owns the upper's lock until `close`. */
export class Overlay {
  /** What our server serves; undefined where the kernel reads the image's index itself. */
  readonly served: MountSpec | undefined
  /** Resolves when the mount is gone, where no server's end says so. */
  readonly gone: Promise<void> | undefined
  readonly #spec: MountSpec
  /** Bookkeeping is in `trusted.` attributes. */
  readonly #trusted = inInitialUserNamespace()
  #lock = -1
  #index = -1

  /** Locks the work directory. Throws MountError when `spec` cannot be had by this driver. */
  constructor(spec: MountSpec) {
    this.#spec = spec
    if (spec.transport === 'fuse-native')
      throw new MountError('UNSUPPORTED', 'mount: the driver overlay does not go with the transport fuse-native')
    if (!mayMount())
      throw new MountError('NOT_PERMITTED', 'mount: the driver overlay needs root, or root of a user namespace')
    if (isWritable(spec)) this.#takeUpper(spec as Upper)
    else if (!spec.lowers.some(lower => lower.kind === 'index'))
      throw new MountError('UNSUPPORTED', 'mount: the driver overlay needs an upper directory, or an image')
    try {
      this.#index = this.#trusted ? kernelIndex(spec) : -1
    } catch (error) {
      this.close()
      throw error
    }
    this.gone = this.#watchIndex()
    this.served = this.gone === undefined ? lowerOf(spec, this.#trusted) : undefined
  }

  /** Undefined where there is none, or inotify has no more watches for this user: then a server shows it, whose end is told. */
  #watchIndex(): Promise<void> | undefined {
    if (this.#index < 0) return undefined
    try {
      return filesystemGone(this.#index)
    } catch {
      close(this.#index)
      this.#index = -1
      return undefined
    }
  }

  #takeUpper(spec: Upper): void {
    const { upper, work } = spec
    if (!this.#trusted && existsSync(join(work, REDIRECTS)))
      throw new MountError(
        'UPPER_UNSUPPORTED',
        `mount upper ${upper}: the driver fuse has written it, and may have left what overlayfs does not follow here`,
        upper,
      )
    try {
      this.#lock = lockWork(bytesOf(work))
      this.#inWork(fd => clearVolatile(fd, work))
    } catch (error) {
      this.close()
      throw workFailure(error, spec)
    }
  }

  /** The upper is free afterwards. */
  close(): void {
    if (this.#index >= 0) close(this.#index)
    this.#index = -1
    if (this.#lock >= 0) close(this.#lock)
    this.#lock = -1
  }

  /**
   * Makes the mount on the lower that `tree` (an fd, closed by this) is the mount of; its server must be free to answer. Without a
   * server it is not given. Resolves with the fd of a mount that is in no tree yet. Throws MountError.
   */
  async mount(tree = this.#index): Promise<number> {
    this.#index = -1
    const spec = this.#spec
    const context = fsopen('overlay')
    try {
      if (context < 0) throw refused('fsopen', context, [])
      for (const [key, value] of this.#settings(tree)) {
        const command = value === undefined ? FSCONFIG.SET_FLAG : FSCONFIG.SET_STRING
        const r = await fsconfigInThread(context, command, key, value ?? null)
        if (r < 0) throw refused(key, r, fsErrors(context))
      }
      const made = await fsconfigInThread(context, FSCONFIG.CMD_CREATE, null, null)
      if (made < 0) throw refused('create', made, fsErrors(context))
      const attributes = (spec.nosuid === true ? MOUNT_ATTR.NOSUID : 0) | (spec.nodev === true ? MOUNT_ATTR.NODEV : 0)
      const fd = fsmount(context, attributes)
      if (fd < 0) throw refused('fsmount', fd, fsErrors(context))
      if (spec.volatile === true && this.#lock >= 0) this.#inWork(work => markVolatile(work, spec.work ?? ''))
      return fd
    } finally {
      if (context >= 0) close(context)
      close(tree)
    }
  }

  /** In the order in which the kernel takes them; a flag has no value. */
  #settings(tree: number): readonly (readonly [key: string, value?: string])[] {
    const { source, upper = '', work = '', lowers, volatile } = this.#spec
    const objects = new Set(lowers.flatMap(lower => (lower.kind === 'index' ? [lower.objects] : [])))
    const settings: [key: string, value?: string][] = [['source', bytesOf(source ?? 'lamina')]]
    if (this.#trusted) settings.push(['metacopy', 'on'], ['redirect_dir', 'on'])
    else settings.push(['userxattr'])
    settings.push(['lowerdir+', `/proc/self/fd/${tree}`])
    for (const path of objects) settings.push(['datadir+', bytesOf(path)])
    if (isWritable(this.#spec)) {
      settings.push(['upperdir', bytesOf(upper)], ['workdir', bytesOf(work)])
      if (volatile === true) settings.push(['volatile'])
    } else settings.push(['ro'])
    return settings
  }

  #inWork(then: (fd: number) => void): void {
    const fd = openat(this.#lock, 'work', O.PATH | O.DIRECTORY | O.NOFOLLOW)
    if (fd === -E.ENOENT) return
    if (fd < 0) throw new FsError(fd, 'open', `${this.#spec.work}/work`)
    try {
      then(fd)
    } finally {
      close(fd)
    }
  }
}

/** The kernel refuses an upper whose volatile mount has ended, for it cannot tell that the machine has not gone down since. */
function clearVolatile(fd: number, work: string): void {
  refuseLostVolatile(fd, work)
  const r = removeTree(fd, VOLATILE_MARK)
  if (r < 0 && r !== -E.ENOENT) throw new FsError(r, 'remove', `${work}/work/${VOLATILE_MARK}`)
}

function refused(what: string, r: number, reasons: readonly string[]): MountError {
  const why = reasons[0] ?? errnoName(r)
  const old = r === -E.EINVAL && (what === 'lowerdir+' || what === 'datadir+') ? ' (Linux 6.16 or newer is needed)' : ''
  return new MountError('UNSUPPORTED', `mount: the kernel's overlayfs refuses ${what}: ${why}${old}`)
}
