/**
 * Owns the open files: a handle is a small number > 0, a `Handle` says what it stands for.
 * Invariant: a handle's fd is open as long as the handle is.
 */
import { close } from '../sys/file.js'
import type { OpenMode } from './filesystem.js'
import type { Node } from './node.js'

export class Handle {
  node: Node
  fd: number
  /** open(2) flags it was opened with, the creation ones removed. */
  flags: number
  /** The fd is the lower's file. */
  lower: boolean
  mode: OpenMode
  /** The lower file's (lower-files.ts), 0 for an upper one. */
  key: number

  constructor(node: Node, fd: number, flags: number, lower: boolean, mode: OpenMode, key: number) {
    this.node = node
    this.fd = fd
    this.flags = flags
    this.lower = lower
    this.mode = mode
    this.key = key
  }
}

export class Handles {
  readonly #handles: (Handle | undefined)[] = [undefined]
  readonly #free: number[] = []

  add(handle: Handle): number {
    const id = this.#free.pop() ?? this.#handles.length
    this.#handles[id] = handle
    return id
  }

  get(id: number): Handle | undefined {
    return this.#handles[id]
  }

  remove(id: number): Handle | undefined {
    const handle = this.#handles[id]
    if (handle === undefined) return undefined
    this.#handles[id] = undefined
    this.#free.push(id)
    return handle
  }

  closeAll(): void {
    for (const handle of this.#handles) if (handle !== undefined) close(handle.fd)
    this.#handles.length = 1
    this.#free.length = 0
  }
}
