/**
 * What layers, ls, cat, diff, which-layer, ci and explore can be asked about: an image, a container, a layer, an archive in
 * three forms, a directory. The same two layers and one container's changes behind all of them, so the answers are known.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { makeImage, ociArchive, ociLayout } from '../image/made.js'
import { lamina as inProcess, type Outcome } from '../cli/lamina.js'
import type { RawEntry } from '../layer/raw-tar.js'

const skip = process.getuid?.() === 0 ? false : 'needs root'
const kilobytes = (n: number, char: string): string => char.repeat(n * 1000)

const base: readonly RawEntry[] = [
  { name: 'etc/', type: '5', mode: 0o755 },
  { name: 'etc/name', data: 'base\n' },
  { name: 'big', data: kilobytes(40, 'b') },
  { name: 'replaced', data: kilobytes(30, 'r') },
]
const top: readonly RawEntry[] = [
  { name: 'etc/name', data: 'top\n' },
  { name: '.wh.replaced', data: '' },
  { name: 'added', data: kilobytes(10, 'a') },
]

interface LayerJson {
  readonly added: number
  readonly changed: number
  readonly removed: number
}

t.test('operands', { skip, timeout: 600_000 }, async t => {
  const dir = mkdtempSync(join(tmpdir(), 'lamina-operands-'))
  const store = join(dir, 'store')
  const lamina = (...args: string[]): Promise<Outcome> => inProcess('--root', store, ...args)
  const done = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await lamina(...args)
    if (code !== 0) throw new Error(`${args.join(' ')}: ${code}: ${stderr}`)
    return stdout
  }
  t.teardown(async () => {
    await lamina('rm', '-f', 'box')
    rmSync(dir, { recursive: true, force: true })
  })

  const image = makeImage([base, top])
  const archive = join(dir, 'image.tar')
  writeFileSync(archive, ociArchive(image, 'docker.io/test/two:1'))
  mkdirSync(join(dir, 'layout'))
  ociLayout(image, join(dir, 'layout'), 'docker.io/test/two:1')
  await done('load', '-i', archive)
  await done('save', '-o', join(dir, 'docker.tar'), 'test/two:1')
  await done('create', '--name', 'box', '--network', 'none', 'test/two:1', '/none')
  writeFileSync(join(dir, 'mine'), kilobytes(5, 'm'))
  await done('cp', join(dir, 'mine'), 'box:/added')
  mkdirSync(join(dir, 'tree/etc'), { recursive: true })
  writeFileSync(join(dir, 'tree/etc/name'), 'tree\n')
  const layer = image.layers[1]?.diffID ?? ''

  // By operand: how many layers, what /etc/name says, what wins of /added, and the share of bytes that one can see.
  const all = 40_000 + 4 + 10_000
  const stored = 40_000 + 5 + 30_000 + 4 + 10_000
  const two = { layers: 2, name: 'top\n', added: 10_000, efficiency: all / stored }
  const asked: Record<string, { layers: number; name: string; added: number | undefined; efficiency: number }> = {
    'test/two:1': two,
    'image:test/two:1': two,
    [archive]: two,
    [`archive:${archive}`]: two,
    [`archive:${join(dir, 'layout')}`]: two,
    [join(dir, 'docker.tar')]: two,
    box: { ...two, layers: 3, added: 5000, efficiency: (all - 5000) / (stored + 5000) },
    'container:box': { ...two, layers: 3, added: 5000, efficiency: (all - 5000) / (stored + 5000) },
    // A layer of an image is shown on what lies below it there.
    [`layer:${layer}`]: two,
    [layer.slice(0, 20)]: two,
    [join(dir, 'tree')]: { layers: 1, name: 'tree\n', added: undefined, efficiency: 1 },
    [`dir:${join(dir, 'tree')}`]: { layers: 1, name: 'tree\n', added: undefined, efficiency: 1 },
  }
  for (const [operand, known] of Object.entries(asked))
    await t.test(operand.replaceAll(dir, '…'), async t => {
      const json = JSON.parse(await done('layers', '--json', operand)) as { layers: LayerJson[]; efficiency: number }
      t.equal(json.layers.length, known.layers)
      t.equal(json.efficiency.toFixed(6), known.efficiency.toFixed(6))
      t.match(await done('layers', operand), /\n.*\n/)
      t.equal(await done('cat', `${operand}:/etc/name`), known.name)
      t.match(await done('ls', `${operand}:/etc`), /name/)
      t.match(await done('find', `${operand}:/`, '--name', 'name'), /etc\/name/)

      const which = await done('which-layer', '--json', operand, '/etc/name')
      t.equal((JSON.parse(which) as unknown[]).length, known.layers > 1 ? 2 : 1)
      t.equal((await lamina('which-layer', operand, '/nowhere')).code, 1)

      const rules = ['--highestUserWastedPercent', 'disabled', '--lowestEfficiency']
      t.equal((await lamina('ci', operand, ...rules, String(known.efficiency - 0.001))).code, 0)
      if (known.efficiency < 1) {
        const failed = await lamina('ci', operand, ...rules, String(known.efficiency + 0.001))
        t.equal(failed.code, 1)
      }

      const page = join(dir, 'page.html')
      await done('explore', operand, '--html', page)
      t.match(readFileSync(page, 'latin1'), /^<!doctype html>/i)
      rmSync(page)

      const to = join(dir, 'copied')
      await done('cp', `${operand}:/etc/name`, to)
      t.equal(readFileSync(to, 'utf8'), known.name)
      rmSync(to)
      t.equal(await done('diff', operand, operand), '', 'nothing differs from itself')
      if (known.added !== undefined) {
        const size = (await done('cat', `${operand}:/added`)).length
        t.equal(size, known.added)
      }
    })

  t.test('counts of layers', async t => {
    const counts = async (operand: string): Promise<LayerJson[]> => {
      const { layers } = JSON.parse(await done('layers', '--json', operand)) as { layers: LayerJson[] }
      return layers.map(({ added, changed, removed }) => ({ added, changed, removed }))
    }
    const two = [
      { added: 3, changed: 0, removed: 0 },
      { added: 1, changed: 1, removed: 1 },
    ]
    t.strictSame(await counts('test/two:1'), two)
    t.strictSame(await counts(archive), two)
    t.strictSame(await counts('box'), [...two, { added: 0, changed: 1, removed: 0 }])
  })

  t.test('between operands of different kinds', async t => {
    t.equal(await done('diff', archive, 'test/two:1'), '')
    t.equal(await done('diff', 'test/two:1', 'box'), 'C /added\n')
    t.equal(await done('diff', archive, 'box'), 'C /added\n')
    t.match(await done('diff', 'test/two:1', join(dir, 'tree')), /^D \/added\nD \/big\n.*C \/etc\/name\n$/s)
    await done('explore', 'box', '--compare', archive, '--html', join(dir, 'both.html'))
  })

  t.test('what is none of them', async t => {
    for (const verb of ['layers', 'explore', 'ci'])
      for (const operand of ['nothing', 'container:nothing', 'layer:abcdef', './nothing.tar', 'archive:/etc/passwd']) {
        const { code, stderr } = await lamina(verb, operand)
        t.equal(code, 1, `${verb} ${operand}`)
        t.match(stderr, /^lamina: [^\n]+\n$/, 'one line')
      }
  })
})
