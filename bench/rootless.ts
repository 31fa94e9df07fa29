/**
 * Owns running the benchmark in a user namespace: this very program again, as root of a namespace of its own with a mount
 * namespace, where nothing of the machine's privilege is left; and the conversation with it over Node's IPC channel.
 * The ids are mapped to themselves (as root) or to the user's subordinate ids (newuidmap), so that both sides see the same
 * material. The process outside drops the machine's caches when it is asked to, if it may.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readlinkSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Sample } from './sample.js'

export type FromInside =
  | { readonly kind: 'sample'; readonly sample: Sample }
  | { readonly kind: 'drop' }
  | { readonly kind: 'failed'; readonly message: string }

/** The machine's settings belong to its root, whose id the namespace's root may have: nobody inside writes them. */
const SETTINGS = 'for d in /sys /proc/sys; do mount --rbind $d $d; mount -o remount,bind,ro $d; done;'

/** Runs the program again inside with `args`; `onSample` gets what it measures. Throws what failed there. */
export async function runInside(
  args: readonly string[],
  dropCaches: () => boolean,
  onSample: (sample: Sample) => void,
): Promise<void> {
  const asRoot = process.geteuid?.() === 0
  const unshare = asRoot ? ['--user', '--mount'] : ['--user', '--mount', '--map-root-user', '--map-auto']
  // The map is written by us, after which exec gives the program the capabilities of the namespace's root.
  const script = `read go <&4; exec sh -ec '${SETTINGS} exec "$0" "$@"' "$0" "$@"`
  const shell = ['sh', '-c', script, process.execPath, process.argv[1] ?? '', ...args]
  const child = spawn('unshare', [...unshare, ...shell], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
    cwd: '/',
  })
  let failure: string | undefined
  child.on('message', (message: FromInside) => {
    if (message.kind === 'sample') onSample(message.sample)
    else if (message.kind === 'failed') failure = message.message
    else child.send({ dropped: dropCaches() })
  })
  const ended = once(child, 'exit') as Promise<[number | null]>
  if (asRoot) {
    while (readlinkSync(`/proc/${child.pid}/ns/user`) === readlinkSync('/proc/self/ns/user')) await sleep(1)
    for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${child.pid}/${map}`, '0 0 65536\n')
  }
  const go = child.stdio[4] as NodeJS.WritableStream
  go.end('go\n')
  const [code] = await ended
  if (failure !== undefined || code !== 0) throw new Error(`in the user namespace: ${failure ?? `exit ${code}`}`)
}

/** Inside: tells the process outside. */
export function tell(message: FromInside): void {
  process.send?.(message)
}

/** Inside: has the machine's caches dropped; false where the process outside may not. */
export async function askToDrop(): Promise<boolean> {
  const answered = once(process, 'message') as Promise<[{ readonly dropped: boolean }]>
  tell({ kind: 'drop' })
  return (await answered)[0].dropped
}
