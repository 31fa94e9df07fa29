/**
 * Owns bringing a container's first process to its program, on a root, a network and a cgroup that are ready: by a birth of
 * our own, or by another OCI runtime where the container asks for one.
 * Invariant: what was opened for the start alone is closed when it returns, whatever happens.
 */
import { close } from '../sys/file.js'
import type { Cgroup } from './cgroup/cgroup.js'
import type { Container } from './containers.js'
import type { ImageMount } from './image-mounts.js'
import { launch, type Launched } from './launch.js'
import type { OciRuntime } from './oci-runtime.js'
import type { OciSpec } from './oci.js'
import { prepareMounts } from './prepare.js'
import { runtimeOf } from './runtime-of.js'
import { openPipes, openTerminal, type Stdio } from './streams.js'

export interface Ground {
  /** The detached mount that becomes the root. */
  root: number
  images: readonly ImageMount[]
  cgroup: Cgroup
  size?: { rows: number; columns: number } | undefined
}

export interface StartedProcess {
  launched: Launched
  stdio: Stdio
}

/** Throws COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE, START_FAILED, UNSUPPORTED …; then nothing runs. */
export async function startProcess(container: Container, spec: OciSpec, ground: Ground): Promise<StartedProcess> {
  // The devices are the spec's; the user's limits stand already.
  ground.cgroup.limit({ devices: spec.linux.resources?.devices ?? [] })
  const runtime = await runtimeOf(container)
  return runtime === undefined ? giveBirth(container, spec, ground) : byRuntime(runtime, container, spec, ground)
}

async function giveBirth(
  { config }: Container,
  spec: OciSpec,
  { root, images, cgroup, size }: Ground,
): Promise<StartedProcess> {
  const prepared = prepareMounts(spec, new Map(images.map(i => [i.path, i.fd])))
  const entry = { procs: [] as number[], v2: undefined as number | undefined }
  let stdio: Stdio | undefined
  try {
    Object.assign(entry, cgroup.openForBirth())
    const { uid, gid } = spec.process.user
    stdio = config.tty ? openTerminal(prepared.devpts, uid, size) : openPipes(uid, gid, config.interactive)
    let filter: Buffer | undefined
    if (spec.linux.seccomp !== undefined) {
      const { compile } = await import('./seccomp/compile.js')
      filter = compile(spec.linux.seccomp, spec.process.capabilities?.bounding ?? [])
    }
    const launched = await launch(
      spec,
      { fd: root, mounts: prepared.list, hierarchies: cgroup.hierarchies },
      {
        stdio: stdio.child,
        terminal: config.tty,
        ...(stdio.ptsNumber === undefined ? {} : { console: stdio.ptsNumber }),
        ...(filter === undefined ? {} : { filter }),
        cgroupProcs: entry.procs,
        ...(entry.v2 === undefined ? {} : { cgroupV2: entry.v2 }),
      },
    )
    return { launched, stdio }
  } catch (error) {
    stdio?.close()
    throw error
  } finally {
    stdio?.closeChild()
    for (const fd of entry.procs) close(fd)
    if (entry.v2 !== undefined) close(entry.v2)
    prepared.close()
  }
}

async function byRuntime(
  runtime: OciRuntime,
  { config }: Container,
  spec: OciSpec,
  { root, images, size }: Ground,
): Promise<StartedProcess> {
  const { uid, gid } = spec.process.user
  const { tty: terminal, interactive } = config
  try {
    const started = await runtime.create(root, images, { uid, gid, terminal, interactive, size })
    await runtime.start()
    return started
  } catch (error) {
    runtime.delete()
    throw error
  }
}
