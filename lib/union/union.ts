/**
 * Owns the union as a `Filesystem`: lowers below, one upper above, one merged tree. This file is the outline; each theme has
 * a file of its own.
 *
 *   names     lookup.ts (the merge), listing.ts, listed.ts, readdir.ts and ahead.ts, create.ts, remove.ts, rename.ts, whiteouts.ts, redirect.ts
 *   inodes    node.ts, tree.ts (their life), attributes.ts, xattrs.ts, as-lower.ts, inode-numbers.ts, origin.ts, hard-links.ts
 *   data      open.ts, io.ts, copy-up.ts, swap.ts (the passthrough trap)
 *   on disk   upper.ts (reaching it), work.ts (what is under way), marks.ts (overlayfs's attributes), mutate.ts (every change)
 *
 * Invariants: a lower is never changed; a change is one rename or one system call, so a crash leaves before or after; what
 * the kernel is told (names, numbers, offsets) stays true until it is told otherwise.
 */
import { E } from '../errno.js'
import { giveBack } from '../sys/memory.js'
import type { Stat, StatFs } from '../sys/stat.js'
import { S } from '../sys/constants.js'
import { Ahead } from './ahead.js'
import { getxattrAsLower, listxattrAsLower } from './as-lower.js'
import { enter, FOREVER, getattr, setattr } from './attributes.js'
import { link, make } from './create.js'
import type { Caller, DirSink, Entry, Filesystem, Host, Io, NodeId, OpenResult, SetAttr } from './filesystem.js'
import { copyFileRange, fallocate, fsync, fsyncdir, lseek, read, source, write } from './io.js'
import { ioctl, statfs } from './ioctls.js'
import { lookup } from './lookup.js'
import { type Node, Presence } from './node.js'
import { create, open, release, tmpfile } from './open.js'
import { finishAll } from './partial.js'
import { readdir } from './readdir.js'
import { rmdir, unlink } from './remove.js'
import { rename } from './rename.js'
import type { Tree } from './tree.js'
import { readlinkUpper } from './upper.js'
import { getxattr, listxattr, removexattr, setxattr } from './xattrs.js'

export class Union implements Filesystem {
  readonly #tree: Tree
  readonly #ahead: Ahead

  constructor(tree: Tree) {
    this.#tree = tree
    this.#ahead = new Ahead(tree)
  }

  /** In whose name something new is made in the upper. */
  #maker(caller: Caller): Caller {
    const { ids } = this.#tree
    return ids === null ? caller : ids.caller(caller)
  }

  /**
   * Whether the kernel knows the file that `id` means by another id (swap.ts). Its attributes under that one are dropped, and
   * under this one they are not to be kept.
   */
  #swapped(id: NodeId, node: Node): boolean {
    const living = node.extra?.successor ?? node
    if (living.id === id) return false
    this.#tree.host.invalidateAttributes(living.id)
    return true
  }

  init(host: Host): void {
    this.#tree.host = host
    this.#tree.namesCanBeDropped = host.passthrough && host.invalidateNames()
  }

  destroy(): void {
    finishAll(this.#tree)
    this.#tree.destroy()
  }

  lookup(_caller: Caller, parent: NodeId, name: string, out: Entry): number {
    const dir = this.#tree.get(parent)
    if (dir === undefined) return -E.ESTALE
    const node = lookup(this.#tree, dir, name, out.attr)
    if (typeof node !== 'number') return enter(this.#tree, node, out)
    if (node !== -E.ENOENT) return node
    // "There is none" is an answer worth keeping.
    out.nodeid = 0
    out.generation = 0
    out.entryTimeout = FOREVER
    out.attrTimeout = 0
    return 0
  }

  forget(node: NodeId, count: number): void {
    this.#tree.forget(node, count)
  }

  getattr(_caller: Caller, id: NodeId, _handle: number, out: Stat): number {
    const node = this.#tree.get(id)
    if (node === undefined) return -E.ESTALE
    const r = getattr(this.#tree, node, out)
    return r > 0 && node.id !== id ? 0 : r
  }

  setattr(caller: Caller, id: NodeId, request: SetAttr, out: Stat): number {
    const node = this.#tree.get(id)
    if (node === undefined) return -E.ESTALE
    const r = setattr(this.#tree, caller, node, request, out)
    return r >= 0 && this.#swapped(id, node) ? 0 : r
  }

  readlink(_caller: Caller, id: NodeId): string | number {
    const node = this.#tree.get(id)
    if (node === undefined) return -E.ESTALE
    if (node.type !== S.IFLNK) return -E.EINVAL
    if (node.upper !== Presence.None) return readlinkUpper(this.#tree, node)
    return this.#tree.layer(node.layer).readlink(node.lower)
  }

  mknod(caller: Caller, parent: NodeId, name: string, mode: number, rdev: number, out: Entry): number {
    const dir = this.#tree.get(parent)
    return dir === undefined ? -E.ESTALE : make(this.#tree, this.#maker(caller), dir, name, mode, rdev, '', out)
  }

  mkdir(caller: Caller, parent: NodeId, name: string, mode: number, out: Entry): number {
    const dir = this.#tree.get(parent)
    return dir === undefined
      ? -E.ESTALE
      : make(this.#tree, this.#maker(caller), dir, name, S.IFDIR | (mode & 0o7777), 0, '', out)
  }

  symlink(caller: Caller, parent: NodeId, name: string, target: string, out: Entry): number {
    const dir = this.#tree.get(parent)
    return dir === undefined
      ? -E.ESTALE
      : make(this.#tree, this.#maker(caller), dir, name, S.IFLNK | 0o777, 0, target, out)
  }

  link(_caller: Caller, id: NodeId, parent: NodeId, name: string, out: Entry): number {
    const node = this.#tree.get(id)
    const dir = this.#tree.get(parent)
    if (node === undefined || dir === undefined) return -E.ESTALE
    return link(this.#tree, node.extra?.successor ?? node, dir, name, out)
  }

  unlink(_caller: Caller, parent: NodeId, name: string): number {
    const dir = this.#tree.get(parent)
    return dir === undefined ? -E.ESTALE : unlink(this.#tree, dir, name)
  }

  rmdir(_caller: Caller, parent: NodeId, name: string): number {
    const dir = this.#tree.get(parent)
    return dir === undefined ? -E.ESTALE : rmdir(this.#tree, dir, name)
  }

  rename(_caller: Caller, parent: NodeId, name: string, newParent: NodeId, newName: string, flags: number): number {
    const from = this.#tree.get(parent)
    const to = this.#tree.get(newParent)
    return from === undefined || to === undefined ? -E.ESTALE : rename(this.#tree, from, name, to, newName, flags)
  }

  open(_caller: Caller, id: NodeId, flags: number, killPriv: boolean, out: OpenResult): number {
    const node = this.#tree.get(id)
    return node === undefined ? -E.ESTALE : open(this.#tree, node, flags, killPriv, out)
  }

  create(
    caller: Caller,
    parent: NodeId,
    name: string,
    mode: number,
    flags: number,
    killPriv: boolean,
    out: Entry,
    opened: OpenResult,
  ): number {
    const dir = this.#tree.get(parent)
    return dir === undefined
      ? -E.ESTALE
      : create(this.#tree, this.#maker(caller), dir, name, mode, flags, killPriv, out, opened)
  }

  tmpfile(caller: Caller, parent: NodeId, mode: number, flags: number, out: Entry, opened: OpenResult): number {
    const dir = this.#tree.get(parent)
    return dir === undefined ? -E.ESTALE : tmpfile(this.#tree, this.#maker(caller), dir, mode, flags, out, opened)
  }

  read(_node: NodeId, handle: number, size: number, position: number, into: Io, at: number): number {
    return read(this.#tree, handle, size, position, into, at)
  }

  source(_node: NodeId, handle: number): number {
    return source(this.#tree, handle)
  }

  write(
    _caller: Caller,
    _node: NodeId,
    handle: number,
    size: number,
    position: number,
    from: Io,
    at: number,
    killPriv: boolean,
  ): number {
    return write(this.#tree, handle, size, position, from, at, killPriv)
  }

  fsync(_node: NodeId, handle: number, dataOnly: boolean): number {
    return fsync(this.#tree, handle, dataOnly)
  }

  fsyncdir(id: NodeId, dataOnly: boolean): number {
    const node = this.#tree.get(id)
    return node === undefined ? -E.ESTALE : fsyncdir(this.#tree, node, dataOnly)
  }

  fallocate(_caller: Caller, _node: NodeId, handle: number, mode: number, offset: number, length: number): number {
    return fallocate(this.#tree, handle, mode, offset, length)
  }

  lseek(_node: NodeId, handle: number, offset: number, whence: number): number {
    return lseek(this.#tree, handle, offset, whence)
  }

  copyFileRange(
    _caller: Caller,
    _node: NodeId,
    handle: number,
    offset: number,
    _toNode: NodeId,
    toHandle: number,
    toOffset: number,
    length: number,
  ): number {
    return copyFileRange(this.#tree, handle, offset, toHandle, toOffset, length)
  }

  release(_node: NodeId, handle: number): void {
    release(this.#tree, handle)
  }

  readdir(_caller: Caller, id: NodeId, offset: number, sink: DirSink): number {
    const node = this.#tree.get(id)
    return node === undefined ? -E.ESTALE : readdir(this.#tree, this.#ahead, node, offset, sink)
  }

  getxattr(_caller: Caller, id: NodeId, name: string): Buffer | number {
    const node = this.#tree.get(id)
    if (node === undefined) return -E.ESTALE
    const { asLower } = this.#tree
    return asLower === '' ? getxattr(this.#tree, node, name) : getxattrAsLower(this.#tree, node, name, asLower)
  }

  setxattr(_caller: Caller, id: NodeId, name: string, value: Buffer, flags: number, killSgid: boolean): number {
    const node = this.#tree.get(id)
    if (node === undefined) return -E.ESTALE
    const r = setxattr(this.#tree, node, name, value, flags, killSgid)
    if (r >= 0) this.#swapped(id, node)
    return r
  }

  listxattr(caller: Caller, id: NodeId): string[] | number {
    const node = this.#tree.get(id)
    if (node === undefined) return -E.ESTALE
    const { asLower } = this.#tree
    return asLower === '' ? listxattr(this.#tree, caller, node) : listxattrAsLower(this.#tree, caller, node, asLower)
  }

  removexattr(_caller: Caller, id: NodeId, name: string): number {
    const node = this.#tree.get(id)
    if (node === undefined) return -E.ESTALE
    const r = removexattr(this.#tree, node, name)
    if (r >= 0) this.#swapped(id, node)
    return r
  }

  ioctl(_caller: Caller, id: NodeId, _handle: number, command: number, input: Buffer, reply: Buffer): number {
    const node = this.#tree.get(id)
    return node === undefined ? -E.ESTALE : ioctl(this.#tree, node, command, input, reply)
  }

  statfs(_node: NodeId, out: StatFs): number {
    return statfs(this.#tree, out)
  }

  ahead(): boolean {
    return this.#ahead.step()
  }

  get walking(): boolean {
    return this.#ahead.sure
  }

  get untidy(): boolean {
    return this.#tree.nodes.loose
  }

  tidy(): void {
    this.#ahead.clear()
    this.#tree.nodes.tighten()
    for (const layer of this.#tree.layers) layer.tighten?.()
    giveBack()
  }
}
