/**
 * Owns what a build tells while it runs: `BuildEvent`. Progress in every form (plain, tty, json) is made of these.
 * Formats: times are milliseconds since the build began; `step` numbers are unique in a build.
 * Invariant: each step that started ends with exactly one of `done` or `failed`; output comes in between.
 */
import { now } from '../clock.js'
import type { Difference } from './cache.js'

export interface StepName {
  readonly step: number
  /** Stage name, position in it and how many there are: `[base 2/5]`. */
  readonly stage: string
  readonly position: number
  readonly of: number
  /** The instruction on one line. */
  readonly text: string
  readonly line: number
}

export type BuildEvent =
  | {
      readonly type: 'plan'
      readonly stages: readonly string[]
      readonly skipped: readonly string[]
      readonly time: number
    }
  | ({ readonly type: 'start'; readonly time: number } & StepName)
  | {
      readonly type: 'output'
      readonly step: number
      readonly stream: 'stdout' | 'stderr'
      readonly data: Uint8Array
      readonly time: number
    }
  | {
      readonly type: 'done'
      readonly step: number
      readonly cached: boolean
      /** It only says something about the image: there was nothing to run or to find in the cache. */
      readonly metadata: boolean
      /** Bytes of the layer; undefined: no layer. */
      readonly size: number | undefined
      readonly layer: string | undefined
      readonly time: number
    }
  | { readonly type: 'failed'; readonly step: number; readonly message: string; readonly time: number }
  | {
      readonly type: 'miss'
      readonly step: number
      /** The nearest earlier step, `Dockerfile:7`, undefined when there is none of its kind. */
      readonly nearest: string | undefined
      readonly differences: readonly Difference[]
      readonly time: number
    }
  | {
      readonly type: 'warning'
      readonly code: string
      readonly message: string
      readonly line: number | undefined
      readonly time: number
    }

/** An event as its maker knows it: the clock is added by `Teller`. */
export type Untimed = BuildEvent extends infer E ? (E extends BuildEvent ? Omit<E, 'time'> : never) : never

/** Stamps events and hands them on. */
export class Teller {
  readonly #began = now()
  readonly #listener: (event: BuildEvent) => void
  #steps = 0

  constructor(listener: (event: BuildEvent) => void) {
    this.#listener = listener
  }

  tell(event: Untimed): void {
    this.#listener({ ...event, time: Math.round(now() - this.#began) } as BuildEvent)
  }

  nextStep(): number {
    return ++this.#steps
  }
}
