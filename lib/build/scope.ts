/**
 * Owns which variables an instruction sees: build arguments, predefined ones, and the image's environment.
 * Rules (reference, "ARG", "Scope", "Using ARG variables", "Predefined ARGs"):
 * - ARGs before the first FROM are seen by FROM lines; a stage sees one only after naming it again.
 * - ENV wins over an ARG of the same name. Platform arguments are global; a stage has to name them.
 * - Proxy arguments need no ARG, reach RUN, and are in no cache key and no history, unless the Dockerfile names them.
 */
import { BuildError } from './error.js'
import { expand, type Escape } from './expand.js'
import type { Arg, Dockerfile } from './instruction.js'
import { formatPlatform, HOST } from './platform.js'
import type { Platform } from './store.js'

export const PROXY_ARGS: readonly string[] = [
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'FTP_PROXY',
  'NO_PROXY',
  'ALL_PROXY',
].flatMap(name => [name, name.toLowerCase()])

/** What the user gave: `--build-arg`. */
export type BuildArgs = ReadonlyMap<string, string>

/** `NAME=value`, or `NAME` alone: the value of the caller's environment (none there: not given). */
export function readBuildArgs(args: readonly string[], env: NodeJS.ProcessEnv): Map<string, string> {
  const found = new Map<string, string>()
  for (const arg of args) {
    const equals = arg.indexOf('=')
    const name = equals < 0 ? arg : arg.slice(0, equals)
    if (name === '') throw new BuildError('BUILD_ARG', `build argument "${arg}" has no name`)
    const value = equals < 0 ? env[name] : arg.slice(equals + 1)
    if (value !== undefined) found.set(name, value)
  }
  return found
}

/** The predefined platform arguments. */
export function platformArgs(target: Platform): Map<string, string> {
  const of = (prefix: string, p: Platform): [string, string][] => [
    [`${prefix}PLATFORM`, formatPlatform(p)],
    [`${prefix}OS`, p.os],
    [`${prefix}ARCH`, p.architecture],
    [`${prefix}VARIANT`, p.variant ?? ''],
  ]
  return new Map([...of('BUILD', HOST), ...of('TARGET', target)])
}

/** Variables of FROM lines. */
export class GlobalScope {
  readonly values = new Map<string, string>()
  readonly consumed = new Set<string>()
  readonly platform: Map<string, string>
  readonly #args: BuildArgs

  constructor(file: Dockerfile, args: BuildArgs, target: Platform, stageName: string) {
    this.#args = args
    this.platform = platformArgs(target)
    this.platform.set('TARGETSTAGE', stageName)
    for (const [name, value] of this.platform) this.values.set(name, args.get(name) ?? value)
    for (const arg of file.globalArgs) this.#declare(arg, file.escape)
  }

  #declare(arg: Arg, escape: Escape): void {
    for (const { key, value } of arg.pairs) {
      const name = expandText(arg, key, escape, n => this.values.get(n))
      const given = this.#args.get(name)
      if (given !== undefined) this.consumed.add(name)
      const own = value === undefined ? undefined : expandText(arg, value, escape, n => this.values.get(n))
      const final = given ?? own ?? this.platform.get(name)
      if (final !== undefined) this.values.set(name, final)
      else this.values.delete(name)
    }
  }
}

/** Variables of one stage, growing as its instructions are evaluated. */
export class StageScope {
  /** ARGs named so far, in order; undefined: named without a value. */
  readonly args = new Map<string, string | undefined>()
  readonly env = new Map<string, string>()
  readonly consumed: Set<string>
  readonly #global: GlobalScope
  readonly #given: BuildArgs

  constructor(global: GlobalScope, given: BuildArgs, env: readonly string[]) {
    this.#global = global
    this.#given = given
    this.consumed = global.consumed
    for (const pair of env) {
      const equals = pair.indexOf('=')
      if (equals > 0) this.env.set(pair.slice(0, equals), pair.slice(equals + 1))
    }
  }

  readonly get = (name: string): string | undefined => this.env.get(name) ?? this.args.get(name)

  /** `ARG name[=value]`, value already expanded. */
  declare(name: string, value: string | undefined): void {
    const given = this.#given.get(name)
    if (given !== undefined) this.consumed.add(name)
    this.args.set(name, given ?? value ?? this.#global.values.get(name))
  }

  /** What a RUN sees beside the image's ENV: named ARGs with a value, in order; ENV of the same name hides them. */
  visibleArgs(): [string, string][] {
    return [...this.args].filter((a): a is [string, string] => a[1] !== undefined && !this.env.has(a[0]))
  }

  /** Proxy settings that were given and not named. They are for the process only. */
  proxies(): [string, string][] {
    return PROXY_ARGS.flatMap(name => {
      const value = this.#given.get(name)
      if (value === undefined) return []
      this.consumed.add(name)
      return this.args.has(name) || this.env.has(name) ? [] : [[name, value] as [string, string]]
    })
  }

  envList(): string[] {
    return [...this.env].map(([name, value]) => `${name}=${value}`)
  }
}

/** Expands one word of an instruction; errors get its location. */
export function expandText(
  instruction: { at: { at(): import('./error.js').Location } },
  text: string,
  escape: Escape,
  env: (name: string) => string | undefined,
): string {
  return located(instruction, () => expand(text, { escape, env }).value)
}

export function located<T>(instruction: { at: { at(): import('./error.js').Location } }, run: () => T): T {
  try {
    return run()
  } catch (error) {
    if (error instanceof BuildError) error.location ??= instruction.at.at()
    throw error
  }
}
