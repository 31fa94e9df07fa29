/**
 * Owns the evaluation of one stage: its instructions in order, from the base's state to its own. Instructions that only
 * say something about the image are done here; those that change files are in step-run.ts and step-copy.ts.
 * Invariant: a state is never changed, each step makes the next one; so "the state before the failure" is at hand.
 */
import { BuildError, type Location } from './error.js'
import { expand } from './expand.js'
import { parseTrigger } from './dockerfile.js'
import type { Instruction } from './instruction.js'
import { describeBase, resolveFrom, type Base, type PlannedStage } from './plan.js'
import { parsePorts } from './quantity.js'
import { expandText, located, StageScope } from './scope.js'
import { isoTime, type Session, type StageState, type StepRecord } from './session.js'
import { signalName } from './signal.js'
import { argv, DEFAULT_PATH, type Outcome, type StepContext } from './step.js'
import { copyStep } from './step-copy.js'
import { runStep } from './step-run.js'
import { workdirStep } from './step-workdir.js'
import type { ContainerConfig, HistoryEntry } from './store.js'

/** Evaluates a whole stage. Throws the first BuildError with location and file, and the state before it in `failure`. */
export async function buildStage(session: Session, planned: PlannedStage): Promise<StageState> {
  let state = await baseState(session, planned)
  const { file, global } = session.plan
  const scope = new StageScope(global, session.options.buildArgs, state.config.Env ?? [])
  const origin = describeBase(session.plan, planned)
  const triggers = (state.config.OnBuild ?? []).map(text => ({
    instruction: parseTrigger(text, origin),
    triggered: true,
  }))
  const { OnBuild: _, ...config } = state.config
  state = { ...state, config }
  const all = [...triggers, ...planned.stage.instructions.map(instruction => ({ instruction, triggered: false }))]
  for (const [i, { instruction, triggered }] of all.entries()) {
    session.check()
    const line = triggered ? planned.stage.from.at.line : instruction.at.line
    const step = session.teller.nextStep()
    const name = { step, stage: planned.name, position: i + 1, of: all.length, text: oneLine(instruction), line }
    session.teller.tell({ type: 'start', ...name })
    try {
      const context: StepContext = {
        session,
        planned,
        state,
        scope,
        escape: file.escape,
        step,
        place: `${file.name}:${line}`,
        expand: text => expandText(instruction, text, file.escape, scope.get),
        from: async source => stateOf(session, planned, resolveFrom(file, planned.stage.index, source, instruction)),
      }
      const outcome = await perform(context, instruction)
      state = advance(session, state, outcome, triggered ? undefined : line)
      session.teller.tell({
        type: 'done',
        step,
        cached: outcome.cached === true,
        metadata: outcome.cached === undefined,
        size: outcome.layer?.size,
        layer: outcome.layer?.diffID,
      })
    } catch (caught) {
      const error = asBuildError(caught, triggered ? planned.stage.from.at.at() : instruction.at.at())
      error.file ??= file.name
      failures.set(error, { state, instruction })
      session.teller.tell({ type: 'failed', step, message: error.message })
      throw error
    }
  }
  return state
}

/** The state just before a failure, for `lamina run <id>`. */
export const failures = new WeakMap<BuildError, { state: StageState; instruction: Instruction }>()

function asBuildError(caught: unknown, location: Location): BuildError {
  if (caught instanceof BuildError) {
    caught.location ??= location
    return caught
  }
  const { code, message } = caught as { code?: string; message?: string }
  const text = message ?? String(caught)
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new BuildError('SPACE', `no space left: ${text}`, { location, cause: caught })
  return new BuildError('STORE', text, { location, cause: caught })
}

async function baseState(session: Session, planned: PlannedStage): Promise<StageState> {
  const { base, platform } = planned
  try {
    const state = await stateOf(session, planned, base)
    const history = base.from === 'stage' ? state.history : [...state.history]
    return { ...state, history, platform }
  } catch (caught) {
    if (caught instanceof BuildError && failures.has(caught)) throw caught
    const error = asBuildError(caught, planned.stage.from.at.at())
    error.file ??= session.plan.file.name
    throw error
  }
}

/** The state a stage, an image, or nothing at all gives to build on or copy from. */
async function stateOf(session: Session, planned: PlannedStage, base: Base): Promise<StageState> {
  const { platform } = planned
  if (base.from === 'scratch') {
    const created = isoTime(session.options.epoch ?? 0)
    // As Docker does for FROM scratch.
    const config: ContainerConfig = { Env: [`PATH=${DEFAULT_PATH}`], WorkingDir: '/' }
    return { layers: [], config, history: [], author: undefined, created, platform, steps: [] }
  }
  if (base.from === 'stage') return session.stageOf(base.index)
  const image = await session.base(base.reference, platform)
  const { config: all } = image
  const history = all.history ?? []
  const created = all.created ?? isoTime(0)
  let layers = 0
  const steps = history.map((entry): StepRecord => {
    if (!entry.empty_layer) layers++
    return {
      createdBy: entry.created_by ?? '',
      line: undefined,
      layers,
      size: 0,
      created: entry.created ?? created,
      config: all.config ?? {},
    }
  })
  return { layers: image.layers, config: all.config ?? {}, history, author: all.author, created, platform, steps }
}

function advance(session: Session, state: StageState, outcome: Outcome, line: number | undefined): StageState {
  const created = outcome.layer ? (outcome.created ?? session.now()) : state.created
  const author = outcome.author ?? state.author
  const entry: HistoryEntry = {
    created,
    created_by: outcome.createdBy,
    ...(author === undefined ? {} : { author }),
    comment: 'lamina',
    ...(outcome.layer ? {} : { empty_layer: true }),
  }
  const layers = outcome.layer ? [...state.layers, outcome.layer.diffID] : state.layers
  const config = outcome.config ?? state.config
  const record: StepRecord = {
    createdBy: outcome.createdBy,
    line,
    layers: layers.length,
    size: outcome.layer?.size ?? 0,
    created,
    config,
  }
  return {
    ...state,
    layers,
    config,
    author,
    created,
    history: [...state.history, entry],
    steps: [...state.steps, record],
  }
}

function oneLine(instruction: Instruction): string {
  const { at } = instruction
  const flags = at.flags.map(f => (f.value === undefined ? `--${f.name} ` : `--${f.name}=${f.value} `)).join('')
  return `${at.keyword} ${flags}${at.rest.replace(/\s+/g, ' ')}`
}

async function perform(context: StepContext, instruction: Instruction): Promise<Outcome> {
  const { state, scope, escape } = context
  const { config } = state
  const x = context.expand
  const say = (text: string, changed: ContainerConfig): Outcome => ({
    createdBy: text,
    config: { ...config, ...changed },
  })
  switch (instruction.kind) {
    case 'RUN':
      return runStep(context, instruction)
    case 'COPY':
    case 'ADD':
      return copyStep(context, instruction)
    case 'WORKDIR':
      return workdirStep(context, instruction)
    case 'ARG': {
      const said = instruction.pairs.map(({ key, value }) => {
        const name = x(key)
        const own = value === undefined ? undefined : x(value)
        scope.declare(name, own)
        return own === undefined ? name : `${name}=${own}`
      })
      return { createdBy: `ARG ${said.join(' ')}` }
    }
    case 'ENV': {
      // Every value of one ENV sees the environment from before it.
      const pairs = instruction.pairs.map(({ key, value }) => [x(key), x(value ?? '')] as const)
      for (const [key, value] of pairs) scope.env.set(key, value)
      return say(`ENV ${pairs.map(([key, value]) => `${key}=${value}`).join(' ')}`, { Env: scope.envList() })
    }
    case 'LABEL': {
      const pairs = instruction.pairs.map(({ key, value }) => [x(key), x(value ?? '')] as const)
      const text = `LABEL ${pairs.map(([key, value]) => `${key}=${value}`).join(' ')}`
      return say(text, { Labels: { ...config.Labels, ...Object.fromEntries(pairs) } })
    }
    case 'USER': {
      const user = x(instruction.user)
      return say(`USER ${user}`, { User: user })
    }
    case 'EXPOSE': {
      const words = located(instruction, () =>
        instruction.ports.flatMap(text => expand(text, { escape, env: scope.get }).words),
      )
      const ports = located(instruction, () => words.flatMap(parsePorts))
      const all = { ...config.ExposedPorts, ...Object.fromEntries(ports.map(p => [p, {}])) }
      return say(`EXPOSE ${words.join(' ')}`, { ExposedPorts: all })
    }
    case 'VOLUME': {
      const paths = instruction.paths.map(x)
      if (paths.includes('')) throw new BuildError('ARGUMENTS', 'VOLUME specified can not be an empty string')
      const all = { ...config.Volumes, ...Object.fromEntries(paths.map(p => [p, {}])) }
      return say(`VOLUME ${JSON.stringify(paths)}`, { Volumes: all })
    }
    case 'STOPSIGNAL': {
      const signal = x(instruction.signal)
      if (signalName(signal) === undefined) throw new BuildError('SIGNAL', `there is no signal "${signal}"`)
      return say(`STOPSIGNAL ${signal}`, { StopSignal: signal })
    }
    case 'SHELL':
      return say(`SHELL ${JSON.stringify(instruction.args)}`, { Shell: [...instruction.args] })
    case 'CMD': {
      const args = argv(config, instruction.command)
      return say(`CMD ${JSON.stringify(args)}`, { Cmd: args })
    }
    case 'ENTRYPOINT': {
      const args = argv(config, instruction.command)
      // A new entrypoint takes away the command that was meant for the old one, unless this stage has set it.
      const own = context.planned.stage.instructions.some(i => i.kind === 'CMD' && i.at.line < instruction.at.line)
      return say(`ENTRYPOINT ${JSON.stringify(args)}`, { Entrypoint: args, ...(own ? {} : { Cmd: null }) })
    }
    case 'HEALTHCHECK': {
      const { command } = instruction
      const Test =
        command === undefined
          ? ['NONE']
          : command.form === 'exec'
            ? ['CMD', ...command.args]
            : ['CMD-SHELL', command.text]
      const Healthcheck = {
        Test,
        ...(instruction.interval ? { Interval: instruction.interval } : {}),
        ...(instruction.timeout ? { Timeout: instruction.timeout } : {}),
        ...(instruction.startPeriod ? { StartPeriod: instruction.startPeriod } : {}),
        ...(instruction.startInterval ? { StartInterval: instruction.startInterval } : {}),
        ...(instruction.retries ? { Retries: instruction.retries } : {}),
      }
      return say(`HEALTHCHECK ${JSON.stringify(Healthcheck)}`, { Healthcheck })
    }
    case 'ONBUILD':
      return say(`ONBUILD ${instruction.trigger}`, { OnBuild: [...(config.OnBuild ?? []), instruction.trigger] })
    case 'MAINTAINER':
      return { createdBy: `MAINTAINER ${instruction.author}`, author: instruction.author }
  }
}
