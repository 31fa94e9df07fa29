/**
 * Owns how a failure looks: one line `lamina: verb path: cause` on stderr, whatever was thrown, terminal-safe.
 * Invariant: expected errors (those with a `code`) never show a stack unless --debug; unknown ones say how to get it.
 */
import { getSystemErrorMap } from 'node:util'
import { printable } from './printable.js'

/** The line (without newline) for a thrown value. `verb` names the command when the error has only a system call to show. */
export function failureLine(error: unknown, verb: string): string {
  return `lamina: ${printable(describe(error, verb))}`
}

/** The stable code of an error, if it has one. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}

function describe(error: unknown, verb: string): string {
  if (!(error instanceof Error)) return `${verb}: ${String(error)}`
  const { errno, syscall, path } = error as NodeJS.ErrnoException
  if (typeof errno === 'number' && syscall !== undefined) {
    const [name, text] = getSystemErrorMap().get(-Math.abs(errno)) ?? [codeOf(error) ?? `errno ${errno}`, undefined]
    return `${verb}${path === undefined ? '' : ` ${path}`}: ${text ?? name} (${syscall})`
  }
  if (codeOf(error) === 'USAGE' && verb !== 'lamina') return `${verb}: ${error.message}`
  if (codeOf(error) !== undefined) return error.message
  return `${verb}: ${error.message || error.name} (a bug, or something unforeseen: --debug shows where)`
}
