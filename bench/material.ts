/**
 * Owns what is measured on: lowers made once per run, from this machine's own files and from a fixed seed.
 * - `root`: three layers like a small system (about 15,000 entries), of names, sizes and depths as this host has them;
 * - `flat`: one directory of 20,000 small files; `big`: one large file;
 * - `source.tar`: a source tree of small text files; `debs`: 48 packages.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Sizes {
  readonly entries: number
  readonly files: number
  readonly bigMiB: number
  readonly sources: number
  readonly packages: number
}

export const fullSizes: Sizes = { entries: 15_000, files: 20_000, bigMiB: 512, sources: 1500, packages: 48 }
export const quickSizes: Sizes = { entries: 5000, files: 4000, bigMiB: 128, sources: 400, packages: 8 }

export interface Material {
  /** Topmost first. */
  readonly root: readonly string[]
  readonly flat: string
  readonly big: string
  readonly sourceTar: string
  readonly debs: readonly string[]
  readonly sizes: Sizes
}

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

export function makeMaterial(base: string, sizes: Sizes): Material {
  const dir = (name: string): string => {
    const path = join(base, name)
    mkdirSync(path, { recursive: true })
    return path
  }
  const layers = ['root2', 'root1', 'root0'].map(dir)
  copyRoot(layers, sizes.entries)
  const flat = dir('flat')
  mkdirSync(join(flat, 'flat'))
  for (let i = 0; i < sizes.files; i++)
    writeFileSync(join(flat, 'flat', `f${String(i).padStart(6, '0')}`), `file ${i}\n`.repeat(20))
  const big = dir('big')
  execFileSync('dd', ['if=/dev/urandom', `of=${big}/big`, 'bs=1M', `count=${sizes.bigMiB}`], { stdio: 'ignore' })
  return {
    root: layers,
    flat,
    big,
    sourceTar: makeSources(base, sizes.sources),
    debs: makePackages(base, sizes.packages),
    sizes,
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
      {
        input: list,
        stdio: ['pipe', 'ignore', 'ignore'],
      },
    )
  })
}

function makeSources(base: string, count: number): string {
  const tree = join(base, 'source')
  for (let i = 0; i < count; i++) {
    const dir = join(tree, `module${i % 40}`, `part${i % 7}`)
    mkdirSync(dir, { recursive: true })
    const body = Array.from({ length: 40 + (i % 60) }, (_, k) => `int f${i}_${k}(int x) { return x * ${k} + ${i}; }`)
    writeFileSync(join(dir, `file${i}.c`), `${body.join('\n')}\n`)
  }
  const tar = join(base, 'source.tar')
  execFileSync('tar', ['-C', base, '-cf', tar, 'source'])
  return tar
}

function makePackages(base: string, count: number): string[] {
  if (!existsSync('/usr/bin/dpkg-deb')) return []
  const debs: string[] = []
  for (let i = 0; i < count; i++) {
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
    const deb = join(base, 'packages', `p${i}.deb`)
    execFileSync('dpkg-deb', ['--root-owner-group', '-Znone', '-b', tree, deb], { stdio: 'ignore' })
    debs.push(deb)
  }
  return debs
}
