/**
 * Owns what steps have in common: what they are given (`StepContext`), what they give back (`Outcome`), and how a
 * command form becomes an argument vector.
 */
import type { Escape } from './expand.js'
import type { CommandForm } from './instruction.js'
import type { PlannedStage } from './plan.js'
import type { StageScope } from './scope.js'
import type { Session, StageState } from './session.js'
import type { ContainerConfig } from './store.js'

/** The default of Docker's images. */
export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const DEFAULT_SHELL: readonly string[] = ['/bin/sh', '-c']

/** What a step changed. */
export interface Outcome {
  /** Undefined: no file changed. */
  readonly layer?: { readonly diffID: StageState['layers'][number]; readonly size: number } | undefined
  readonly config?: ContainerConfig
  readonly author?: string
  readonly createdBy: string
  /** When the layer was made; instructions without one take the time of the last layer. */
  readonly created?: string
  readonly cached?: boolean
}

/** Everything a step may use. */
export interface StepContext {
  readonly session: Session
  readonly planned: PlannedStage
  readonly state: StageState
  readonly scope: StageScope
  readonly escape: Escape
  /** The number in events. */
  readonly step: number
  /** `Dockerfile:7`. */
  readonly place: string
  expand(text: string): string
  from(name: string): Promise<StageState>
}

/** The arguments a command form becomes: the shell form goes to the image's shell. */
export function argv(config: ContainerConfig, command: CommandForm): string[] {
  return command.form === 'exec' ? [...command.args] : [...(config.Shell ?? DEFAULT_SHELL), command.text]
}
