/**
 * Owns the steps of a birth that make the tree a container sees: its root entered and pivoted to, its mounts, what is masked
 * or read-only. The order in which they are taken is `launch`'s.
 * Invariant: paths of the image are opened inside the root, and no magic link is followed (CVE-2021-30465).
 */
import { bytesOf } from '../bytes.js'
import { E } from '../errno.js'
import type { Birth, Label } from '../sys/birth.js'
import { AT, MNT, MOUNT_ATTR, MOVE_MOUNT, MS, O, OPEN_TREE, RESOLVE } from '../sys/constants.js'
import { alloc } from '../sys/libc.js'
import { CALL } from '../sys/process.js'
import type { Hierarchy } from './cgroup/hierarchy.js'
import type { PreparedMount } from './prepare.js'

const MNT_ATTR_SIZE = 32

export class TreeSteps {
  readonly birth: Birth

  constructor(birth: Birth) {
    this.birth = birth
  }

  /** Opens `path` inside the root, following the image's symlinks but no magic link; its fd goes to an argument of step `next`. */
  #open(
    path: string,
    flags: number,
    mode = 0,
    rules: Parameters<Birth['step']>[3] = {},
    tree: number = AT.FDCWD,
  ): number {
    const how = alloc(24)
    how.writeBigUInt64LE(BigInt(flags | O.CLOEXEC), 0)
    how.writeBigUInt64LE(BigInt(mode), 8)
    how.writeBigUInt64LE(BigInt(RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS), 16)
    return this.birth.step(`open ${path}`, CALL.openat2, [tree, bytesOf(path), how, 24], rules)
  }

  /** mkdir -p inside the root. What cannot be made shows when it is used. */
  makeDirectories(path: string, mode = 0o755): void {
    const parts = path.split('/').filter(p => p !== '')
    parts.forEach((name, i) => {
      const parent = this.#open(`/${parts.slice(0, i).join('/')}`, O.PATH | O.DIRECTORY, 0, { ignore: 'any' })
      const made = this.birth.step(`mkdir ${path}`, CALL.mkdirat, [-1, bytesOf(name), mode], { ignore: 'any' })
      this.birth.pass(parent, made, 0)
    })
  }

  #makeFile(path: string): void {
    const parent = path.slice(0, path.lastIndexOf('/'))
    this.makeDirectories(parent)
    const opened: Label = { at: 0 }
    // A symlink that leads nowhere (Debian's /etc/resolv.conf into /run) is replaced.
    this.#open(path, O.RDONLY | O.CREAT | O.NOCTTY | O.NONBLOCK, 0o644, {
      branch: [
        [E.EROFS, opened],
        [E.ENXIO, opened],
      ],
      ignore: 'any',
    })
    this.birth.mark(opened)
  }

  /**
   * Makes mounts of filesystems that belong to the child's namespaces, detached, while the host's /proc is still there:
   * in a user namespace the kernel gives a new procfs or sysfs only to who sees a whole one already.
   * `spare` is an fd number of this process that the child may use for its own.
   */
  makeDetached(mounts: readonly PreparedMount[], spare: number): void {
    for (const { how, options, destination } of mounts) {
      if (how.do !== 'make' || how.type === 'cgroup' || options.data.length > 0) continue
      const opened = this.birth.step(`fsopen ${how.type}`, CALL.fsopen, [how.type, 1])
      const placed = this.birth.step(`fsopen ${how.type}`, CALL.dup3, [-1, spare, O.CLOEXEC])
      this.birth.pass(opened, placed, 0)
      this.birth.step(`source of ${destination}`, CALL.fsconfig, [spare, 1, 'source', bytesOf(how.source), 0])
      this.birth.step(`mount ${destination}`, CALL.fsconfig, [spare, 6, null, null, 0])
      this.#made.set(destination, this.birth.step(`mount ${destination}`, CALL.fsmount, [spare, 1, options.set]))
    }
  }
  readonly #made = new Map<string, number>()

  private(propagation: string | undefined): void {
    const kind = propagation === 'rslave' || propagation === 'slave' ? MS.SLAVE : MS.PRIVATE
    this.birth.step('make mounts private', CALL.mount, [null, '/', null, MS.REC | kind, null])
  }

  /** The new root is mounted over `/`, entered, and pivoted to; the old one is then below it, and detached. */
  pivot(root: number): void {
    const both = MOVE_MOUNT.F_EMPTY_PATH
    this.birth.step('attach root', CALL.move_mount, [root, '', AT.FDCWD, '/', both])
    this.birth.step('enter root', CALL.fchdir, [root])
    this.birth.step('pivot_root', CALL.pivot_root, ['.', '.'])
    this.birth.step('detach old root', CALL.umount2, ['.', MNT.DETACH])
    this.birth.step('chdir /', CALL.chdir, ['/'])
  }

  /** Puts the detached mount `fd` over the directory `path` of this side. */
  attach(fd: number, path: string): void {
    const to = [AT.FDCWD, bytesOf(path), MOVE_MOUNT.F_EMPTY_PATH] as const
    this.birth.step(`mount ${path}`, CALL.move_mount, [fd, '', ...to])
  }

  mount(m: PreparedMount, hierarchies: readonly Hierarchy[]): void {
    const { destination: at, how, options } = m
    if (m.file) this.#makeFile(at)
    else this.makeDirectories(at)
    const flags = MOVE_MOUNT.F_EMPTY_PATH | MOVE_MOUNT.T_EMPTY_PATH
    if (how.do === 'part') {
      this.#part(at, how.fd, how.path, flags)
      return
    }
    const target = this.#open(at, O.PATH)
    const made = this.#made.get(at)
    if (how.do === 'attach' || made !== undefined) {
      const from = how.do === 'attach' ? how.fd : -1
      const move = this.birth.step(`mount ${at}`, CALL.move_mount, [from, '', -1, '', flags])
      if (made !== undefined) this.birth.pass(made, move, 0)
      this.birth.pass(target, move, 2)
    } else {
      // mount(2) takes no fd: step into the directory that was opened without magic links.
      const enter = this.birth.step(`enter ${at}`, CALL.fchdir, [-1])
      this.birth.pass(target, enter, 0)
      if (how.type === 'cgroup') this.#cgroup(options.flags, hierarchies)
      else {
        const data = options.data.length > 0 ? bytesOf(options.data.join(',')) : null
        this.birth.step(`mount ${at}`, CALL.mount, [bytesOf(how.source), '.', how.type, options.flags, data])
      }
      this.birth.step('chdir /', CALL.chdir, ['/'])
    }
  }

  /**
   * A mount has to be in this namespace before a part of it can be cloned (open_tree(2): before Linux 6.15 no detached one
   * can be): it is put aside under /dev for a moment.
   */
  #part(at: string, tree: number, path: string, flags: number): void {
    const aside = '/dev/.lamina'
    this.birth.step(`mkdir ${aside}`, CALL.mkdirat, [AT.FDCWD, aside, 0o700], { ignore: [E.EEXIST] })
    this.birth.step('put aside', CALL.move_mount, [tree, '', AT.FDCWD, aside, MOVE_MOUNT.F_EMPTY_PATH])
    const found = this.#open(path, O.PATH, 0, {}, tree)
    const clone = this.birth.step(`clone ${path}`, CALL.open_tree, [
      -1,
      '',
      OPEN_TREE.CLONE | OPEN_TREE.CLOEXEC | AT.EMPTY_PATH,
    ])
    this.birth.pass(found, clone, 0)
    const target = this.#open(at, O.PATH)
    const move = this.birth.step(`mount ${at}`, CALL.move_mount, [-1, '', -1, '', flags])
    this.birth.pass(clone, move, 0)
    this.birth.pass(target, move, 2)
    this.birth.step('take away', CALL.umount2, [aside, MNT.DETACH])
    this.birth.step(`rmdir ${aside}`, CALL.unlinkat, [AT.FDCWD, aside, AT.REMOVEDIR])
  }

  /** v2: the one hierarchy here; v1: a tmpfs with one mount for each, then read-only. */
  #cgroup(flags: number, hierarchies: readonly Hierarchy[]): void {
    const v2 = hierarchies.find(h => h.version === 2)
    if (v2 !== undefined && hierarchies.length === 1) {
      this.birth.step('mount cgroup2', CALL.mount, ['cgroup', '.', 'cgroup2', flags, null])
      return
    }
    if (hierarchies.length === 0) return
    const inner = flags & ~MS.RDONLY
    this.birth.step('mount cgroup tmpfs', CALL.mount, ['tmpfs', '.', 'tmpfs', inner, 'mode=755,size=1m'])
    // The tmpfs covers `.`: come back through the name.
    this.birth.step('chdir /sys/fs/cgroup', CALL.chdir, ['/sys/fs/cgroup'])
    for (const h of hierarchies) {
      this.birth.step(`mkdir ${h.name}`, CALL.mkdirat, [AT.FDCWD, h.name, 0o755], { ignore: 'any' })
      const type = h.version === 2 ? 'cgroup2' : 'cgroup'
      this.birth.step(`mount cgroup ${h.name}`, CALL.mount, [type, h.name, type, flags, h.data === '' ? null : h.data])
    }
    this.birth.step('cgroup tmpfs read-only', CALL.mount, [null, '.', null, MS.REMOUNT | MS.BIND | flags, null])
  }

  console(number: number): void {
    this.#makeFile('/dev/console')
    this.birth.step('mount /dev/console', CALL.mount, [`/dev/pts/${number}`, '/dev/console', null, MS.BIND, null])
  }

  sysctl(values: Readonly<Record<string, string>>): void {
    for (const [key, value] of Object.entries(values)) {
      const path = `/proc/sys/${key.includes('/') ? key : key.replaceAll('.', '/')}`
      const opened = this.#open(path, O.WRONLY)
      const written = this.birth.step(`sysctl ${key}=${value}`, CALL.write, [
        -1,
        bytesOf(value),
        Buffer.byteLength(value),
      ])
      this.birth.pass(opened, written, 0)
    }
  }

  #attributes(what: string, path: string, set: number, flags: number, rules = {}): void {
    const attr = alloc(MNT_ATTR_SIZE)
    attr.writeBigUInt64LE(BigInt(set), 0)
    this.birth.step(what, CALL.mount_setattr, [AT.FDCWD, bytesOf(path), flags, attr, MNT_ATTR_SIZE], rules)
  }

  /** Bound over itself and made read-only; a path that is not there needs nothing. */
  readOnlyPath(path: string): void {
    const past: Label = { at: 0 }
    const none = [[E.ENOENT, past]] as const
    this.birth.step(`bind ${path}`, CALL.mount, [bytesOf(path), bytesOf(path), null, MS.BIND | MS.REC, null], {
      branch: none,
    })
    this.#attributes(`read-only ${path}`, path, MOUNT_ATTR.RDONLY, AT.RECURSIVE)
    this.birth.mark(past)
  }

  /** Files are covered with /dev/null, directories with an empty read-only tmpfs. */
  mask(path: string): void {
    const directory: Label = { at: 0 }
    const past: Label = { at: 0 }
    this.birth.step(`mask ${path}`, CALL.mount, ['/dev/null', bytesOf(path), null, MS.BIND, null], {
      branch: [
        [E.ENOTDIR, directory],
        [E.ENOENT, past],
      ],
    })
    this.#attributes(`mask ${path}`, path, MOUNT_ATTR.RDONLY, 0)
    const over: Label = { at: 0 }
    // An errno that never comes makes a jump: chdir to '' is ENOENT.
    this.birth.step('jump', CALL.chdir, [''], { branch: [[E.ENOENT, over]] })
    this.birth.mark(directory)
    this.birth.step(`mask ${path}`, CALL.mount, ['tmpfs', bytesOf(path), 'tmpfs', MS.RDONLY, 'size=0k,nr_inodes=2'])
    this.birth.mark(over)
    this.birth.mark(past)
  }

  readOnlyRoot(): void {
    this.#attributes('read-only root', '/', MOUNT_ATTR.RDONLY, 0)
  }
}
