/** The promise of `lamina run --rootfs /`: whatever a process does there, this machine's own tree stays as it was. */
import type { Test } from 'tap'
import { spawnSync } from 'node:child_process'
import { accessSync, constants, readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { look, type Look } from '../../lib/cli/fingerprint.js'

export function whyNot(): string | false {
  if (process.geteuid?.() !== 0) return 'not root'
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
    return false
  } catch {
    return 'no /dev/fuse'
  }
}

/** Where other programs of a machine write all the time: what happens there says nothing. The rest of / is compared. */
const VOLATILE = ['/dev', '/proc', '/run', '/sys', '/tmp', '/var/cache/man', '/var/log', '/var/tmp', '/lost+found']
const OTHERS = [
  '/root',
  '/home',
  '/work',
  '/var/lib/lamina',
  '/var/lib/systemd',
  '/var/lib/private',
  '/var/lib/cni',
  '/var/lib/containers',
  '/mnt',
  '/media',
]
/** Read in whole: where a script writes. Elsewhere it is inode, size and the two times that speak for the content. */
const READ = [
  '/etc',
  '/usr/games',
  '/usr/local/bin',
  '/usr/share/doc',
  '/usr/share/man',
  '/var/lib/dpkg',
  '/var/lib/apt',
]

export interface How {
  /** Read every file of the tree. */
  readonly whole: boolean
}

function lamina(...argv: string[]) {
  const options = { encoding: 'utf8', maxBuffer: 1 << 28, timeout: 900_000 } as const
  return spawnSync(process.execPath, [resolve('dist/bin/lamina.js'), ...argv], options)
}

/** A line for everything on the root's filesystem, by path. */
function host({ whole }: How): Map<string, string> {
  const here = resolve('.')
  const how: Look = {
    contents: path => whole || READ.some(read => path.startsWith(`${read}/`)),
    without: new Set([...VOLATILE, ...OTHERS, here]),
  }
  const lines = new Map<string, string>()
  const tops = readdirSync('/', { withFileTypes: true }).flatMap(top => (top.isFile() ? [] : [`/${top.name}`]))
  look(tops, how, (path, line) => lines.set(path, line))
  return lines
}

/** Paths whose lines differ. */
function differences(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): string[] {
  const paths = [...a.keys(), ...[...b.keys()].filter(path => !a.has(path))]
  return paths.filter(path => a.get(path) !== b.get(path))
}

/**
 * Runs `script` on a layer over /, hands the layer's diff to `see`, and compares the host before and after. A machine has
 * other programs, which may write meanwhile; what the layer has changed must not have changed on the host, and for all
 * else one of three attempts has to be undisturbed.
 */
export function untouchedBy(
  t: Test,
  script: string,
  see: (changes: ReadonlyMap<string, string>, said: string) => void,
  how: How = { whole: false },
): void {
  const disturbed: string[][] = []
  for (let attempt = 0; attempt < 3; attempt++) {
    const before = host(how)
    t.ok(before.size > 1000 && before.has('/etc/passwd'), `${before.size} files and directories to compare`)
    const name = `try-${process.pid}-${attempt}`
    const run = lamina('run', '--network', 'host', '--rootfs', '/', '--name', name, '--', 'sh', '-c', script)
    t.equal(run.status, 0, `exit code (${run.stderr.slice(-300)})`)
    const diff = lamina('diff', name)
    t.equal(diff.status, 0, `diff (${diff.stderr})`)
    const lines = diff.stdout.trimEnd().split('\n')
    const changes = new Map(lines.map(line => [line.slice(2), line.slice(0, 1)]))
    see(changes, run.stdout)
    t.equal(lamina('rm', name).status, 0, 'rm')
    t.equal(lamina('ps', '--all', '--quiet').stdout, '', 'no container is left')
    const changed = differences(before, host(how))
    t.strictSame(
      changed.filter(path => changes.has(path)),
      [],
      'nothing that the layer has changed is other than before on the host: name, content, mode, owner, times',
    )
    if (changed.length === 0) return
    disturbed.push(changed.slice(0, 20))
  }
  t.fail('the tree of the host was other than before, each time', { disturbed })
}
