/**
 * Owns reading the kernel's table of mounts, /proc/self/mountinfo (proc_pid_mountinfo(5)): which mounts are ours, and
 * where. It asks no server anything, so it never blocks. Paths are text; octal escapes (`\040`) are undone.
 */
import { readFileSync } from 'node:fs'

export interface OwnMount {
  readonly mountpoint: string
  readonly source: string
  readonly readOnly: boolean
}

/** Whether a mount of `type` is one of ours: our server's, or the kernel's that stands on one. */
function isOurs(type: string, source: string): boolean {
  return type === 'fuse.lamina' || (type === 'overlay' && /^lamina(:|$)/.test(source))
}

/** Our mounts in this mount namespace, oldest first: of several on one path the last is seen. */
export function ownMounts(): OwnMount[] {
  const found: OwnMount[] = []
  for (const line of readFileSync('/proc/self/mountinfo', 'latin1').split('\n')) {
    const [left = '', right = ''] = line.split(' - ')
    const [type = '', source = ''] = right.split(' ')
    if (!isOurs(type, source)) continue
    const fields = left.split(' ')
    found.push({
      mountpoint: unescape(fields[4] ?? ''),
      source: unescape(source),
      readOnly: (fields[5] ?? '').split(',').includes('ro'),
    })
  }
  return found
}

function unescape(field: string): string {
  const bytes = field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)))
  return Buffer.from(bytes, 'latin1').toString('utf8')
}
