/** Owns `lamina layers --json`: the whole account of an image, with every path of every layer. */
import { analyse, duplicates, type PathEvent, storeAccount } from '../diff/analysis.js'
import { isRegular } from '../diff/change.js'
import { attributesJson, nameJson, typeName } from './describe-change.js'
import type { Layered } from './layered.js'

/** `name`: as the user gave it. Throws FsError. */
export function layersJson(name: string, { image, layers: base, about }: Layered): unknown {
  const files: unknown[][] = base.map(() => [])
  const each = ({ layer, kind, implied, path, node, from, attributes }: PathEvent): void => {
    const unit = node.unit ?? node
    const digest = attributes !== undefined && isRegular(attributes) ? base[unit.layer]?.digest?.(unit.at) : undefined
    files[layer]?.push({
      kind,
      ...nameJson('path', path),
      ...(attributes === undefined ? { type: typeName(node.mode) } : attributesJson(attributes)),
      ...(digest === undefined ? {} : { sha256: digest }),
      ...(kind === 'added' ? {} : { from }),
      ...(implied ? { implied } : {}),
    })
  }
  const analysis = analyse(base, each)
  const { totalBytes, wastedBytes, userBytes, efficiency } = analysis
  const objects = storeAccount(analysis, base)
  return {
    image: image?.names[0] ?? image?.id ?? name,
    ...(image === undefined ? {} : { id: image.id }),
    totalBytes,
    wastedBytes,
    userBytes,
    efficiency,
    ...(objects === undefined ? {} : { storeBytes: objects.bytes, storeWastedBytes: objects.wastedBytes }),
    layers: analysis.layers.map((account, i) => ({
      index: i,
      ...(image === undefined
        ? { id: about[i]?.id }
        : { diffID: image.layers[i]?.diffID, digest: image.layers[i]?.digest, blobSize: image.layers[i]?.size }),
      instruction: about[i]?.instruction ?? '',
      ...account,
      efficiency: account.bytes === 0 ? 1 : account.visibleBytes / account.bytes,
      entries: files[i],
    })),
    wasted: analysis.waste.map(({ path, bytes, layer, by, how }) => ({
      ...nameJson('path', path),
      bytes,
      layer,
      by,
      how,
    })),
    duplicates: duplicates(analysis, base).map(({ digest, bytes, copies, paths }) => ({
      sha256: digest,
      bytes,
      copies,
      paths: paths.map(p => nameJson('path', p)),
    })),
  }
}
