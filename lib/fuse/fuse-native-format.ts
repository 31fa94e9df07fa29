/**
 * Owns the forms in which fuse-native 2.2 takes attributes: words of 32 bits for struct stat, an object for struct statvfs.
 * Invariant: what does not fit is cut in a way that stays true (later blocks, clamped counts), never wrapped silently, but
 * for inode numbers, which keep their low 32 bits.
 */
import type { Stat, StatFs } from '../sys/stat.js'

/** `st` as the binding's struct stat: 18 words of 32 bits, the larger numbers low word first, times in milliseconds. */
export function statArray(st: Stat): Uint32Array {
  const words = Uint32Array.of(
    st.mode,
    st.uid,
    st.gid,
    0,
    0,
    st.dev,
    st.nlink,
    st.ino,
    st.rdev,
    st.blksize,
    ...NO_WORDS,
  )
  const put = (at: number, value: number): void => {
    words[at] = value % 0x100000000
    words[at + 1] = Math.floor(value / 0x100000000)
  }
  const milliseconds = (seconds: number, ns: number): number => Math.max(0, seconds * 1000 + Math.floor(ns / 1e6))
  put(3, st.size)
  put(10, st.blocks)
  put(12, milliseconds(st.atime, st.atimeNs))
  put(14, milliseconds(st.mtime, st.mtimeNs))
  put(16, milliseconds(st.ctime, st.ctimeNs))
  return words
}

const NO_WORDS = Array.from({ length: 8 }, () => 0)

/** What readdir tells of an entry (a DT type), as a struct stat with the rest 0. */
export function direntArray(ino: number, type: number): Uint32Array {
  const words = new Uint32Array(18)
  words[0] = type << 12
  words[7] = ino
  return words
}

/** The binding's statvfs has 32-bit numbers: larger counts are given in larger blocks. */
export function statfsObject(st: StatFs): Record<string, number> {
  let unit = 1
  while (st.blocks / unit >= 0x100000000) unit *= 2
  const frsize = st.frsize === 0 ? st.bsize : st.frsize
  return {
    bsize: st.bsize * unit,
    frsize: frsize * unit,
    blocks: Math.floor(st.blocks / unit),
    bfree: Math.floor(st.bfree / unit),
    bavail: Math.floor(st.bavail / unit),
    files: Math.min(st.files, 0xffffffff),
    ffree: Math.min(st.ffree, 0xffffffff),
    favail: Math.min(st.ffree, 0xffffffff),
    namemax: st.namelen,
  }
}
