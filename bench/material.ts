/**
 * Owns what is measured on: lowers and inputs, each made once per run when it is first wanted, from this machine's own
 * files and from fixed contents.
 * - `root`: three layers like a small system (15,000 entries), of names, sizes and depths as this host has them;
 * - `flat`: one directory of 20,000 small files; `big`: one large file; `huge`: 150,000 empty files;
 * - `toolchain`: this host's gcc with all it needs, to be run with the tree as its root;
 * - `sourceTar`: a source tree of small text files; `debs`: 48 packages.
 * Each stack of lowers can be had as an image of as many layers too (`image`).
 * What lies there already is taken as it is: the process in the user namespace works in the same place.
 */
import { execFileSync, spawn } from 'node:child_process'
import { cpSync, existsSync, lstatSync, mkdirSync, readdirSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { imageLowers, type IndexLower } from '../lib/image/lowers.js'
import { listImages, resolveImage } from '../lib/image/images.js'
import { Store } from '../lib/image/store.js'
import { ImageWriter } from '../lib/image/writer.js'
import type { Group } from './row.js'

export interface Sizes {
  readonly entries: number
  readonly files: number
  readonly bigMiB: number
  readonly sources: number
  readonly packages: number
  readonly huge: number
  readonly gccRuns: number
}

export const fullSizes: Sizes = {
  entries: 15_000,
  files: 20_000,
  bigMiB: 512,
  sources: 1500,
  packages: 48,
  huge: 150_000,
  gccRuns: 40,
}
export const quickSizes: Sizes = {
  entries: 2500,
  files: 1500,
  bigMiB: 128,
  sources: 100,
  packages: 4,
  huge: 15_000,
  gccRuns: 10,
}

/** What each of the sources begins with. */
const INCLUDES = '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n'

type LowerName = Exclude<Group['lowers'], 'none'>

/** Where a host's typical files are; as many are taken as make up the number of entries. */
const origins = [
  '/etc',
  '/usr/bin',
  '/usr/share/perl',
  '/usr/lib/python3',
  '/usr/include',
  '/usr/share/doc',
  '/usr/share',
]

export class Material {
  readonly sizes: Sizes
  /** The store that `image` puts images into. */
  readonly storeRoot: string
  readonly #base: string
  readonly #made = new Map<string, unknown>()

  constructor(base: string, sizes: Sizes) {
    this.sizes = sizes
    this.#base = base
    this.storeRoot = join(base, 'store')
  }

  /** The directories of `name`, topmost first; one that is empty for `none`. */
  lowers(name: Group['lowers']): readonly string[] {
    return this.#once(`lowers ${name}`, () => {
      const paths = (name === 'root' ? ['root2', 'root1', 'root0'] : [name]).map(path => join(this.#base, path))
      if (existsSync(paths[0] ?? '')) return paths
      for (const path of paths) mkdirSync(path)
      if (name !== 'none') this.#fill(name, paths)
      return paths
    })
  }

  /** The same as an image of as many layers; also a name for `lamina mount`. */
  image(name: Group['lowers']): Promise<{ readonly lowers: readonly IndexLower[]; readonly reference: string }> {
    return this.#once(`image ${name}`, async () => {
      const reference = `bench/${name}:1`
      const store = Store.open(this.storeRoot)
      if (!listImages(store).some(image => image.names.includes(`docker.io/${reference}`)))
        await addImage(store, this.lowers(name).toReversed(), reference)
      return { lowers: imageLowers(store, resolveImage(store, reference)), reference }
    })
  }

  get sourceTar(): string {
    return this.#once('sources', () => makeSources(this.#base, this.sizes.sources))
  }

  get debs(): readonly string[] {
    return this.#once('debs', () => makePackages(this.#base, this.sizes.packages))
  }

  #once<T>(key: string, make: () => T): T {
    if (!this.#made.has(key)) this.#made.set(key, make())
    return this.#made.get(key) as T
  }

  #fill(name: LowerName, [first = '', ...more]: readonly string[]): void {
    switch (name) {
      case 'root':
        return copyRoot([first, ...more], this.sizes.entries)
      case 'flat':
        return makeFlat(join(first, 'flat'), this.sizes.files)
      case 'big':
        execFileSync('dd', ['if=/dev/urandom', `of=${first}/big`, 'bs=1M', `count=${this.sizes.bigMiB}`], {
          stdio: 'ignore',
        })
        return
      case 'huge':
        return makeHuge(first, this.sizes.huge)
      case 'toolchain':
        return copyToolchain(first)
    }
  }
}

/** `directories` base first. */
async function addImage(store: Store, directories: readonly string[], reference: string): Promise<void> {
  const writer = await ImageWriter.open(store)
  try {
    const layers = []
    for (const directory of directories) {
      const tar = spawn('tar', ['-C', directory, '--sort=name', '-cf', '-', '.'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      layers.push(await writer.addTree(await writer.readArchive(tar.stdout), { compression: 'none' }))
    }
    await writer.addImage({ os: 'linux', architecture: 'amd64' }, layers, [`docker.io/${reference}`])
  } finally {
    writer.close()
  }
}

/** Deals the host's files out to three layers; a tenth of the second and third layer covers names of the first. */
function copyRoot(layers: readonly string[], entries: number): void {
  const lists: string[][] = [[], [], []]
  let count = 0
  const take = (path: string): void => {
    if (count >= entries) return
    const st = lstatSync(path, { throwIfNoEntry: false })
    if (st === undefined || (!st.isFile() && !st.isDirectory() && !st.isSymbolicLink())) return
    if (st.isFile() && st.size > 1 << 20) return
    const layer = count % 20 === 1 ? 1 : count % 20 === 2 ? 0 : 2
    lists[layer]?.push(path.slice(1))
    if (layer !== 2 && count % 200 < 3) lists[2]?.push(path.slice(1))
    count++
    if (st.isDirectory()) for (const name of readdirSync(path)) take(join(path, name))
  }
  for (const origin of origins) if (existsSync(origin)) take(origin)
  layers.forEach((layer, i) => {
    const list = (lists[i] ?? []).join('\0')
    execFileSync(
      'sh',
      ['-c', `tar -C / --null --no-recursion --hard-dereference -T - -cf - | tar -xpf - -C "$0"`, layer],
      { input: list, stdio: ['pipe', 'ignore', 'ignore'] },
    )
  })
}

function makeFlat(directory: string, files: number): void {
  mkdirSync(directory)
  for (let i = 0; i < files; i++)
    writeFileSync(join(directory, `f${String(i).padStart(6, '0')}`), `file ${i}\n`.repeat(20))
}

function makeHuge(directory: string, files: number): void {
  const perDirectory = 250
  for (let d = 0; d * perDirectory < files; d++) {
    const sub = join(directory, `group${d % 20}`, `directory${d}`)
    mkdirSync(sub, { recursive: true })
    for (let i = 0; i < perDirectory; i++) writeFileSync(join(sub, `file${i}`), '')
  }
}

/** gcc and its programs, the libraries that they load, its own files and the C library's; nothing without a gcc. */
function copyToolchain(directory: string): void {
  mkdirSync(join(directory, 'tmp'))
  if (!existsSync('/usr/bin/gcc')) return
  const ask = (...args: string[]): string => execFileSync('gcc', args, { encoding: 'utf8' }).trim()
  const programs = ['cc1', 'as', 'collect2', 'ld'].map(name => {
    const said = ask(`-print-prog-name=${name}`)
    return said.startsWith('/') ? said : execFileSync('which', [said], { encoding: 'utf8' }).trim()
  })
  const libraries = ['/usr/bin/gcc', ...programs].flatMap(program =>
    [...execFileSync('ldd', [program], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g)].map(match => match[1] ?? ''),
  )
  const copy = (path: string): void => {
    const target = join(directory, path)
    if (existsSync(target)) return
    mkdirSync(dirname(target), { recursive: true })
    cpSync(realpathSync(path), target)
  }
  for (const path of ['/usr/bin/gcc', ...programs, ...libraries]) copy(path)
  const own = dirname(realpathSync(ask('-print-libgcc-file-name')))
  for (const name of readdirSync(own)) if (/\.(o|spec|so)$/.test(name)) copy(join(own, name))
  // As the sources are compiled: with optimisation the headers include others.
  const made = execFileSync('gcc', ['-O1', '-M', '-x', 'c', '-'], { encoding: 'utf8', input: INCLUDES })
  for (const path of made.split(/[\s\\]+/)) if (path.startsWith('/')) copy(path)
}

function makeSources(base: string, count: number): string {
  const tree = join(base, 'source')
  const tar = join(base, 'source.tar')
  if (existsSync(tar)) return tar
  for (let i = 0; i < count; i++) {
    const dir = join(tree, `module${i % 40}`, `part${i % 7}`)
    mkdirSync(dir, { recursive: true })
    const body = Array.from({ length: 40 + (i % 60) }, (_, k) => `int f${i}_${k}(int x) { return x * ${k} + ${i}; }`)
    writeFileSync(join(dir, `file${i}.c`), `${INCLUDES}${body.join('\n')}\n`)
  }
  execFileSync('tar', ['-C', base, '-cf', tar, 'source'])
  return tar
}

function makePackages(base: string, count: number): string[] {
  if (!existsSync('/usr/bin/dpkg-deb')) return []
  const debs: string[] = []
  for (let i = 0; i < count; i++) {
    const deb = join(base, 'packages', `p${i}.deb`)
    debs.push(deb)
    if (existsSync(deb)) continue
    const tree = join(base, 'packages', `p${i}`)
    mkdirSync(join(tree, 'DEBIAN'), { recursive: true, mode: 0o755 })
    writeFileSync(
      join(tree, 'DEBIAN', 'control'),
      `Package: bench-p${i}\nVersion: 1\nArchitecture: all\nMaintainer: none <none@localhost>\nDescription: measured\n`,
    )
    for (let k = 0; k < 60; k++) {
      const dir = join(tree, 'usr', 'share', `bench-p${i}`, `d${k % 6}`)
      mkdirSync(dir, { recursive: true, mode: 0o755 })
      writeFileSync(join(dir, `f${k}`), `${i} ${k}\n`.repeat(50 * (k % 9)))
    }
    execFileSync('dpkg-deb', ['--root-owner-group', '-Znone', '-b', tree, deb], { stdio: 'ignore' })
  }
  return debs
}
