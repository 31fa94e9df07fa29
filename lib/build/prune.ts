/**
 * Owns forgetting the build cache: its records, the pins that keep their layers, and, when everything is to go, what
 * cache mounts hold. The layers themselves go with the store's next gc, as far as no image needs them.
 */
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { livePins, unpin } from '../image/pin.js'
import type { Store } from '../image/store.js'

/** Returns how many steps were forgotten. `mounts`: cache mounts too. Throws Node's errors. */
export async function pruneBuildCache(store: Store, mounts: boolean): Promise<number> {
  const state = join(store.root, 'build')
  const lock = await store.lock('exclusive')
  try {
    const records = list(join(state, 'cache')).filter(name => name.endsWith('.json'))
    rmSync(join(state, 'cache'), { recursive: true, force: true })
    rmSync(join(state, 'contexts'), { recursive: true, force: true })
    if (mounts) rmSync(join(state, 'mounts'), { recursive: true, force: true })
    for (const pin of livePins(store)) if (/^build-[0-9a-f]{64}$/.test(pin.name)) unpin(store, pin.name)
    return records.length
  } finally {
    lock.release()
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
