/**
 * Every change of the union, failing or ending at each of its steps: what is there afterwards, in the running union and after
 * the next mount, is what was there before or what was to be, nothing else; and the work directory is swept.
 */
import { join } from 'node:path'
import t from 'tap'
import { O, RENAME, S } from '../../lib/sys/constants.js'
import { close, open } from '../../lib/sys/file.js'
import { leftInWork } from '../posix/layered-files.js'
import { dir, file, hardlink, type Item, symlink } from '../posix/population.js'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { snapshot } from '../posix/snapshot.js'
import type { Vfs } from '../posix/vfs.js'
import { arm, type Fault } from './faults.js'
import { Stack } from './stack.js'

const layers: readonly (readonly Item[])[] = [
  [
    file('f', 'lower', { xattrs: { 'user.k': 'v' }, mode: 0o4755, uid: 3 }),
    file('d/e/g', 'deep'),
    file('d/h', 'h'),
    hardlink('l1', 'f'),
    symlink('s', 'f'),
    dir('empty'),
  ],
]

/** One call each, made after `before`, which is not disturbed. */
const changes: Readonly<Record<string, { before?: (fs: Vfs) => void; change: (fs: Vfs) => number }>> = {
  'chmod of a lower file': { change: fs => fs.chmod('d/h', 0o600) },
  'chown of a hard-linked file': { change: fs => fs.chown('f', 1, 1) },
  'setxattr deep down': { change: fs => fs.setxattr('d/e/g', 'user.x', Buffer.from('y')) },
  'opening to write': { change: fs => opened(fs, 'd/e/g', O.RDWR) },
  'opening to write what has its metadata in the upper': {
    before: fs => fs.chmod('d/h', 0o600),
    change: fs => opened(fs, 'd/h', O.RDWR),
  },
  'opening to cut': { change: fs => opened(fs, 'd/h', O.WRONLY | O.TRUNC) },
  'truncate of a metadata copy': { before: fs => fs.chmod('d/h', 0o600), change: fs => fs.truncate('d/h', 0) },
  'unlink of a lower file': { change: fs => fs.unlink('d/h') },
  'unlink of a copy': { before: fs => fs.chmod('d/h', 0o600), change: fs => fs.unlink('d/h') },
  'unlink of one of two names': { change: fs => fs.unlink('f') },
  'rmdir of a lower directory': { change: fs => fs.rmdir('empty') },
  'rmdir of a merged directory': {
    before: fs => void [fs.unlink('d/e/g'), fs.chmod('d/e', 0o700)],
    change: fs => fs.rmdir('d/e'),
  },
  'mkdir over a whiteout': {
    before: fs => void [fs.unlink('d/e/g'), fs.rmdir('d/e')],
    change: fs => fs.mkdir('d/e', 0o755),
  },
  'creating over a whiteout': { before: fs => fs.unlink('d/h'), change: fs => opened(fs, 'd/h', O.CREAT | O.WRONLY) },
  'mknod in a lower directory': { change: fs => fs.mknod('d/e/fifo', S.IFIFO | 0o644, 0) },
  'symlink in a lower directory': { change: fs => fs.symlink('x', 'd/e/s') },
  'link of a lower file': { change: fs => fs.link('d/h', 'd/e/h2') },
  'link of a hard-linked file over a whiteout': { before: fs => fs.unlink('d/h'), change: fs => fs.link('f', 'd/h') },
  'rename of a lower file': { change: fs => fs.rename('d/h', 'd/e/h') },
  'rename over a lower file': { change: fs => fs.rename('d/h', 'd/e/g') },
  'rename of a lower directory': { change: fs => fs.rename('d', 'd2') },
  'rename of a directory elsewhere': { change: fs => fs.rename('d/e', 'e') },
  'rename of a directory over an empty merged one': {
    before: fs => void [fs.unlink('d/e/g'), fs.mkdir('n', 0o755), fs.mkdir('n/m', 0o755)],
    change: fs => fs.rename('n', 'd/e'),
  },
  'rename of a directory over a whiteout': {
    before: fs => void [fs.rmdir('empty'), fs.mkdir('n', 0o755)],
    change: fs => fs.rename('n', 'empty'),
  },
  'rename of one of two names over the other file': { change: fs => fs.rename('l1', 'd/h') },
  'exchange of a file and a directory': { change: fs => fs.rename('d', 'f', RENAME.EXCHANGE) },
}

function opened(fs: Vfs, path: string, flags: number): number {
  const fd = fs.open(path, flags, 0o644)
  if (fd >= 0) fs.close(fd)
  return Math.min(fd, 0)
}

/** Directories' times are left out: giving a parent its times back is a step of its own, after the one that counts. */
function view(fs: Vfs): string[] {
  return snapshot(fs, '').map(line => (/^\S+ dir /.test(line) ? line.replace(/ (now|\d+\.\d{9})/, '') : line))
}

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else {
  const scratch = scratchDirectory(t)
  let count = 0
  const fresh = (before?: (fs: Vfs) => void): Stack => {
    const stack = new Stack(join(scratch, String(count++)), layers)
    if (before !== undefined) stack.union(before)
    return stack
  }

  for (const [title, { before, change }] of Object.entries(changes)) {
    t.test(title, async t => {
      const whole = fresh(before)
      const old = whole.union(view)
      let calls = 0
      const now = whole.union(fs => {
        const armed = arm()
        t.equal(change(fs), 0)
        calls = armed.calls()
        armed.disarm()
        return view(fs)
      })
      t.same(whole.union(view), now, 'as it is after a remount')
      whole.remove()
      const wrong: string[] = []
      const check = (what: string, seen: readonly string[], result: number): void => {
        const text = seen.join('\n')
        if (text === now.join('\n')) return
        if (text !== old.join('\n')) wrong.push(`${what}: neither before nor after: ${differing(seen, old, now)}`)
        else if (result === 0) wrong.push(`${what}: success, but nothing changed`)
      }
      for (let at = 1; at <= calls; at++) {
        for (const kind of ['error', 'stop'] as const) {
          const fault: Fault = { at, kind }
          const stack = fresh(before)
          let result = 0
          if (kind === 'stop') {
            stack.dying(fs => {
              const armed = arm(fault)
              change(fs)
              armed.disarm()
            })
          } else {
            stack.union(fs => {
              const armed = arm(fault)
              result = change(fs)
              armed.disarm()
              check(`step ${at} failing`, view(fs), result)
            })
          }
          check(`step ${at} ${kind}, after a remount`, stack.union(view), kind === 'stop' ? -1 : result)
          const left = leftInWork(stack.work)
          if (left.length > 0) wrong.push(`step ${at} ${kind}: left in work: ${left.join(' ')}`)
          stack.remove()
        }
      }
      t.same(wrong, [], `${calls} steps`)
    })
  }

  t.test('a work directory in use is refused, and free when its server is gone', async t => {
    const stack = fresh()
    stack.union(() => {
      t.throws(() => stack.union(view), { code: 'EBUSY' })
    })
    t.ok(stack.union(view).length > 0)
    const fd = open(stack.work, O.RDONLY)
    close(fd)
    stack.remove()
  })
}

function differing(seen: readonly string[], old: readonly string[], now: readonly string[]): string {
  const known = new Set([...old, ...now])
  const odd = seen.filter(line => !known.has(line))
  const lost = old.filter(line => now.includes(line) && !seen.includes(line))
  return [...odd.map(line => `+${line}`), ...lost.map(line => `-${line}`)].join(' | ') || 'a mixture'
}
