/**
 * Owns `IMAGE@STEP`: an image as it was after a step of its history, stored as an image of its own.
 * Invariant: the image it comes from stays; a name is only moved when it is asked for.
 */
import type { ImageConfig } from '../build/store.js'
import type { Digest } from '../digest.js'

/** `web:1@4` taken apart; undefined for what is no such form (a digest after `@` is none). */
export function parseStep(text: string): { image: string; step: number } | undefined {
  const match = /^(.+)@(\d{1,6})$/.exec(text)
  return match ? { image: match[1]!, step: Number(match[2]) } : undefined
}

/** Stores the state after `step` under `name` (undefined: no name). Returns its ID (config digest). */
export async function tagStep(root: string, image: string, step: number, name: string | undefined): Promise<Digest> {
  const [{ Store }, { resolveImage }, { ImageStore }, { imageAt, readSteps, saveSteps }] = await Promise.all([
    import('../image/store.js'),
    import('../image/images.js'),
    import('../build/image-store.js'),
    import('../build/steps.js'),
  ])
  const store = Store.open(root)
  const images = await ImageStore.open(store, async reference => resolveImage(store, reference))
  try {
    const from = resolveImage(store, image)
    const steps = readSteps(images.state, from.id)
    const config = imageAt(from.config as unknown as ImageConfig, step, steps)
    const { config: id } = await images.addImage(config, name === undefined ? [] : [name])
    if (steps) saveSteps(images.state, id, steps.slice(0, step))
    return id
  } finally {
    images.close()
  }
}
