/** Copies up that have no name until they are whole: where the upper's filesystem makes such files, and where it does not. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { E } from '../../lib/errno.js'
import { O } from '../../lib/sys/constants.js'
import { mutate } from '../../lib/union/mutate.js'
import { file } from '../posix/population.js'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { Stack } from './stack.js'

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else
  for (const able of [true, false])
    t.test(able ? 'with O_TMPFILE' : 'without O_TMPFILE', async t => {
      const { openat, linkFd, renameat2 } = mutate
      const named: string[] = []
      let linked = 0
      mutate.openat = (at, path, flags, mode) => {
        if ((flags & O.TMPFILE) === O.TMPFILE && !able) return -E.EOPNOTSUPP
        if (path.startsWith('#') && (flags & O.CREAT) !== 0) named.push(path)
        return openat(at, path, flags, mode)
      }
      mutate.linkFd = (...args) => {
        linked++
        return linkFd(...args)
      }
      const stack = new Stack(join(scratchDirectory(t), String(able)), [[file('f', 'x'.repeat(5000)), file('g', 'y')]])
      try {
        stack.union(fs => {
          const fd = fs.open('f', O.WRONLY | O.APPEND)
          t.ok(fd >= 0)
          t.equal(linked, able ? 1 : 0)
          t.equal(named.length, able ? 0 : 1)
          t.strictSame(
            readdirSync(join(stack.work, 'work')).filter(name => name !== '#whiteout'),
            [],
          )
          fs.close(fd)
          // One that cannot be given its name leaves nothing, and is tried again.
          mutate.linkFd = () => -E.ENOSPC
          mutate.renameat2 = () => -E.ENOSPC
          t.equal(fs.open('g', O.WRONLY), -E.ENOSPC)
          mutate.renameat2 = renameat2
          mutate.linkFd = linkFd
          t.strictSame(readdirSync(stack.upper), ['f'])
          t.strictSame(
            readdirSync(join(stack.work, 'work')).filter(name => name !== '#whiteout'),
            [],
          )
          const again = fs.open('g', O.WRONLY)
          t.ok(again >= 0)
          fs.close(again)
        })
      } finally {
        Object.assign(mutate, { openat, linkFd, renameat2 })
      }
      t.strictSame(readdirSync(stack.upper), ['f', 'g'])
      stack.remove()
    })
