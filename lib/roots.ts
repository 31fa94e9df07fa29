/**
 * Owns where Lamina keeps things: the store root (images, containers; survives a reboot) and the run root (registry of
 * live mounts, sockets; gone after a reboot). Both are absolute paths.
 * Invariant: every part asks here, so `--root`, `LAMINA_ROOT` and `LAMINA_RUN` mean the same everywhere.
 */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

type Environment = Readonly<Record<string, string | undefined>>

/** `$LAMINA_ROOT`, else /var/lib/lamina as root, else $XDG_DATA_HOME/lamina (XDG Base Directory Specification). */
export function storeRoot(env: Environment = process.env): string {
  if (env['LAMINA_ROOT']) return resolve(env['LAMINA_ROOT'])
  if (process.geteuid?.() === 0) return '/var/lib/lamina'
  return join(env['XDG_DATA_HOME'] || join(homedir(), '.local/share'), 'lamina')
}

/** `$LAMINA_RUN`, else /run/lamina as root, else $XDG_RUNTIME_DIR/lamina, else a directory of the user's under /tmp. */
export function runRoot(env: Environment = process.env): string {
  if (env['LAMINA_RUN']) return resolve(env['LAMINA_RUN'])
  const uid = process.geteuid?.() ?? 0
  if (uid === 0) return '/run/lamina'
  return join(env['XDG_RUNTIME_DIR'] || `/tmp/lamina-${uid}`, 'lamina')
}
