/**
 * Owns a whole build: Dockerfile + context + options → image. Stages that the target does not need are skipped, the
 * others start at once and wait for each other where one stands on or copies from another.
 * Invariant: whatever fails, what was done stays in the cache, and the error says where the state before it is kept.
 */
import type { Digest } from '../digest.js'
import { BuildError } from './error.js'
import type { BuildEvent } from './event.js'
import type { Executor } from './executor.js'
import type { Dockerfile } from './instruction.js'
import { plan, type Plan } from './plan.js'
import { Session, type BuildContext, type BuildOptions, type StageState } from './session.js'
import { buildStage, failures } from './stage.js'
import { saveSteps } from './steps.js'
import type { BuildStore, ImageConfig } from './store.js'

export interface BuildRequest {
  readonly file: Dockerfile
  readonly target?: string | undefined
  readonly context: BuildContext
  readonly options: BuildOptions
  /** References for the result. */
  readonly names: readonly string[]
  readonly store: BuildStore
  readonly executor: Executor
  /** Called in order, from the building thread. */
  listener(event: BuildEvent): void
}

export interface BuildResult {
  readonly manifest: Digest
  readonly config: Digest
  readonly image: ImageConfig
}

/** Builds the target. Throws BuildError; `context.before` (and `after` with debug) name images of the state kept. */
export async function build(request: BuildRequest): Promise<BuildResult> {
  const { file, options, store } = request
  const stop = new AbortController()
  const signal = AbortSignal.any([options.signal, stop.signal])
  const made = plan(file, { target: request.target, platform: options.platform, buildArgs: options.buildArgs })
  const session = new Session({ ...request, plan: made, options: { ...options, signal } })
  announce(session, made)
  const stages = new Map<number, Promise<StageState>>()
  session.stageOf = index => {
    let stage = stages.get(index)
    if (!stage) stages.set(index, (stage = buildStage(session, made.stages[index]!)))
    return stage
  }
  // All that are needed start now; a failure of one that nobody awaits yet must not be an unhandled rejection.
  const running = [...made.needed].sort((a, b) => a - b).map(index => session.stageOf(index))
  running.forEach(stage => void stage.catch(() => stop.abort()))
  let state: StageState
  try {
    state = await session.stageOf(made.target)
    await Promise.all(running)
  } catch (error) {
    // The others end first: nothing may run on after a failed build.
    const settled = await Promise.allSettled(running)
    throw await keepState(session, firstCause(error, settled))
  }
  for (const name of options.buildArgs.keys())
    if (!made.global.consumed.has(name) && name !== 'SOURCE_DATE_EPOCH' && !made.global.platform.has(name))
      session.teller.tell({
        type: 'warning',
        code: 'BUILD_ARG',
        message: `build argument ${name} was not consumed`,
        line: undefined,
      })
  const image = imageOf(session, state)
  const stored = await store.addImage(image, request.names)
  saveSteps(store.state, stored.config, state.steps)
  return { ...stored, image }
}

function announce(session: Session, made: Plan): void {
  const name = (index: number): string => made.stages[index]!.name
  session.teller.tell({
    type: 'plan',
    stages: [...made.needed].sort((a, b) => a - b).map(name),
    skipped: made.stages
      .map(s => s.stage.index)
      .filter(i => !made.needed.has(i))
      .map(name),
  })
}

/** A stage that was stopped because another failed says CANCELLED: the other's error is the one to show. */
function firstCause(error: unknown, settled: PromiseSettledResult<StageState>[]): unknown {
  const errors = settled.flatMap(s => (s.status === 'rejected' ? [s.reason as unknown] : []))
  const real = errors.find(e => !(e instanceof BuildError) || e.code !== 'CANCELLED')
  return real ?? error
}

export function imageOf(session: Session, state: StageState): ImageConfig {
  const { epoch, labels } = session.options
  const { platform } = state
  const config =
    labels.size === 0
      ? state.config
      : { ...state.config, Labels: { ...state.config.Labels, ...Object.fromEntries(labels) } }
  return {
    created: epoch === undefined ? state.created : new Date(epoch * 1000).toISOString(),
    ...(state.author === undefined ? {} : { author: state.author }),
    architecture: platform.architecture,
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
    os: platform.os,
    config,
    rootfs: { type: 'layers', diff_ids: [...state.layers] },
    history: [...state.history],
  }
}

/** Makes images without a name of the state before (and after) the failure and says so in the error's context. */
async function keepState(session: Session, error: unknown): Promise<unknown> {
  if (!(error instanceof BuildError)) return error
  const failure = failures.get(error)
  if (!failure || error.code === 'CANCELLED' || error.code === 'SPACE' || failure.state.layers.length === 0)
    return error
  const context: Record<string, string | number> = { ...error.context }
  const keep = async (state: StageState): Promise<string> =>
    (await session.store.addImage(imageOf(session, state), [])).manifest
  try {
    context['before'] = await keep(failure.state)
    const after = context['after']
    if (typeof after === 'string')
      context['after'] = await keep({
        ...failure.state,
        layers: [...failure.state.layers, after as StageState['layers'][number]],
      })
  } catch {
    // The failure itself is what matters; the layers are in the cache anyway.
    return error
  }
  const kept = new BuildError(error.code, error.message, { location: error.location, cause: error.cause, context })
  kept.file = error.file
  return kept
}
