/** Owns an image's history: the config's steps joined with the layers they made, newest first (as `docker history`). */
import type { DiffID, Digest } from '../digest.js'
import { layerRecord } from './layer-record.js'
import type { StoredImage } from './images.js'
import type { Store } from './store.js'

export interface HistoryStep {
  /** The image's ID for its newest step; earlier steps are no images of their own here. */
  readonly id: Digest | undefined
  readonly created: string | undefined
  readonly createdBy: string
  readonly comment: string
  /** Bytes of the files in its layer; 0 for a step without one. */
  readonly size: number
  readonly layer: DiffID | undefined
}

/** Steps, newest first. Layers that the history does not speak of come as steps of their own. */
export function imageHistory(store: Store, image: StoredImage): HistoryStep[] {
  const entries = image.config.history ?? []
  const told = entries.filter(e => e.empty_layer !== true).length
  const steps: HistoryStep[] = []
  let next = 0
  const layerStep = (entry: (typeof entries)[number] | undefined): void => {
    const layer = entry?.empty_layer === true ? undefined : image.layers[next]
    if (layer !== undefined) next++
    steps.push({
      id: undefined,
      created: entry?.created,
      createdBy: entry?.created_by ?? '',
      comment: entry?.comment ?? '',
      size: layer === undefined ? 0 : (layerRecord(store, layer.digest)?.bytes ?? layer.size),
      layer: layer?.diffID,
    })
  }
  for (let i = told; i < image.layers.length; i++) layerStep(undefined)
  for (const entry of entries) layerStep(entry)
  steps.reverse()
  return steps.map((step, i) => (i === 0 ? { ...step, id: image.id } : step))
}
