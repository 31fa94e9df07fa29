/**
 * Owns the one suite for every target: `suite(t, target)`. It puts the cases' items in every place a layered filesystem
 * may have them, so that one behaviour is proven on upper, lower, merged and thrice-merged names alike.
 */
import type { Test } from 'tap'
import { attributeCases } from './cases/attributes.js'
import { dataCases } from './cases/data.js'
import { directoryCases } from './cases/directories.js'
import { errorCases } from './cases/errors.js'
import { inodeFlagCases } from './cases/inode-flags.js'
import { layerCases } from './cases/layers.js'
import { linkCases } from './cases/links.js'
import { mappingCases } from './cases/mapping.js'
import { nameCases } from './cases/names.js'
import { peerFaultCases } from './cases/peer-faults.js'
import { permissionCases } from './cases/permissions.js'
import { processCases } from './cases/processes.js'
import { renameCases } from './cases/rename.js'
import { specialCases } from './cases/special.js'
import { xattrCases } from './cases/xattrs.js'
import { xfstestsCases } from './cases/xfstests.js'
import { place, places, type Case, type Place } from './case.js'
import { dir, type Item } from './population.js'
import { scope } from './scope.js'
import type { Layers, Target } from './target.js'

export const cases: readonly Case[] = [
  ...nameCases,
  ...errorCases,
  ...directoryCases,
  ...linkCases,
  ...renameCases,
  ...attributeCases,
  ...dataCases,
  ...xattrCases,
  ...specialCases,
  ...inodeFlagCases,
  ...permissionCases,
  ...mappingCases,
  ...processCases,
  ...layerCases,
  ...peerFaultCases,
  ...xfstestsCases,
]

/** Runs every case on the target. `POSIX_ONLY` in the environment keeps titles that contain it. */
export async function suite(t: Test, target: Target): Promise<void> {
  const only = process.env['POSIX_ONLY']
  const chosen = only === undefined ? cases : cases.filter(c => c.title.includes(only))
  const anywhere = chosen.filter(c => !c.layers)
  const wheres: readonly Place[] = target.layered ? places : ['upper']
  for (const where of wheres)
    await group(
      t,
      target,
      where,
      anywhere.filter(c => !c.once || where === wheres[0]).map(c => ({ case: c, layers: place(c.items ?? [], where) })),
    )
  await group(
    t,
    target,
    'layers',
    chosen.flatMap(c => (c.layers ? [{ case: c, layers: c.layers }] : [])),
  )
}

async function group(
  t: Test,
  target: Target,
  where: Place,
  list: readonly { case: Case; layers: Layers }[],
): Promise<void> {
  const fitting = list.filter(({ case: c }) => (!c.kernel || target.kernel) && (!c.layered || target.layered))
  const why = (c: Case): string | undefined => target.differences[c.title] ?? target.differences[c.difference ?? '']
  const run = fitting.filter(({ case: c }) => why(c) === undefined)
  if (run.length === 0) return
  await t.test(`${target.name}: ${where}`, async t => {
    for (const { case: c } of fitting) if (why(c) !== undefined) t.comment(`skip: ${c.title}: ${why(c)}`)
    const tree = target.make(compose(run.map(r => r.layers)))
    try {
      for (const [i, { case: c }] of run.entries()) {
        await t.test(c.title, async t => {
          c.run(t, { fs: scope(tree.fs, prefix(i)), base: prefix(i), tree, target, place: where })
        })
      }
    } finally {
      t.same(tree.close(), [], 'lowers unchanged, nothing left in work, every lookup given back')
    }
  })
}

function prefix(i: number): string {
  return `case${i}`
}

/** All cases' layers as one: layer k holds every case's layer k below its prefix. */
function compose(all: readonly Layers[]): Layers {
  const depth = Math.max(1, ...all.map(l => l.lowers.length))
  const lowers = Array.from({ length: depth }, (_, k) =>
    all.flatMap((l, i) => {
      const items = l.lowers[k]
      // The case's directory is there from the start, in the base.
      return [...(k === 0 ? [dir(prefix(i))] : []), ...(items ?? []).map(item => below(prefix(i), item))]
    }),
  )
  const upper = all.flatMap((l, i) => (l.upper ?? []).map(item => below(prefix(i), item)))
  return { lowers, upper }
}

function below(parent: string, item: Item): Item {
  const path = item.path === '' ? parent : `${parent}/${item.path}`
  return item.type === 'link' ? { ...item, path, target: `${parent}/${item.target}` } : { ...item, path }
}
