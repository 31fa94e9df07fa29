/**
 * Owns a mount served by a thread of this process: for those who have other things to do meanwhile, such as supervising a
 * container. The thread opens the layers and runs the session; this side makes the mount, and reads the counters.
 * Known deadlock: the thread that called `start` may touch the mount only where it does not wait for itself; a process
 * that serves its own root or working directory cannot be helped.
 * Invariant: after `start` has thrown, nothing is mounted, locked or running.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { bytesOf } from '../bytes.js'
import { mountDevice, raiseReadAhead, unmount } from '../fuse/mount.js'
import { treeOf } from '../fuse/tree.js'
import { createWake } from '../fuse/wake.js'
import { AT } from '../sys/constants.js'
import { close } from '../sys/file.js'
import { checkMount } from './check.js'
import { begin, put } from './connect.js'
import { sharedCounters, statsOf, type Stats } from './counters.js'
import { failureFrom, MountError } from './failure.js'
import { overlayOf } from './driver.js'
import type { Overlay } from './overlay.js'
import type { FromServeWorker, ServeWorkerData, ToServeWorker } from './serve-worker.js'
import type { MountSpec } from './spec.js'

export interface ServerOptions {
  /** Takes the lines that the server logs; standard error by default. */
  readonly log?: (line: string) => void
}

export class MountServer {
  /** Resolved when the mount is gone and everything is closed; the upper is free then. Never rejects. */
  readonly ended: Promise<void>
  /** The kernel reads and writes the files itself. */
  readonly passthrough: boolean
  /** Where it is mounted; undefined for a detached mount. */
  readonly mountpoint: string | undefined
  /**
   * The detached mount's fd, for move_mount (MOVE_MOUNT_F_EMPTY_PATH) or open_tree; the caller closes it. The mount lives
   * as long as this fd, or any place it was put.
   */
  readonly mountFd: number
  readonly #counters: Float64Array

  private constructor(fields: Fields) {
    this.ended = fields.ended
    this.passthrough = fields.passthrough
    this.mountpoint = fields.mountpoint
    this.mountFd = fields.mountFd
    this.#counters = fields.counters
  }

  /** Mounts `spec` on the directory `mountpoint` (absolute). Resolves when the mount answers. Throws MountError. */
  static async start(spec: MountSpec, mountpoint: string, options: ServerOptions = {}): Promise<MountServer> {
    return run(spec, mountpoint, options, fields => new MountServer(fields))
  }

  /** As `start`, for a mount that is in no tree yet: `mountFd` is it. */
  static async startDetached(spec: MountSpec, options: ServerOptions = {}): Promise<MountServer> {
    return run(spec, undefined, options, fields => new MountServer(fields))
  }

  /** Requests served so far. */
  stats(): Stats {
    return statsOf(this.#counters)
  }

  /**
   * Unmounts where `start` mounted; `lazy`: although in use (what is open is served on until it is closed, and `ended`
   * waits for that). 0 or `-errno` (EBUSY). A detached mount ends by closing `mountFd` and unmounting its places.
   */
  unmount(lazy = false): number {
    return this.mountpoint === undefined ? 0 : unmount(bytesOf(this.mountpoint), lazy)
  }
}

interface Fields {
  readonly ended: Promise<void>
  readonly passthrough: boolean
  readonly mountpoint: string | undefined
  readonly mountFd: number
  readonly counters: Float64Array
}

async function run(
  spec: MountSpec,
  mountpoint: string | undefined,
  options: ServerOptions,
  make: (fields: Fields) => MountServer,
): Promise<MountServer> {
  checkMount(spec, mountpoint)
  const overlay = await overlayOf(spec)
  if (overlay?.gone !== undefined) return make(await withoutServer(overlay, overlay.gone, mountpoint))
  const served = overlay?.served ?? spec
  const log = options.log ?? (line => process.stderr.write(`${line}\n`))
  const counters = sharedCounters()
  const wake = createWake()
  const workerData: ServeWorkerData = { spec: served, counters, wake }
  const worker = new Worker(new URL('./serve-worker.cjs', import.meta.url), {
    workerData,
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  })
  const replies = new Replies(worker, log)
  const ended = replies.exited.then(() => {
    close(wake.eventfd)
    overlay?.close()
  })

  let fd = -1
  let mountFd = -1
  try {
    await replies.next('opened')
    ;({ fd, mountFd } = begin(served, overlay === undefined ? mountpoint : undefined))
  } catch (error) {
    worker.postMessage('close' satisfies ToServeWorker)
    await ended
    throw error
  }
  const device = mountFd >= 0 ? mountDevice(mountFd, '') : mountDevice(AT.FDCWD, bytesOf(mountpoint ?? ''))
  worker.postMessage({ fd } satisfies ToServeWorker)
  const { passthrough } = await replies.next('ready')
  if (device > 0) raiseReadAhead(device)
  if (mountFd >= 0) {
    const tree = treeOf(mountFd)
    if (tree >= 0) {
      close(mountFd)
      mountFd = tree
    }
    try {
      if (overlay !== undefined) mountFd = await overlay.mount(mountFd)
      mountFd = placed(mountFd, mountpoint)
    } catch (error) {
      await ended
      throw error
    }
  }
  return make({ ended, passthrough: passthrough || overlay !== undefined, mountpoint, mountFd, counters })
}

/** Puts the detached mount on `mountpoint`, if there is one: then -1, else `mountFd`. Throws MountError. */
function placed(mountFd: number, mountpoint: string | undefined): number {
  if (mountpoint === undefined) return mountFd
  put(mountFd, mountpoint)
  return -1
}

/** The kernel has all it needs: there is nothing to serve, only an end to wait for. */
async function withoutServer(overlay: Overlay, gone: Promise<void>, mountpoint: string | undefined): Promise<Fields> {
  const ended = gone.then(() => overlay.close())
  try {
    const mountFd = placed(await overlay.mount(), mountpoint)
    return { ended, passthrough: true, mountpoint, mountFd, counters: sharedCounters() }
  } catch (error) {
    await ended
    throw error
  }
}

/** The worker's messages in the order of the conversation; log lines go aside. */
class Replies {
  readonly exited: Promise<unknown>
  readonly #queue: FromServeWorker[] = []
  #arrived: () => void = () => undefined
  #gone = false

  constructor(worker: Worker, log: (line: string) => void) {
    worker.on('message', (message: FromServeWorker) => {
      if (message.kind === 'log') log(message.line)
      else this.#queue.push(message)
      this.#arrived()
    })
    worker.on('error', error => {
      log(error.stack ?? error.message)
    })
    this.exited = once(worker, 'exit').then(() => {
      this.#gone = true
      this.#arrived()
    })
  }

  async next<K extends 'opened' | 'ready'>(kind: K): Promise<Extract<FromServeWorker, { kind: K }>> {
    for (;;) {
      const message = this.#queue.shift()
      if (message?.kind === 'failed') throw failureFrom(message.failure)
      if (message?.kind === kind) return message as Extract<FromServeWorker, { kind: K }>
      if (message === undefined) {
        if (this.#gone) throw new MountError('SERVER_FAILED', 'mount: the serving thread has ended')
        await new Promise<void>(resolve => (this.#arrived = resolve))
      }
    }
  }
}
