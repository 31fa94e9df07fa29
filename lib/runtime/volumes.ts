/**
 * Owns named and anonymous volumes: `<root>/volumes/<name>/` with `volume.json` and the data in `data/`.
 * Invariant: a name never leads out of that directory (checkName), and a new volume is filled from the image before
 * anybody sees it, or not at all (temporary name, rename).
 */
import { spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { O } from '../sys/constants.js'
import { locked, readJson, writeJson } from './atomic.js'
import type { ContainerMount } from './config.js'
import { RuntimeError } from './error.js'
import { checkName } from './names.js'
import { openInRoot } from './read-in-root.js'
import { removeTree } from './remove-tree.js'

export interface Volume {
  name: string
  created: string
  labels: Record<string, string>
  /** Made for one container; goes with it (rm -v, --rm). */
  anonymous: boolean
}

const directoryOf = (root: string, name: string): string => join(root, 'volumes', checkName('volume', name))

export function volumeData(root: string, name: string): string {
  return join(directoryOf(root, name), 'data')
}

export function listVolumes(root: string): Volume[] {
  const directory = join(root, 'volumes')
  if (!existsSync(directory)) return []
  return readdirSync(directory)
    .flatMap(name => readJson<Volume>(join(directory, name, 'volume.json')) ?? [])
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Makes a volume unless it is there. */
export function createVolume(
  root: string,
  name: string,
  labels: Record<string, string> = {},
  anonymous = false,
): Volume {
  const directory = directoryOf(root, name)
  const known = readJson<Volume>(join(directory, 'volume.json'))
  if (known !== undefined) return known
  const volume = { name, created: new Date().toISOString(), labels, anonymous }
  mkdirSync(join(directory, 'data'), { recursive: true, mode: 0o755 })
  writeJson(join(directory, 'volume.json'), volume)
  return volume
}

/**
 * Removes the data, then the volume from the list: what could not be removed is still on it. Whether a container uses it is
 * the caller's to ask. Throws NO_SUCH_VOLUME, FsError.
 */
export function removeVolume(root: string, name: string): void {
  const directory = directoryOf(root, name)
  if (!existsSync(directory)) throw new RuntimeError('NO_SUCH_VOLUME', `no such volume: ${name}`)
  removeTree(volumeData(root, name))
  removeTree(directory)
}

/**
 * The host directory of a volume mount, made if need be. An empty volume gets content, owner and mode of the directory
 * that the tree at `rootFd` has at the destination.
 */
export function openVolume(root: string, m: ContainerMount, rootFd: number): Promise<string> {
  return locked(join(root, 'volumes', '.lock'), async () => {
    const anonymous = /^[0-9a-f]{64}$/.test(m.source)
    createVolume(root, m.source, {}, anonymous)
    const data = volumeData(root, m.source)
    if (m.copyUp === false || readdirSync(data).length > 0) return data
    const from = await openInRoot(rootFd, m.destination, O.RDONLY | O.DIRECTORY)
    if (from === undefined) return data
    const fresh = `${data}.new`
    try {
      removeTree(fresh)
      mkdirSync(fresh)
      await copyTree(from, fresh)
      const st = fstatSync(from)
      chownSync(fresh, st.uid, st.gid)
      chmodSync(fresh, st.mode & 0o7777)
      rmSync(data, { recursive: true })
      renameSync(fresh, data)
    } finally {
      closeSync(from)
    }
    return data
  })
}

/** Copies what is in the open directory `from` with everything cp(1) can keep. */
function copyTree(from: number, to: string): Promise<void> {
  return new Promise((resolve, reject) => {
    // Given as fd 3, so that no path of the image is resolved again.
    const child = spawn('cp', ['-a', '--', '/proc/self/fd/3/.', to], { stdio: ['ignore', 'ignore', 'pipe', from] })
    let said = ''
    child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')))
    child.on('error', reject)
    child.on('close', code => {
      if (code === 0) resolve()
      else
        reject(
          new RuntimeError('START_FAILED', `volume: copying the image's files: ${said.trim().split('\n')[0] ?? ''}`),
        )
    })
  })
}
