/**
 * Owns serving a mount in this thread, from description to end: check, open the layers, mount, register, answer requests
 * until the kernel says the mount is gone, take it off the list. The thread serves nothing else; its event loop turns
 * when a signal comes or a helper thread ends.
 * Invariant: the caller's working directory must not be in the mount, and nothing here touches the mount once it is made.
 */
import { readdirSync, readlinkSync, writeSync } from 'node:fs'
import { bytesOf } from '../bytes.js'
import { mountDevice, raiseReadAhead, type Detached } from '../fuse/mount.js'
import { treeOfAsync } from '../fuse/tree.js'
import { AT } from '../sys/constants.js'
import { close } from '../sys/file.js'
import { checkMount } from './check.js'
import { begin, connect, put } from './connect.js'
import { createCounters } from './counters.js'
import { overlayOf } from './driver.js'
import type { Overlay } from './overlay.js'
import { deregister, register, reserve, startTimeOf, type MountRecord } from './registry.js'
import { optimizeLater } from '../resident.js'
import type { MountSpec } from './spec.js'
import { openStack, type Stack } from './stack.js'
import type { UnmountOrder } from './unmount-worker.js'

export interface ServeRequest {
  readonly spec: MountSpec
  /** Absolute. */
  readonly mountpoint: string
  readonly runRoot: string
  /** Of the process's standard error, for the record. */
  readonly log?: string
  /** Names the record; a new one is made up otherwise. */
  readonly id?: string
}

/** Serves until the mount is gone. `onReady` runs when the mount answers. Throws MountError before that. */
export async function serve(
  request: ServeRequest,
  onReady: (record: MountRecord) => void,
  log: (message: string) => void,
): Promise<void> {
  const { spec, mountpoint, runRoot } = request
  checkMount(spec, mountpoint)
  const reserved = reserve(runRoot)
  const overlay = await overlayOf(spec)
  const closing = (error: unknown): never => {
    overlay?.close()
    throw error
  }
  const served = overlay?.served ?? spec
  const stack = overlay?.gone === undefined ? await openStack(served).catch(closing) : undefined
  const id = request.id ?? reserved.id
  const stats = reserved.stats.replace(reserved.id, id)
  const ready = (passthrough: boolean): void => {
    const record: MountRecord = {
      id,
      pid: process.pid,
      startTime: startTimeOf(process.pid) ?? 0,
      mountpoint,
      spec,
      since: new Date().toISOString(),
      log: request.log ?? '',
      stats,
      passthrough,
    }
    register(runRoot, record)
    onReady(record)
    if (stack !== undefined) optimizeLater()
  }
  let asked = 0
  const stop = (): void => {
    asked++
    // Not here: the kernel writes its caches back to this thread before umount(2) returns.
    const { Worker } = process.getBuiltinModule('node:worker_threads')
    const workerData: UnmountOrder = { mountpoint, force: asked > 1 }
    const worker = new Worker(new URL('./unmount-worker.cjs', import.meta.url), { workerData })
    worker.on('error', error => log(`unmount ${mountpoint}: ${error.message}`))
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  process.on('SIGHUP', ignore)
  try {
    if (overlay?.gone !== undefined) {
      put(await overlay.mount(), mountpoint)
      ready(true)
      await overlay.gone
    } else if (stack !== undefined) {
      if (spec.transport === 'fuse-native') {
        const { serveNative } = await import('./serve-native.js')
        await serveNative(request, stack, () => ready(false), log)
      } else await serveDirect(served, mountpoint, overlay, stack, stats, ready, log)
    }
  } finally {
    overlay?.close()
    process.off('SIGTERM', stop)
    process.off('SIGINT', stop)
    process.off('SIGHUP', ignore)
    deregister(runRoot, id)
  }
}

/**
 * Serves until the mount is gone, with `/` as its directory, then ends the process. `ready` runs when the mount answers; what
 * comes later is told to `say`. Throws MountError before that.
 */
export async function serveToEnd(
  request: ServeRequest,
  ready: (record: MountRecord) => void,
  say: (message: string) => void,
): Promise<never> {
  let answered = false as boolean
  process.chdir('/')
  process.title = 'lamina-serve'
  try {
    await serve(
      request,
      record => {
        answered = true
        ready(record)
      },
      say,
    )
  } catch (error) {
    if (!answered) throw error
    say(error instanceof Error ? (error.stack ?? error.message) : String(error))
    process.exit(1)
  }
  // fuse-native leaves handles open that would keep the process alive.
  process.exit()
}

/** A line of a server's log. */
export function logTo(fd: number): (message: string) => void {
  return message => void writeSync(fd, `${new Date().toISOString()} ${message}\n`)
}

async function serveDirect(
  spec: MountSpec,
  mountpoint: string,
  overlay: Overlay | undefined,
  stack: Stack,
  stats: string,
  ready: (passthrough: boolean) => void,
  log: (message: string) => void,
): Promise<void> {
  let begun: Detached
  try {
    begun = begin(spec, overlay === undefined ? mountpoint : undefined)
  } catch (error) {
    stack.filesystem.destroy()
    throw error
  }
  const { fd, mountFd } = begun
  const device = mountFd >= 0 ? mountDevice(mountFd, '') : mountDevice(AT.FDCWD, bytesOf(mountpoint))
  let failure: Error | undefined
  const session = connect({
    spec,
    stack,
    fd,
    log,
    counters: createCounters(stats),
    wakeFds: eventLoopFds(),
    tree: mountFd >= 0,
    onReady: () => {
      if (device > 0) raiseReadAhead(device)
      if (mountFd < 0) ready(session.passthrough)
    },
  })
  const finish = async (tree: number): Promise<void> => {
    if (tree >= 0) close(mountFd)
    const own = tree >= 0 ? tree : mountFd
    put(overlay === undefined ? own : await overlay.mount(own), mountpoint)
    ready(session.passthrough || overlay !== undefined)
  }
  if (mountFd >= 0)
    treeOfAsync(mountFd, tree => {
      finish(tree).catch((error: unknown) => {
        // The mount is gone with that, so the session ends.
        failure = error instanceof Error ? error : new Error(String(error))
      })
    })
  // The first turn is what puts the signal handlers of `serve` into the event loop's epoll set.
  do await new Promise(resolve => setImmediate(resolve))
  while (session.run() !== 'ended')
  await session.close()
  if (failure !== undefined) throw failure
}

function ignore(): void {
  // A server outlives the terminal it was started from.
}

/**
 * The event loop's own epoll fds: the serving loop polls them beside the device, so that it gives way when a signal or a
 * helper thread has something for the event loop.
 */
function eventLoopFds(): number[] {
  const found: number[] = []
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${name}`) === 'anon_inode:[eventpoll]') found.push(Number(name))
    } catch {
      // The fd of the listing itself, closed by now.
    }
  }
  return found
}
