/**
 * Owns a layer held in memory, for tests: a tree of plain objects behind the `Layer` interface. The same `Item` object
 * under two names is a hard link. It counts look-ups and open nodes, so tests can say what a comparison cost and that
 * every node was given back.
 */
import { openSync, unlinkSync, writeSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { E } from '../../lib/errno.js'
import { DT_WHT, type Layer, type LayerNode } from '../../lib/layer/layer.js'
import { S } from '../../lib/sys/constants.js'
import type { Stat } from '../../lib/sys/stat.js'

export interface Item {
  mode: number
  uid?: number
  gid?: number
  mtime?: number
  mtimeNs?: number
  rdev?: number
  data?: string
  target?: string
  xattrs?: Record<string, string>
  /** overlay.* by bare name: redirect, metacopy. */
  overlay?: Record<string, string>
  opaque?: boolean
  children?: Map<string, Item>
  whiteout?: boolean
  /** With metacopy: the size the file has though its data lies below. */
  size?: number
}

export const dir = (children: Record<string, Item> = {}, more: Partial<Item> = {}): Item => ({
  mode: S.IFDIR | 0o755,
  children: new Map(Object.entries(children)),
  ...more,
})
export const file = (data: string, more: Partial<Item> = {}): Item => ({ mode: S.IFREG | 0o644, data, ...more })
export const link = (target: string, more: Partial<Item> = {}): Item => ({ mode: S.IFLNK | 0o777, target, ...more })
export const gone = (): Item => ({ mode: S.IFCHR, rdev: 0, whiteout: true })

let fsids = 1000
let temporary = 0

export class MemoryLayer implements Layer {
  readonly fsid = ++fsids
  readonly root: LayerNode = 0
  readonly #items: Item[]
  readonly #numbers = new Map<Item, number>()
  readonly #links = new Map<Item, number>()
  readonly #digests: boolean
  lookups = 0
  lists = 0
  opens = 0
  held = 0

  /** `digests` false: the layer does not know its files' digests, as a directory does not. */
  constructor(root: Item, digests = false) {
    this.#items = [root]
    this.#numbers.set(root, 0)
    this.#digests = digests
    this.#count(root)
  }

  #count(item: Item): void {
    for (const child of item.children?.values() ?? []) {
      this.#links.set(child, (this.#links.get(child) ?? 0) + 1)
      if (this.#links.get(child) === 1) this.#count(child)
    }
  }

  #item(node: LayerNode): Item {
    return this.#items[node] as Item
  }

  #number(item: Item): number {
    let n = this.#numbers.get(item)
    if (n === undefined) this.#numbers.set(item, (n = this.#items.push(item) - 1))
    return n
  }

  #fill(item: Item, st: Stat): void {
    st.mode = item.mode
    st.uid = item.uid ?? 0
    st.gid = item.gid ?? 0
    st.size = item.size ?? item.data?.length ?? item.target?.length ?? 0
    st.mtime = item.mtime ?? 1
    st.mtimeNs = item.mtimeNs ?? 0
    st.rdev = item.rdev ?? 0
    st.ino = this.#number(item) + 1
    st.nlink = item.children ? 2 : (this.#links.get(item) ?? 1)
  }

  lookup(node: LayerNode, name: string, st: Stat): LayerNode {
    this.lookups++
    const children = this.#item(node).children
    if (children === undefined) return -E.ENOTDIR
    const item = children.get(name)
    if (item === undefined) return -E.ENOENT
    this.#fill(item, st)
    this.held++
    return this.#number(item)
  }

  release(): void {
    this.held--
  }

  stat(node: LayerNode, st: Stat): number {
    this.#fill(this.#item(node), st)
    return 0
  }

  list(node: LayerNode, each: (name: string, type: number, ino: number) => void): number {
    this.lists++
    const children = this.#item(node).children
    if (children === undefined) return -E.ENOTDIR
    for (const [name, item] of children) {
      each(name, item.whiteout ? DT_WHT : (item.mode & S.IFMT) >> 12, this.#number(item) + 1)
    }
    return 0
  }

  isOpaque(node: LayerNode): boolean {
    return this.#item(node).opaque ?? false
  }

  readlink(node: LayerNode): string | number {
    return this.#item(node).target ?? -E.EINVAL
  }

  getxattr(node: LayerNode, name: string): Buffer | number {
    const value = this.#item(node).xattrs?.[name]
    return value === undefined ? -E.ENODATA : Buffer.from(value, 'latin1')
  }

  listxattr(node: LayerNode): string[] | number {
    return Object.keys(this.#item(node).xattrs ?? {})
  }

  overlayXattr(node: LayerNode, name: string): Buffer | undefined {
    const value = this.#item(node).overlay?.[name]
    return value === undefined ? undefined : Buffer.from(value, 'latin1')
  }

  open(node: LayerNode): number {
    this.opens++
    const path = join(tmpdir(), `lamina-memory-layer-${process.pid}-${++temporary}`)
    const fd = openSync(path, 'wx+', 0o600)
    unlinkSync(path)
    writeSync(fd, Buffer.from(this.#item(node).data ?? '', 'latin1'))
    return fd
  }

  digest(node: LayerNode): string | undefined {
    if (!this.#digests) return undefined
    return createHash('sha256')
      .update(Buffer.from(this.#item(node).data ?? '', 'latin1'))
      .digest('hex')
  }

  close(): void {}
}
