/**
 * Owns the way of a step past the cache: found, or made and remembered; with `--explain`, why it was not found.
 * Invariant: the record is written after the layer is in the store, so that a kill in between costs a step, not the cache.
 */
import { now } from '../clock.js'
import { type Inputs } from './cache.js'
import type { Outcome, StepContext } from './step.js'
import type { StoredLayer } from './store.js'

/** `make` returns the layer, or undefined when nothing changed. `files` are told to `--explain` (lines of selection.ts). */
export async function cachedLayer(
  context: StepContext,
  key: string,
  inputs: Inputs,
  make: () => Promise<StoredLayer | undefined>,
  files?: () => readonly string[],
): Promise<Pick<Outcome, 'layer' | 'created' | 'cached'>> {
  const { session, step, place } = context
  let cached = true
  const record = await session.once(key, async () => {
    const known = session.options.noCache ? undefined : session.cache.find(key)
    if (known) {
      session.cache.touch(key)
      return known
    }
    cached = false
    const lines = files?.()
    if (session.options.explain) {
      const { nearest, differences } = session.cache.explain(inputs, place, lines)
      session.teller.tell({ type: 'miss', step, nearest: nearest?.place, differences })
    }
    const began = now()
    const layer = await make()
    const made = {
      version: 1 as const,
      key,
      inputs,
      layer: layer ? { diffID: layer.diffID, size: layer.size } : null,
      created: session.now(),
      place,
      text: String(inputs['kind']),
      milliseconds: Math.round(now() - began),
    }
    if (layer) await session.store.keep(key, layer.diffID)
    session.cache.put(made, lines)
    return made
  })
  return { layer: record.layer ?? undefined, created: record.created, cached }
}
