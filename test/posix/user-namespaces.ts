/** Owns running a test program in a user namespace as a subtest: what it prints is TAP. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { IdKind } from './user-namespace.js'

/** Why user namespaces with mounts and maps of choice cannot be made here, or undefined. */
export function missingForNamespaces(): string | undefined {
  if (process.geteuid?.() !== 0) return 'needs root: maps of user ids'
  const made = spawnSync('unshare', ['--user', '--mount', 'true'], { encoding: 'utf8' })
  const why = made.error === undefined ? made.stderr.trim() : 'unshare is missing'
  return made.status === 0 ? undefined : `no user namespaces: ${why}`
}

/** Runs `program`, a file beside this one, with ids of `kind`. */
export async function inUserNamespace(t: Test, kind: IdKind, program: string, ...args: string[]): Promise<void> {
  const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
  await t.spawn(
    process.execPath,
    [path('user-namespace.js'), kind, path(program), kind, ...args],
    {},
    [program, kind, ...args].join(' '),
  )
}
