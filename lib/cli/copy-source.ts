/**
 * Owns where `lamina cp` copies from: a path inside an image, container, layer or archive, a path of this machine, or a tar
 * on standard input; each as an entry of a tree that is read without mounting anything.
 */
import { basename, dirname, join, resolve } from 'node:path'
import { bytesOf } from '../bytes.js'
import { type Entry, MergedTree } from '../diff/merged.js'
import { findEntry } from './inside.js'
import { UsageError } from './command.js'
import type { Operand, Operands } from './operand.js'

export interface CopySource {
  readonly tree: MergedTree
  readonly entry: Entry
  /** Byte string: the name it has in a directory. */
  readonly name: string
  /** `PATH/.`: what is in the directory. */
  readonly inside: boolean
  /** What it was found in. */
  readonly operand: Operand
}

/** `NAME:PATH`. Throws what opening throws, and FsError ENOENT. */
export async function sourceInside(
  operands: Operands,
  typed: string,
  { name, path }: { readonly name: string; readonly path: string },
  follow: boolean,
): Promise<CopySource> {
  const operand = await operands.open(name)
  const tree = new MergedTree(operand.layers)
  const inside = path.endsWith('/.')
  const entry = findEntry(tree, path, typed, follow || inside || path.endsWith('/'))
  const last = entry.path === '/' ? 'rootfs' : entry.path.slice(entry.path.lastIndexOf('/') + 1)
  return { tree, entry, name: last, inside, operand }
}

/** A path of this machine. Throws FsError. */
export async function sourceHere(operands: Operands, typed: string, follow: boolean): Promise<CopySource> {
  const path = resolve(typed)
  const inside = /(^|\/)\.$/.test(typed)
  const operand = await operands.open(`dir:${inside ? path : dirname(path)}`)
  const tree = new MergedTree(operand.layers)
  const name = bytesOf(basename(path))
  const entry = findEntry(tree, inside ? '/' : `/${basename(path)}`, typed, follow || typed.endsWith('/'))
  return { tree, entry, name, inside, operand }
}

/**
 * A tar (plain, gzip or zstd): what is in it. It is read as a layer, so a name that leads out of it is refused, and so is
 * one that begins with `.wh.`. Throws TarError, UsageError.
 */
export async function sourceOfTar(operands: Operands, tar: AsyncIterable<Buffer>): Promise<CopySource> {
  const [{ Store }, { importRootfs }, { analyse }] = await Promise.all([
    import('../image/store.js'),
    import('../image/import-rootfs.js'),
    import('../diff/analysis.js'),
  ])
  const directory = join((await operands.scratch()).path, 'tar')
  const store = Store.open(directory)
  const image = await importRootfs(store, tar)
  const layers = await operands.stack(
    image.layers.map(l => l.diffID),
    store,
  )
  const [account] = analyse(layers).layers
  if (account !== undefined && account.whiteouts + account.opaques > 0)
    throw new UsageError("-: a name in the tar begins with .wh., which means 'deleted' in layers")
  const tree = new MergedTree(layers)
  const entry = findEntry(tree, '/', '-')
  return { tree, entry, name: '', inside: true, operand: { kind: 'image', name: '-', image, layers, base: [] } }
}
