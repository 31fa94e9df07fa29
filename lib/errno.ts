/**
 * Owns the error vocabulary: errno numbers, and `FsError`, the one exception that filesystem code throws on purpose.
 * Invariant: calls on a hot path return `-errno` (a negative number) and never throw; `FsError` is for set-up and
 * administration, where an Error object's 10 µs do not matter.
 */
import { constants } from 'node:os'

/** errno by name, Linux numbers (the generic table that x86-64 and arm64 share; errno(3)). */
export const E = {
  ...constants.errno,
  ENOTBLK: 15,
  EUCLEAN: 117,
  EREMOTEIO: 121,
  ESHUTDOWN: 108,
} as const satisfies Record<string, number>

const names = new Map<number, string>()
for (const [name, number] of Object.entries(E)) if (!names.has(number)) names.set(number, name)

/** The symbolic name of an errno (positive or negative): `errnoName(-2) === 'ENOENT'`; unknown ones are `E<number>`. */
export function errnoName(errno: number): string {
  const n = Math.abs(errno)
  return names.get(n) ?? `E${n}`
}

/** A failed filesystem call, in the shape of Node's ErrnoException. `code` is the errno's name, `errno` negative. */
export class FsError extends Error {
  override readonly name = 'FsError'
  readonly errno: number
  readonly code: string
  readonly syscall: string
  readonly path: string | undefined

  constructor(errno: number, syscall: string, path?: string) {
    const code = errnoName(errno)
    super(path === undefined ? `${syscall}: ${code}` : `${syscall} ${path}: ${code}`)
    this.errno = -Math.abs(errno)
    this.code = code
    this.syscall = syscall
    this.path = path
  }
}

/** Returns `result` unless it is a negative errno, which becomes a thrown `FsError`. */
export function check(result: number, syscall: string, path?: string): number {
  if (result < 0) throw new FsError(result, syscall, path)
  return result
}
