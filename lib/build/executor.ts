/**
 * Owns the seam to whatever runs a RUN: `Executor`. The runtime fulfils it with real namespaces and a mounted union;
 * tests with a fake that writes into the upper directory.
 * Invariant: when `execute` has resolved or thrown, nothing of the command runs and nothing is mounted any more; what
 * it changed lies in `upper` in overlayfs form, and the mounts of `mounts` have left no trace there but their
 * mountpoints (which the executor removes again when it made them and they are empty).
 */
import type { DiffID } from '../digest.js'

export type ExecutionMount =
  /** A host directory or file. Not writable: read-only for the command. */
  | { readonly type: 'bind'; readonly source: string; readonly target: string; readonly writable: boolean }
  /** A directory of an image or stage (layers base first); writes, if allowed, are thrown away. */
  | {
      readonly type: 'layers'
      readonly layers: readonly DiffID[]
      /** Path inside, text, absolute; a file or a directory. */
      readonly source: string
      readonly target: string
      readonly writable: boolean
    }
  | { readonly type: 'tmpfs'; readonly target: string; readonly size: number | undefined; readonly mode?: number }
  /** A read-only file that exists in memory only. */
  | {
      readonly type: 'secret'
      readonly data: Uint8Array
      readonly target: string
      readonly mode: number
      readonly uid: number
      readonly gid: number
    }
  /** A unix socket of the host. */
  | {
      readonly type: 'socket'
      readonly source: string
      readonly target: string
      readonly mode: number
      readonly uid: number
      readonly gid: number
    }

export interface Execution {
  /** For messages and the cgroup's name: `[a-z0-9-]+`. */
  readonly id: string
  /** The filesystem the command sees, base first; may be empty (FROM scratch). */
  readonly layers: readonly DiffID[]
  /** Existing empty directories on one filesystem: absolute host paths. */
  readonly upper: string
  readonly work: string
  readonly args: readonly string[]
  readonly env: readonly string[]
  /** Absolute, in the container; made (0755, root) when it is not there. */
  readonly cwd: string
  readonly user: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] }
  readonly mounts: readonly ExecutionMount[]
  /** `default` is what `lamina run` gives without asking for a network. */
  readonly network: 'default' | 'none' | 'host'
  /** `RUN --security=insecure`, granted by `--allow`: all capabilities, no seccomp. */
  readonly insecure: boolean
  readonly addHosts: readonly string[]
  readonly shmSize: number | undefined
  /** Aborted: kill everything, resolve or throw soon. */
  readonly signal: AbortSignal
  /** Called in order per stream; must not be awaited. */
  output(stream: 'stdout' | 'stderr', chunk: Uint8Array): void
}

export interface ExecutionResult {
  /** The command's own, 128 + signal when it was killed, 127 and 126 when it could not be started. */
  readonly exitCode: number
  /** One line more than the code says: `killed: out of memory`. */
  readonly detail?: string
}

export interface Executor {
  execute(execution: Execution): Promise<ExecutionResult>
}
