/**
 * Owns the shape of a build before anything runs: which stage stands on which, which are needed for the target.
 * Invariant: references go to earlier stages only, so there is no cycle; a stage not reachable from the target is not
 * in `needed` and is neither fetched nor run.
 */
import { BuildError } from './error.js'
import type { Dockerfile, Instruction, Stage } from './instruction.js'
import { formatPlatform, parsePlatform } from './platform.js'
import { expandText, GlobalScope, type BuildArgs } from './scope.js'
import type { Platform } from './store.js'

export type Base =
  | { readonly from: 'scratch' }
  | { readonly from: 'stage'; readonly index: number }
  | { readonly from: 'image'; readonly reference: string }

export interface PlannedStage {
  readonly stage: Stage
  /** As shown: its name, or `stage-2`. */
  readonly name: string
  readonly base: Base
  readonly platform: Platform
  /** Stages that COPY --from and RUN --mount name. */
  readonly uses: readonly number[]
}

export interface Plan {
  readonly file: Dockerfile
  readonly global: GlobalScope
  readonly stages: readonly PlannedStage[]
  readonly target: number
  readonly needed: ReadonlySet<number>
}

export interface PlanOptions {
  readonly target?: string | undefined
  readonly platform: Platform
  readonly buildArgs: BuildArgs
}

/** Throws BuildError STAGE, PLATFORM, SUBSTITUTION. */
export function plan(file: Dockerfile, options: PlanOptions): Plan {
  try {
    return planned(file, options)
  } catch (error) {
    if (error instanceof BuildError) error.file ??= file.name
    throw error
  }
}

function planned(file: Dockerfile, options: PlanOptions): Plan {
  const target = findTarget(file, options.target)
  const named = file.stages[target]!.from.stageName
  const global = new GlobalScope(file, options.buildArgs, options.platform, named ?? options.target ?? 'default')
  const stages = file.stages.map(stage => planStage(file, stage, global, options))
  const needed = new Set<number>()
  const visit = (index: number): void => {
    if (needed.has(index)) return
    needed.add(index)
    const { base, uses } = stages[index]!
    if (base.from === 'stage') visit(base.index)
    uses.forEach(visit)
  }
  visit(target)
  return { file, global, stages, target, needed }
}

function findTarget(file: Dockerfile, wanted: string | undefined): number {
  if (wanted === undefined || wanted === '') return file.stages.length - 1
  const byName = file.stages.findLastIndex(s => s.from.stageName === wanted.toLowerCase())
  if (byName >= 0) return byName
  if (/^\d+$/.test(wanted) && Number(wanted) < file.stages.length) return Number(wanted)
  const names = file.stages.flatMap(s => s.from.stageName ?? [])
  throw new BuildError(
    'STAGE',
    `target stage "${wanted}" is not in ${file.name}${names.length > 0 ? ` (it has ${names.join(', ')})` : ''}`,
  )
}

function planStage(file: Dockerfile, stage: Stage, global: GlobalScope, options: PlanOptions): PlannedStage {
  const { from } = stage
  const env = (name: string): string | undefined => global.values.get(name)
  const image = expandText(from, from.image, file.escape, env)
  if (image === '')
    throw new BuildError('STAGE', `base name "${from.image}" is empty after expansion`, { location: from.at.at() })
  let platform = options.platform
  if (from.platform !== undefined) {
    const text = expandText(from, from.platform, file.escape, env)
    try {
      platform = parsePlatform(text)
    } catch (error) {
      if (error instanceof BuildError) error.location ??= from.at.at()
      throw error
    }
  }
  const base = baseOf(file, stage, image)
  const inherited = base.from === 'stage' && from.platform === undefined
  return {
    stage,
    name: from.stageName ?? `stage-${stage.index}`,
    base,
    platform: inherited ? planStage(file, file.stages[base.index]!, global, options).platform : platform,
    uses: stage.instructions.flatMap(i => usesOf(file, stage.index, i)),
  }
}

function baseOf(file: Dockerfile, stage: Stage, image: string): Base {
  if (image === 'scratch') return { from: 'scratch' }
  const index = findStage(file, stage.index, image)
  return index === undefined ? { from: 'image', reference: image } : { from: 'stage', index }
}

/** The latest stage of that name before `before`. */
export function findStage(file: Dockerfile, before: number, name: string): number | undefined {
  const index = file.stages.slice(0, before).findLastIndex(s => s.from.stageName === name.toLowerCase())
  return index < 0 ? undefined : index
}

/** What `--from=` names: an earlier stage, by name or number, or an image. Throws BuildError STAGE. */
export function resolveFrom(file: Dockerfile, current: number, name: string, instruction: Instruction): Base {
  const fail = (why: string): never => {
    throw new BuildError('STAGE', `from=${name}: ${why}`, { location: instruction.at.at() })
  }
  if (name.includes('$')) fail('variables are not expanded here: name a stage for it (FROM … AS …)')
  const index = findStage(file, current, name)
  if (index !== undefined) return { from: 'stage', index }
  if (/^\d+$/.test(name)) {
    if (Number(name) < current) return { from: 'stage', index: Number(name) }
    fail(Number(name) === current ? 'a stage cannot copy from itself' : 'there is no such stage before this one')
  }
  const later = file.stages.findIndex(s => s.from.stageName === name.toLowerCase())
  if (later >= 0) fail(later === current ? 'a stage cannot copy from itself' : 'that stage is defined later')
  return name === 'scratch' ? { from: 'scratch' } : { from: 'image', reference: name }
}

function usesOf(file: Dockerfile, current: number, instruction: Instruction): number[] {
  const names: string[] = []
  if (instruction.kind === 'COPY' && instruction.source !== undefined) names.push(instruction.source)
  if (instruction.kind === 'RUN')
    for (const mount of instruction.mounts)
      for (const [key, value] of mount.fields) if (key === 'from' && value) names.push(value)
  return names.flatMap(name => {
    const base = resolveFrom(file, current, name, instruction)
    return base.from === 'stage' ? [base.index] : []
  })
}

/** For messages. */
export function describeBase(plan: Plan, { base, platform }: PlannedStage): string {
  if (base.from === 'scratch') return 'scratch'
  if (base.from === 'stage') return plan.stages[base.index]!.name
  return `${base.reference} (${formatPlatform(platform)})`
}
