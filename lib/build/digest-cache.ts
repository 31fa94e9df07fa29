/**
 * Owns the memory of file contents between builds: path + attributes → sha256, so that an unchanged context of ten
 * thousand files costs ten thousand stats and no reads.
 * Format: one text file per context directory; a header line, then `ino size mtime ctime sha256 path` per line (the
 * times as seconds.nanoseconds, the path a JSON string).
 * Invariant: a digest is only believed when size, inode, mtime and ctime are the same as when it was computed, and the
 * file had not changed for two seconds then (a later change within the clock's grain would go unseen).
 */
import { readFileSync } from 'node:fs'
import type { Stat } from '../sys/stat.js'
import type { DigestCache } from './tree.js'
import { writeAtomically } from './atomic.js'

const HEADER = 'lamina digests 1'
/** Seconds a file must have been left alone before its attributes prove anything. */
const SETTLED = 2

interface Known {
  readonly stamp: string
  readonly digest: string
}

export class FileDigestCache implements DigestCache {
  readonly #file: string
  readonly #known = new Map<string, Known>()
  /** What this build asked for: the rest has left the context and is not written again. */
  readonly #used = new Map<string, Known>()
  #changed = false

  /** A file that is missing or damaged is an empty cache. */
  constructor(file: string) {
    this.#file = file
    let text = ''
    try {
      text = readFileSync(file, 'utf8')
    } catch {
      return
    }
    const lines = text.split('\n')
    if (lines[0] !== HEADER) return
    for (let i = 1; i < lines.length; i++) {
      const line = lines[i]!
      const quote = line.indexOf(' "')
      const digest = line.slice(quote - 64, quote)
      if (quote < 66 || !/^[0-9a-f]{64}$/.test(digest)) continue
      try {
        this.#known.set(JSON.parse(line.slice(quote + 1)) as string, { stamp: line.slice(0, quote - 65), digest })
      } catch {
        continue
      }
    }
  }

  get(path: string, st: Stat): string | undefined {
    const known = this.#known.get(path)
    if (!known || known.stamp !== stampOf(st)) return undefined
    this.#used.set(path, known)
    return known.digest
  }

  set(path: string, st: Stat, digest: string): void {
    const now = Date.now() / 1000
    if (now - Math.max(st.mtime, st.ctime) < SETTLED) return
    const known = { stamp: stampOf(st), digest }
    this.#known.set(path, known)
    this.#used.set(path, known)
    this.#changed = true
  }

  /** Writes what is new. Losing it costs time only: a failure is ignored. */
  save(): void {
    if (!this.#changed && this.#used.size === this.#known.size) return
    let text = `${HEADER}\n`
    for (const [path, { stamp, digest }] of this.#used) text += `${stamp} ${digest} ${JSON.stringify(path)}\n`
    try {
      writeAtomically(this.#file, text)
    } catch {
      return
    }
    this.#changed = false
  }
}

function stampOf(st: Stat): string {
  return `${st.ino} ${st.size} ${st.mtime}.${st.mtimeNs} ${st.ctime}.${st.ctimeNs}`
}
