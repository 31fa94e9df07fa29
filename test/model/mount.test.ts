/** The model test on the mount, by one process and by several at once. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { hostTarget } from '../posix/host-target.js'
import { mountTarget } from '../posix/mount-target.js'
import { place } from '../posix/case.js'
import { missingForMounts, missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { dir } from '../posix/population.js'
import { population, runSeeds } from './model.js'

const missing = missingForTrees() ?? missingForMounts()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(900_000)
  const scratch = scratchDirectory(t)
  const oracle = hostTarget(scratch)
  const subject = mountTarget(scratch, 'mount')
  const given = process.env['MODEL_SEED']
  const seeds = given === undefined ? [11, 12, 13, 14] : [Number(given)]

  await t.test('one process', async t => {
    const failure = runSeeds(subject, oracle, seeds, 300, 0.01, { every: 8, directoryLinks: true, leavesBehind: true })
    t.equal(failure, undefined, failure ?? 'the same as a plain directory')
  })

  await t.test('four processes in directories of their own on one mount', async t => {
    const parts = ['p0', 'p1', 'p2', 'p3']
    const items = parts.flatMap(part => [
      dir(part),
      ...(population.lowers[0] ?? []).map(item => ({ ...item, path: `${part}/${item.path}` })),
    ])
    const lowers = items.map(item =>
      item.type === 'link' ? { ...item, target: `${item.path.slice(0, 2)}/${item.target}` } : item,
    )
    const tree = subject.make(place(lowers, 'lower'))
    const model = oracle.make(place(lowers, 'lower'))
    const results = await Promise.all(
      parts.map(async (part, i) => {
        const program = fileURLToPath(new URL('./play.js', import.meta.url))
        const paths = [join(tree.path ?? '', part), join(model.path ?? '', part)]
        const child = spawn(process.execPath, [program, ...paths, String(100 + i), '400'], {
          stdio: ['ignore', 'ignore', 'pipe'],
        })
        let said = ''
        child.stderr.on('data', data => (said += String(data)))
        const [code] = (await once(child, 'exit')) as [number | null]
        return { part, code, said }
      }),
    )
    for (const { part, code, said } of results) t.equal(code, 0, `${part} ${said}`)
    t.same(tree.close(), [])
    model.close()
  })

  subject.close()
  oracle.close()
}
