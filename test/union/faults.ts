/**
 * Owns failing at the k-th change: every mutating call of lib/union goes through `mutate`, and here each of them counts.
 * `error`: the k-th call does nothing and says so. `stop`: neither does any later one, so that the disk stays as a process
 * that ended there would leave it.
 */
import { E } from '../../lib/errno.js'
import { mutate } from '../../lib/union/mutate.js'

export interface Fault {
  /** Counted from 1. */
  readonly at: number
  readonly kind: 'error' | 'stop'
}

type Call = (...args: never[]) => number

/** Arms a fault (or only counts) until `disarm`. */
export function arm(fault?: Fault): { readonly calls: () => number; readonly disarm: () => void } {
  const table = mutate as unknown as Record<string, Call>
  const originals = { ...table }
  let count = 0
  for (const [name, original] of Object.entries(originals)) {
    table[name] = (...args) => {
      count++
      if (fault !== undefined && (fault.kind === 'stop' ? count >= fault.at : count === fault.at)) {
        return fault.kind === 'stop' ? -E.EIO : -E.ENOSPC
      }
      return original(...args)
    }
  }
  return { calls: () => count, disarm: () => void Object.assign(table, originals) }
}
