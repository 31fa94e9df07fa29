/**
 * What a power loss may see: a copy's data is on disk before the rename or the link that publishes it, and before the mark goes that says
 * the lower's data counts. A volatile mount waits for nothing.
 */
import { join } from 'node:path'
import t from 'tap'
import { O } from '../../lib/sys/constants.js'
import { runJob, type JobSpec } from '../../lib/sys/job.js'
import { mutate } from '../../lib/union/mutate.js'
import { file } from '../posix/population.js'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { Stack } from '../union/stack.js'

type Call = (...args: never[]) => unknown

/** What of the changes matters here, in their order: data written, data synced, a name published, the mark taken away. */
function record(): { readonly seen: string[]; readonly runJob: (spec: JobSpec) => number; stop(): void } {
  const table = mutate as unknown as Record<string, Call>
  const originals = { ...table }
  const seen: string[] = []
  const words: Readonly<Record<string, string>> = {
    copyData: 'data',
    fdatasync: 'sync',
    fsync: 'sync',
    renameat2: 'publish',
    linkFd: 'publish',
    fremovexattr: 'unmark',
    removexattrat: 'unmark',
  }
  for (const [name, word] of Object.entries(words)) {
    const original = originals[name] as Call
    table[name] = (...args) => {
      const result = original(...args)
      if (typeof result !== 'number' || result >= 0) seen.push(word)
      return result
    }
  }
  return {
    seen,
    runJob(spec) {
      if (spec.op === 'copy') seen.push(spec.sync === true ? 'data sync' : 'data')
      else if (spec.op === 'fsync') seen.push('sync')
      return runJob(spec)
    },
    stop: () => void Object.assign(table, originals),
  }
}

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else {
  const scratch = scratchDirectory(t)
  const layers = [[file('small', 'x'.repeat(5000)), file('large', Buffer.alloc(3 << 20, 'y'))]]
  for (const volatile of [false, true])
    for (const name of ['small', 'large'])
      for (const before of ['untouched', 'its mode changed'] as const)
        t.test(`${volatile ? 'volatile: ' : ''}a ${name} file is opened for writing, ${before}`, async t => {
          const stack = new Stack(join(scratch, `${name}-${before}-${volatile}`.replaceAll(' ', '-')), layers)
          const recorder = record()
          try {
            stack.union(
              fs => {
                if (before !== 'untouched') t.equal(fs.chmod(name, 0o600), 0)
                recorder.seen.length = 0
                const fd = fs.open(name, O.RDWR)
                t.ok(fd >= 0, 'open')
                fs.close(fd)
                const order = recorder.seen.join(' ').split(' ')
                const data = order.indexOf('data')
                const shown = order.findIndex(word => word === 'publish' || word === 'unmark')
                t.ok(data >= 0 && shown > data, `data first: ${order.join(' ')}`)
                if (volatile) t.notOk(order.includes('sync'), 'nothing is waited for')
                else t.ok(order.slice(data, shown).includes('sync'), 'on disk before it counts')
              },
              { passthrough: true, runJob: recorder.runJob },
              { volatile },
            )
          } finally {
            recorder.stop()
          }
          stack.remove()
        })
}
