/**
 * Owns how much containers and volumes hold: bytes of files as `ls` shows them, which is what Docker counts.
 * Invariant: mounts in a tree, and what an image below it has, count nothing; a file of several names counts once.
 */
import { join } from 'node:path'
import { bytesOf } from '../bytes.js'
import type { DiffID } from '../digest.js'
import { DT, O, S } from '../sys/constants.js'
import { listdir } from '../sys/dir.js'
import { close, open, openat } from '../sys/file.js'
import { fstat, Stat, statat } from '../sys/stat.js'
import type { Container } from './containers.js'

export interface ContainerSize {
  /** What it has written. */
  readonly written: number
  /** That and its image. A directory that it stands on is not counted: it may be the whole machine. */
  readonly all: number
}

export async function containerSize(root: string, { config, directory }: Container): Promise<ContainerSize> {
  const written = sizeBelow(join(directory, 'upper'))
  if (config.root.kind === 'directory') return { written, all: written }
  const [{ Store }, { layerRecord }] = await Promise.all([
    import('../image/store.js'),
    import('../image/layer-record.js'),
  ])
  const store = Store.at(root)
  const layers = config.root.layers.map(id => layerRecord(store, id as DiffID)?.bytes ?? 0)
  return { written, all: layers.reduce((sum, bytes) => sum + bytes, written) }
}

/** Bytes of all files below the directory `path`. What goes away meanwhile, or may not be read, counts nothing. */
export function sizeBelow(path: string): number {
  const top = open(bytesOf(path), O.RDONLY | O.DIRECTORY | O.NOFOLLOW)
  if (top < 0) return 0
  const st = new Stat()
  const device = fstat(top, st) < 0 ? -1 : st.dev
  const seen = new Set<number>()
  const count = (fd: number): number => {
    let bytes = 0
    const names: string[] = []
    const directories: string[] = []
    listdir(fd, (name, type) => (type === DT.DIR ? directories : names).push(name))
    for (const name of names) {
      if (statat(fd, name, st) < 0 || st.dev !== device) continue
      if ((st.mode & S.IFMT) === S.IFDIR) {
        directories.push(name)
        continue
      }
      if (st.nlink > 1) {
        if (seen.has(st.ino)) continue
        seen.add(st.ino)
      }
      bytes += st.size
    }
    for (const name of directories) {
      const below = openat(fd, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW)
      if (below < 0) continue
      if (fstat(below, st) === 0 && st.dev === device) bytes += count(below)
      close(below)
    }
    return bytes
  }
  try {
    return count(top)
  } finally {
    close(top)
  }
}
