/**
 * Owns the traces that mounts leave in a step's upper directory: mountpoints that the image did not have (`/proc` in an
 * image from scratch, `/etc/resolv.conf`), and the directories that were copied up only to hold them.
 * Invariant: only what was not there before, and is empty now, is taken away: a command's own files never.
 */
import { lstatSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { bytesOf } from '../bytes.js'
import { O, RESOLVE } from '../sys/constants.js'
import { readlinkat } from '../sys/dir.js'
import { close, openat2 } from '../sys/file.js'
import { fstat, Stat } from '../sys/stat.js'

interface Attributes {
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

export class Mountpoints {
  readonly #root: number
  readonly #upper: string
  /** Paths that were not there, in the order in which they would be made. */
  readonly #missing: string[] = []
  /** Directories that were there, to be told from changed ones. */
  readonly #there = new Map<string, Attributes>()

  /** `root` is an fd of the mounted tree, open until the command starts; `upper` is its upper directory. */
  constructor(root: number, upper: string) {
    this.#root = root
    this.#upper = upper
  }

  /** Looks at `path` (absolute) before anything is made. */
  note(path: string): void {
    let at = '/'
    for (const name of path.split('/').filter(Boolean)) {
      const st = this.#stat(at)
      if (st) this.#there.set(at, { mode: st.mode, uid: st.uid, gid: st.gid })
      at = this.#real(join(at, name))
      if (!this.#stat(at) && !this.#missing.includes(at)) this.#missing.push(at)
    }
  }

  /** Once the mount is gone. */
  remove(): void {
    for (const path of this.#missing.toReversed()) {
      const file = join(this.#upper, path)
      const st = lstatSync(file, { throwIfNoEntry: false })
      if (!st) continue
      if (st.isDirectory()) {
        if (readdirSync(file).length > 0) continue
        rmdirSync(file)
      } else if (st.isFile() && st.size === 0) unlinkSync(file)
      else continue
      this.#tidy(dirname(path))
    }
  }

  /** Removes directories of the upper that hold nothing and say nothing that the layers below do not say. */
  #tidy(path: string): void {
    for (let at = path; at !== '/'; at = dirname(at)) {
      const before = this.#there.get(at)
      const directory = join(this.#upper, at)
      const st = lstatSync(directory, { throwIfNoEntry: false })
      if (!before || !st?.isDirectory() || readdirSync(directory).length > 0) return
      if (st.mode !== before.mode || st.uid !== before.uid || st.gid !== before.gid) return
      rmdirSync(directory)
    }
  }

  #stat(path: string): Stat | undefined {
    const fd = openat2(this.#root, bytesOf(`.${path}`), O.PATH, 0, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS)
    if (fd < 0) return undefined
    const st = new Stat()
    const r = fstat(fd, st)
    close(fd)
    return r < 0 ? undefined : st
  }

  /** Where a link at `path` leads (`/etc/resolv.conf` → `/run/…`): the mountpoint is made there. */
  #real(path: string): string {
    let at = path
    for (let links = 0; links < 40; links++) {
      const target = readlinkat(this.#root, bytesOf(at.slice(1)))
      if (typeof target === 'number') return at
      at = target.startsWith('/') ? join('/', target) : join(dirname(at), target)
    }
    return at
  }
}
