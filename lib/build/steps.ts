/**
 * Owns what is remembered of each step of a built image: the configuration and layers after it. `history` shows it,
 * `IMAGE@STEP` and `rollback` go back to it.
 * Format: `<state>/steps/<config digest>.json`, a list of StepRecord, oldest first; step numbers count from 1.
 * Invariant: the records belong to the image config of that digest and to no other.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { hexOf, type Digest } from '../digest.js'
import { writeAtomically } from './atomic.js'
import { BuildError } from './error.js'
import type { StepRecord } from './session.js'
import type { ContainerConfig, HistoryEntry, ImageConfig } from './store.js'

function fileOf(state: string, config: Digest): string {
  return join(state, 'steps', `${hexOf(config)}.json`)
}

export function saveSteps(state: string, config: Digest, steps: readonly StepRecord[]): void {
  writeAtomically(fileOf(state, config), `${JSON.stringify(steps)}\n`)
}

export function readSteps(state: string, config: Digest): readonly StepRecord[] | undefined {
  try {
    return JSON.parse(readFileSync(fileOf(state, config), 'utf8')) as StepRecord[]
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new BuildError('STORE', `read the steps of ${config}: ${(error as Error).message}`, { cause: error })
  }
}

/**
 * The image config as it was after `step` (1 is the oldest line of the history). Where the steps are not known (an image
 * that was pulled), layers and history are cut and the configuration stays the final one. Throws BuildError STAGE.
 */
export function imageAt(image: ImageConfig, step: number, steps: readonly StepRecord[] | undefined): ImageConfig {
  const history: HistoryEntry[] = image.history ?? []
  if (!Number.isInteger(step) || step < 1 || step > history.length)
    throw new BuildError('STAGE', `there is no step ${step}: the image has ${history.length}`)
  const kept = history.slice(0, step)
  const layers = kept.filter(entry => !entry.empty_layer).length
  const config: ContainerConfig | undefined = steps?.[step - 1]?.config ?? image.config
  const created = kept.findLast(entry => entry.created !== undefined)?.created
  return {
    ...image,
    ...(created === undefined ? {} : { created }),
    ...(config === undefined ? {} : { config }),
    history: kept,
    rootfs: { type: 'layers', diff_ids: image.rootfs.diff_ids.slice(0, layers) },
  }
}
