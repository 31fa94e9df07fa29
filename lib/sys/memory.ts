/** Owns memory that is a file: memfd_create(2). */
import { libc, ret } from './libc.js'

const memfdCreate = libc.func('int memfd_create(const char *name, uint flags)') as (
  name: string,
  flags: number,
) => number

/** A new anonymous file in memory, close-on-exec; `name` shows in /proc only. The fd or `-errno`. */
export function memfd(name: string): number {
  return ret(memfdCreate(name, 1))
}
