/**
 * File handles (name_to_handle_at): they open what the kernel has in use, wherever it was moved; what is gone is ESTALE; and a
 * handle never opens another file than its own, not even after a remount, when numbers are given anew (xfstests generic 426,
 * 467, 477, as far as a filesystem goes whose inodes live no longer than the kernel remembers them).
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { bytesOf } from '../../lib/bytes.js'
import { E } from '../../lib/errno.js'
import { AT, O } from '../../lib/sys/constants.js'
import { close, open, pread } from '../../lib/sys/file.js'
import { type FileHandle, nameToHandle, openByHandle } from '../../lib/sys/handle.js'
import { fstat, Stat } from '../../lib/sys/stat.js'
import { unmount } from '../../lib/fuse/mount.js'
import { cannotMount, ended, workspace } from './workspace.js'

const COUNT = 200

t.test('handles of files and directories', { skip: cannotMount }, async t => {
  const w = workspace(t)
  mkdirSync(join(w.lower, 'low'))
  for (let i = 0; i < COUNT; i++) writeFileSync(join(w.lower, 'low', `f${i}`), `low ${i}`)
  let server = await w.mount()
  mkdirSync(join(w.point, 'new'))
  for (let i = 0; i < COUNT; i++) writeFileSync(join(w.point, 'new', `f${i}`), `new ${i}`)
  const held = { point: open(bytesOf(w.point), O.RDONLY | O.DIRECTORY) }
  const handleOf = (path: string): FileHandle => {
    const handle = nameToHandle(AT.FDCWD, bytesOf(join(w.point, path)))
    if (typeof handle === 'number') throw new Error(`${path}: ${handle}`)
    return handle
  }
  const text = (handle: FileHandle): string | number => {
    const fd = openByHandle(held.point, handle, O.RDONLY)
    if (fd < 0) return fd
    const buffer = Buffer.alloc(64)
    const n = pread(fd, buffer, 0)
    close(fd)
    return n < 0 ? n : buffer.toString('latin1', 0, n)
  }
  const all = ['low', 'new'].flatMap(d => Array.from({ length: COUNT }, (_, i) => ({ d, i, path: `${d}/f${i}` })))
  const handles = new Map(all.map(({ path }) => [path, handleOf(path)]))
  const directories = new Map(['low', 'new'].map(d => [d, handleOf(d)]))
  const each = (expected: (d: string, i: number) => readonly (string | number)[], title: string): void => {
    const wrong = all.filter(({ d, i, path }) => !expected(d, i).includes(text(handles.get(path) as FileHandle)))
    t.same(wrong, [], title)
  }
  each((d, i) => [`${d} ${i}`], 'each opens its file')

  renameSync(join(w.point, 'new'), join(w.point, 'moved'))
  renameSync(join(w.point, 'low'), join(w.point, 'moved/low'))
  for (let i = 0; i < COUNT; i += 2) renameSync(join(w.point, `moved/f${i}`), join(w.point, `g${i}`))
  each((d, i) => [`${d} ${i}`], 'also after it, or its directory, was moved')
  const st = new Stat()
  for (const [d, handle] of directories) {
    const fd = openByHandle(held.point, handle, O.RDONLY | O.DIRECTORY)
    t.ok(fd >= 0 && fstat(fd, st) >= 0, `${d}: a directory`)
    close(fd)
  }

  const open0 = open(bytesOf(join(w.point, 'g0')), O.RDONLY)
  for (let i = 0; i < COUNT; i += 2) rmSync(join(w.point, `g${i}`))
  // New files take the places of the old ones.
  for (let i = 0; i < COUNT; i++) writeFileSync(join(w.point, `other${i}`), `other ${i}`)
  each((d, i) => (d === 'low' || i % 2 === 1 ? [`${d} ${i}`] : i === 0 ? ['new 0'] : [-E.ESTALE]), 'removed: ESTALE')
  close(open0)

  close(held.point)
  t.equal(unmount(bytesOf(w.point), false), 0)
  await ended(server)
  server = await w.mount()
  held.point = open(bytesOf(w.point), O.RDONLY | O.DIRECTORY)
  for (const { path } of all) {
    try {
      readFileSync(join(w.point, path))
    } catch {
      // Moved or removed above; that it was looked for is enough.
    }
  }
  for (let i = 0; i < COUNT; i++) writeFileSync(join(w.point, `another${i}`), `another ${i}`)
  each(() => [-E.ESTALE], 'of an earlier mount')
  close(held.point)
})
