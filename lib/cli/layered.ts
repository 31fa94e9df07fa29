/**
 * Owns what `layers`, `explore` and `ci` look at: an operand as a stack of layers, each with what made it. A container's
 * changes are the last layer, as `commit` would store them; a directory is one layer.
 */
import type { DiffID } from '../digest.js'
import type { StoredImage } from '../image/images.js'
import type { Layer } from '../layer/layer.js'
import { instructionsOf, type Operand, type Operands } from './operand.js'

export interface Layered {
  readonly operand: Operand
  /** The image that all of it is, when it is one. */
  readonly image: StoredImage | undefined
  /** Base first. */
  readonly layers: readonly Layer[]
  /** Alike in order. `id`: the layer's diffID, a container's ID; '' for a directory. */
  readonly about: readonly { readonly instruction: string; readonly id: string }[]
}

/** Throws what opening the operand throws. The layers are open until `operands` is closed. */
export async function openLayered(operands: Operands, text: string): Promise<Layered> {
  const operand = await operands.open(text)
  const base = [...operand.layers].reverse()
  switch (operand.kind) {
    case 'image': {
      const { image } = operand
      return { operand, image, layers: base, about: aboutOf(image) }
    }
    case 'layer': {
      const { image, diffID } = operand
      const about = image === undefined ? [{ instruction: '', id: diffID }] : aboutOf(image)
      return { operand, image: undefined, layers: base, about: about.slice(0, base.length) }
    }
    case 'directory':
      return { operand, image: undefined, layers: base, about: [{ instruction: operand.path, id: '' }] }
    case 'container': {
      const [{ ChangeLayer }, { MergedTree }] = await Promise.all([
        import('../diff/change-layer.js'),
        import('../diff/merged.js'),
      ])
      const { config, id } = operand.container
      const changes = new ChangeLayer(new MergedTree(operand.base), new MergedTree(operand.layers))
      const own = { instruction: `container ${config.name}`, id }
      if (config.root.kind === 'directory') {
        const { path } = config.root
        return {
          operand,
          image: undefined,
          layers: [...[...operand.base].reverse(), changes],
          about: [{ instruction: path, id: '' }, own],
        }
      }
      const diffIDs = config.root.layers as DiffID[]
      const below = (await operands.stack(diffIDs)).reverse()
      const image = await imageOf(operands, config.root.id)
      const about = image === undefined ? diffIDs.map(diffID => ({ instruction: '', id: diffID })) : aboutOf(image)
      return { operand, image: undefined, layers: [...below, changes], about: [...about, own] }
    }
  }
}

function aboutOf(image: StoredImage): Layered['about'] {
  const instructions = instructionsOf(image)
  return image.layers.map(({ diffID }, i) => ({ instruction: instructions[i] ?? '', id: diffID }))
}

/** The image by its ID, or undefined when it is gone while a container still has its layers. */
async function imageOf(operands: Operands, id: string): Promise<StoredImage | undefined> {
  try {
    return (await operands.image(id)).image
  } catch (error) {
    if ((error as { code?: unknown }).code === 'IMAGE_NOT_FOUND') return undefined
    throw error
  }
}
