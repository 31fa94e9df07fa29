/**
 * `npm start`: the main job, shown on this machine's own root. A process in its own namespaces adds, overwrites, renames
 * and deletes files under /usr and /etc on a layer over /; then the layer is listed, and the host proven unchanged.
 * Invariant: it leaves nothing behind, also when it fails or is interrupted: its store is a directory of its own.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fingerprint, type Fingerprint } from '../lib/cli/fingerprint.js'

const color = process.stdout.isTTY && process.env['NO_COLOR'] === undefined
const paint = (code: string, text: string): string => (color ? `\u001b[${code}m${text}\u001b[0m` : text)
const step = (text: string): void => console.log(`\n${paint('1;36', `▌ ${text}`)}`)

const NAME = 'demo'
const lamina = fileURLToPath(new URL('lamina.js', import.meta.url))
const program = `
set -e
echo "I am process $$ of $(hostname), root of a namespace of my own, on a copy-on-write view of /."
printf '#!/bin/sh\\necho "Hello from a program that the host does not have."\\n' > /usr/local/bin/hello-layer
chmod +x /usr/local/bin/hello-layer && hello-layer
echo "+ added      /usr/local/bin/hello-layer"
cp /etc/passwd /etc/passwd.before && sed -i 's/root/ROOT/' /etc/passwd
echo "~ overwrote  /etc/passwd, which now begins with $(head -c 4 /etc/passwd)"
if [ -d /usr/share/man ]; then mv /usr/share/man /usr/share/man-renamed; echo "> renamed    /usr/share/man, a directory of the host, without copying it"; fi
if [ -d /usr/share/doc ]; then n=$(find /usr/share/doc | wc -l); rm -rf /usr/share/doc; echo "- deleted    /usr/share/doc with its $n entries"; fi
chmod -R o+w /etc/default
echo "~ chmod -R   /etc/default (no data was copied for it)"
`
const touched = ['/etc', '/usr/local/bin', '/usr/share/man', '/usr/share/man-renamed', '/usr/share/doc']

process.exitCode = demo()

function demo(): number {
  const reason = whyNot()
  if (reason !== undefined) {
    console.error(`lamina: demo: ${reason}`)
    return 3
  }
  const scratch = mkdtempSync(join(tmpdir(), 'lamina-demo-'))
  process.env['LAMINA_ROOT'] = join(scratch, 'store')
  process.env['LAMINA_RUN'] = join(scratch, 'run')
  let made = false
  // The commands below get the terminal's Ctrl-C themselves; we stay to clean up.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
  try {
    step('Fingerprint of the host before: every name, mode, owner, time and byte of what will be touched')
    const before = fingerprint(touched)
    show(before)

    step('A process on a writable layer over /')
    console.log(paint('2', `$ lamina run --rootfs / --name ${NAME} --network none -- sh -c '…'`))
    made = true
    if (!run('run', '--rootfs', '/', '--name', NAME, '--network', 'none', '--', 'sh', '-c', program)) return 1

    step('What the layer holds now')
    console.log(paint('2', `$ lamina diff --renames ${NAME}`))
    if (!diff()) return 1

    step('Fingerprint of the host after')
    const after = fingerprint(touched)
    show(after)
    const same = after.digest === before.digest
    const gone = !existsSync('/usr/local/bin/hello-layer')
    console.log(
      same && gone
        ? paint('1;32', '✓ The host is unchanged: not a byte, not a name, not a time.')
        : paint(
            '1;31',
            '✗ The host has changed. If nothing else wrote there meanwhile, this is a bug: please report it.',
          ),
    )
    return same && gone ? 0 : 1
  } finally {
    if (made) {
      step('Throw the layer away')
      console.log(paint('2', `$ lamina rm ${NAME}`))
      if (run('rm', '--force', NAME)) console.log('as if it had never happened')
    }
    rmSync(scratch, { recursive: true, force: true })
    console.log(`\nNow yours: ${paint('1', 'node dist/bin/lamina.js run -it --rm --rootfs / -- bash')}, or --help.`)
  }
}

function whyNot(): string | undefined {
  if (process.geteuid?.() !== 0) return 'needs root to show / as the parent (try: sudo npm start)'
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
    return undefined
  } catch {
    return 'there is no usable /dev/fuse here (modprobe fuse; in a container: --device /dev/fuse)'
  }
}

function run(...argv: readonly string[]): boolean {
  const { status, signal } = spawnSync(process.execPath, [lamina, ...argv], { stdio: ['ignore', 'inherit', 'inherit'] })
  if (status !== 0) console.error(`lamina ${argv[0]} ended with ${signal ?? `exit code ${status}`}`)
  return status === 0
}

/** The list, cut where it gets long. */
function diff(): boolean {
  const { status, stdout, stderr } = spawnSync(process.execPath, [lamina, 'diff', '--renames', NAME], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  process.stderr.write(stderr)
  if (status !== 0) return false
  const lines = stdout.trimEnd().split('\n')
  const hues: Record<string, string> = { A: '32', C: '33', D: '31', R: '35' }
  const most = 24
  for (const line of lines.slice(0, most)) console.log(`  ${paint(hues[line[0] ?? ''] ?? '0', line)}`)
  if (lines.length > most) console.log(`  … and ${lines.length - most} more`)
  return true
}

function show({ digest, entries, bytes }: Fingerprint): void {
  console.log(`  sha256 ${digest}\n  ${entries} files and directories, ${(bytes / 1e6).toFixed(0)} MB of content`)
}
