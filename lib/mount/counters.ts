/**
 * Owns the request counters of a serving process, kept in a small file that it has mapped: anybody may read them at any
 * time, also after the process was killed, and the serving loop is not disturbed.
 * Format: native float64, one per opcode, then those that `Counter` names (lib/fuse/session.ts).
 */
import { existsSync, readFileSync } from 'node:fs'
import { bytesOf } from '../bytes.js'
import { check } from '../errno.js'
import { Op } from '../fuse/protocol.js'
import { Counter, COUNTERS } from '../fuse/session.js'
import { O } from '../sys/constants.js'
import { close, ftruncate, open } from '../sys/file.js'
import { mapShared } from '../sys/memory.js'

/** Numbers by name: opcodes (`LOOKUP`, …), then `errors`, `sleeps`, `spins`, `parked`. Only those that are not 0. */
export type Stats = Readonly<Record<string, number>>

/** Makes the file and maps it. */
export function createCounters(path: string): Float64Array {
  const fd = check(open(bytesOf(path), O.RDWR | O.CREAT | O.TRUNC, 0o644), 'open', path)
  try {
    check(ftruncate(fd, COUNTERS * 8), 'truncate', path)
    return new Float64Array(mapShared(fd, COUNTERS * 8) ?? new ArrayBuffer(COUNTERS * 8))
  } finally {
    close(fd)
  }
}

/** Counters that another thread of this process can look at. */
export function sharedCounters(): Float64Array {
  return new Float64Array(new SharedArrayBuffer(COUNTERS * 8))
}

/** Reads the file of a server, alive or not. Empty where the transport counts nothing (fuse-native: it has no file). */
export function readCounters(path: string): Stats {
  if (!existsSync(path)) return {}
  const bytes = readFileSync(path)
  return statsOf(new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)))
}

export function statsOf(counters: Float64Array): Stats {
  const stats: Record<string, number> = {}
  for (const [name, index] of [...Object.entries(Op), ...Object.entries(Counter)]) {
    const value = counters[index] ?? 0
    if (value !== 0) stats[name] = value
  }
  return stats
}
