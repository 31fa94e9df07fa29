/** The promise of `lamina run --rootfs /`: whatever a process does there, this machine's own tree stays as it was. */
import type { Test } from 'tap'
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { resolve } from 'node:path'
import { fingerprint } from '../../lib/cli/fingerprint.js'

export function whyNot(): string | false {
  if (process.geteuid?.() !== 0) return 'not root'
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
    return false
  } catch {
    return 'no /dev/fuse'
  }
}

/** Where the script writes. Not all of /: other work on this machine goes on meanwhile. */
const TOUCHED = ['/etc', '/usr/share/doc', '/usr/share/man', '/usr/share/man2', '/usr/games', '/var/lib/dpkg/status']

function lamina(...argv: string[]) {
  const options = { encoding: 'utf8', maxBuffer: 1 << 28, timeout: 900_000 } as const
  return spawnSync(process.execPath, [resolve('dist/bin/lamina.js'), ...argv], options)
}

/** Runs `script` on a layer over /, hands the layer's diff to `see`, and compares the host before and after. */
export function untouchedBy(
  t: Test,
  script: string,
  see: (changes: ReadonlyMap<string, string>, said: string) => void,
): void {
  const before = fingerprint(TOUCHED)
  const name = `try-${process.pid}`
  const run = lamina('run', '--network', 'host', '--rootfs', '/', '--name', name, '--', 'sh', '-c', script)
  t.equal(run.status, 0, `exit code (${run.stderr.slice(-300)})`)
  const diff = lamina('diff', name)
  t.equal(diff.status, 0, `diff (${diff.stderr})`)
  see(
    new Map(
      diff.stdout
        .trimEnd()
        .split('\n')
        .map(line => [line.slice(2), line.slice(0, 1)]),
    ),
    run.stdout,
  )
  t.equal(lamina('rm', name).status, 0, 'rm')
  t.strictSame(fingerprint(TOUCHED), before, 'the same names, contents, modes, owners, modification and change times')
  t.equal(lamina('ps', '--all', '--quiet').stdout, '', 'no container is left')
}
