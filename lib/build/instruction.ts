/**
 * Owns the typed form of a Dockerfile: one discriminated union, `Instruction`, and what holds them, `Stage` and
 * `Dockerfile`. Nothing is expanded here: strings are as written (quotes included where the language expands later).
 * Invariant: every instruction keeps the line it came from.
 */
import type { Escape } from './expand.js'
import type { Directive, Heredoc, InstructionLine } from './syntax.js'
import type { MountFlag } from './run-mount.js'

interface Written {
  readonly at: InstructionLine
}

/** A command for the shell, or an argument vector. */
export type CommandForm =
  { readonly form: 'shell'; readonly text: string } | { readonly form: 'exec'; readonly args: readonly string[] }

export interface Pair {
  readonly key: string
  /** undefined: `ARG name` without a default. */
  readonly value: string | undefined
}

export interface From extends Written {
  readonly kind: 'FROM'
  readonly image: string
  readonly platform: string | undefined
  /** Lower case. */
  readonly stageName: string | undefined
  /** As written, for the linter. */
  readonly writtenName: string | undefined
  readonly writtenAs: string | undefined
}
export interface Arg extends Written {
  readonly kind: 'ARG'
  readonly pairs: readonly Pair[]
}
export interface Env extends Written {
  readonly kind: 'ENV'
  readonly pairs: readonly Pair[]
  /** `ENV key value`. */
  readonly legacy: boolean
}
export interface Label extends Written {
  readonly kind: 'LABEL'
  readonly pairs: readonly Pair[]
  readonly legacy: boolean
}
export interface Run extends Written {
  readonly kind: 'RUN'
  readonly command: CommandForm
  readonly heredocs: readonly Heredoc[]
  readonly mounts: readonly MountFlag[]
  readonly network: 'default' | 'none' | 'host'
  readonly security: 'sandbox' | 'insecure'
}

export type FileSource =
  { readonly from: 'path'; readonly path: string } | { readonly from: 'heredoc'; readonly heredoc: Heredoc }

interface Files extends Written {
  readonly sources: readonly FileSource[]
  readonly destination: string
  readonly chown: string | undefined
  readonly chmod: string | undefined
  readonly link: boolean
  readonly exclude: readonly string[]
}
export interface Copy extends Files {
  readonly kind: 'COPY'
  /** Stage name, stage number, named context, or image. */
  readonly source: string | undefined
  readonly parents: boolean
}
export interface Add extends Files {
  readonly kind: 'ADD'
  readonly checksum: string | undefined
  readonly keepGitDir: boolean
  /** undefined: local archives yes, remote ones no. */
  readonly unpack: boolean | undefined
}
export interface Workdir extends Written {
  readonly kind: 'WORKDIR'
  readonly path: string
}
export interface User extends Written {
  readonly kind: 'USER'
  readonly user: string
}
export interface Expose extends Written {
  readonly kind: 'EXPOSE'
  readonly ports: readonly string[]
}
export interface Volume extends Written {
  readonly kind: 'VOLUME'
  readonly paths: readonly string[]
}
export interface Entrypoint extends Written {
  readonly kind: 'ENTRYPOINT'
  readonly command: CommandForm
}
export interface Cmd extends Written {
  readonly kind: 'CMD'
  readonly command: CommandForm
}
export interface Shell extends Written {
  readonly kind: 'SHELL'
  readonly args: readonly string[]
}
export interface StopSignal extends Written {
  readonly kind: 'STOPSIGNAL'
  readonly signal: string
}
/** Durations in nanoseconds, the unit of the image config; undefined: inherited. */
export interface HealthCheck extends Written {
  readonly kind: 'HEALTHCHECK'
  readonly command: CommandForm | undefined
  readonly interval: number | undefined
  readonly timeout: number | undefined
  readonly startPeriod: number | undefined
  readonly startInterval: number | undefined
  readonly retries: number | undefined
}
export interface OnBuild extends Written {
  readonly kind: 'ONBUILD'
  /** The instruction as it goes into the config and is parsed again by the image built on this one. */
  readonly trigger: string
}
export interface Maintainer extends Written {
  readonly kind: 'MAINTAINER'
  readonly author: string
}

export type Instruction =
  | Arg
  | Env
  | Label
  | Run
  | Copy
  | Add
  | Workdir
  | User
  | Expose
  | Volume
  | Entrypoint
  | Cmd
  | Shell
  | StopSignal
  | HealthCheck
  | OnBuild
  | Maintainer

export interface Stage {
  readonly index: number
  readonly from: From
  readonly instructions: readonly Instruction[]
}

export interface Dockerfile {
  /** The name shown in messages. */
  readonly name: string
  readonly text: string
  readonly escape: Escape
  readonly directives: readonly Directive[]
  /** ARGs before the first FROM. */
  readonly globalArgs: readonly Arg[]
  readonly stages: readonly Stage[]
}
