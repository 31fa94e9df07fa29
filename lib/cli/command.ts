/**
 * Owns the shape of a command: `Command`, one file per verb under commands/, and what it is given to work with.
 * A command is a yargs `CommandModule` whose builder is an option table, so one description serves the fast parser
 * (parse.ts), `--help` and completion (help.ts, which loads yargs).
 * Invariant: a command file imports at its top only types and what costs nothing; the rest is `await import()`ed in
 * the handler.
 */
import type { InferredOptionTypes, Options } from 'yargs'

export type OptionTable = Readonly<Record<string, Options>>

type Camel<S extends string> = S extends `${infer H}-${infer T}` ? `${H}${Capitalize<Camel<T>>}` : S

type Positional<W> = W extends `<${infer N}..>` | `[${infer N}..]`
  ? { readonly [K in N]: readonly string[] }
  : W extends `<${infer N}>`
    ? { readonly [K in N]: string }
    : W extends `[${infer N}]`
      ? { readonly [K in N]: string | undefined }
      : unknown

/** `'cp <from> <to..>'` → `{ from: string; to: readonly string[] }`. */
export type Positionals<S extends string> = S extends `${infer H} ${infer T}`
  ? Positional<H> & Positionals<T>
  : Positional<S>

/** What a handler gets: positionals by name, options in camelCase. An option not given and without default is undefined. */
export type Args<S extends string, O extends OptionTable> = Positionals<S> & {
  readonly [K in keyof InferredOptionTypes<O> as K extends string ? Camel<K> : never]: InferredOptionTypes<O>[K]
}

/** The process as a command sees it. Tests give their own. */
export interface Context {
  /** Store root, absolute (`--root`, `LAMINA_ROOT`, default). Also in `process.env.LAMINA_ROOT` for child processes. */
  readonly root: string
  /** Run root, absolute (`LAMINA_RUN`, default): registry of mounts, sockets. */
  readonly runRoot: string
  readonly debug: boolean
  readonly stdin: NodeJS.ReadStream
  /** Results. Names and other foreign text go through printable() first. */
  readonly stdout: Output
  /** Progress, warnings, errors. */
  readonly stderr: Output
  /** This process may go on behind the command (stay.ts). */
  readonly stay?: Stay | undefined
}

/** What a command may do whose process goes on behind it: end for whoever waits. */
export interface Stay {
  /** Says the exit code. The first one counts. */
  leave(code: number): void
}

/** The part of a writable stream that commands use; `isTTY` says whether to be interactive, `columns` how wide it is. */
export interface Output {
  write(chunk: string | Uint8Array): boolean
  readonly isTTY?: boolean
  readonly columns?: number
}

type Result = number | void

/** A command as the table and the parser see it. Make one with `defineCommand`. */
export interface Command {
  /** yargs command string: verb (two words for a group's), then `<required>` `[optional]` `[rest..]`. */
  readonly command: string
  readonly describe: string
  readonly builder: OptionTable
  /** `[command line after "lamina ", what it does]`, shown by `--help`. */
  readonly examples?: readonly (readonly [string, string])[]
  /** More for `--help`: limits, exit codes of its own. */
  readonly epilogue?: string
  /** Options end at the first positional (`run IMAGE ls -l`): the rest belongs to the process. */
  readonly optionsFirst?: boolean
  /** The exit code is that of a process it runs; Lamina's own failures, wrong usage too, are 125. */
  readonly runsProcess?: boolean
  /**
   * Names, containers' among them, that it looks into: files and processes in there may belong to other ids that an ordinary
   * user has, so it then runs as root of his namespace, and with `enters` of the one that the running container is in.
   */
  looksInto?(args: unknown): readonly (string | undefined)[]
  readonly enters?: boolean
  /** Returns the exit code (default 0). Throws coded errors; the boundary in main.ts prints them. */
  handler(args: unknown, context: Context): Result | Promise<Result>
}

/** Checks a command's types: `args` of the handler follow from `command` and `builder`. */
export function defineCommand<const S extends string, const O extends OptionTable>(
  definition: Omit<Command, 'command' | 'builder' | 'looksInto' | 'handler'> & {
    readonly command: S
    readonly builder: O
    looksInto?(args: Args<S, O>): readonly (string | undefined)[]
    handler(args: Args<S, O>, context: Context): Result | Promise<Result>
  },
): Command {
  return definition as Command
}

/** The `--json` of every listing: one JSON array on stdout (or one object per line where the verb streams). */
export const jsonOption = { json: { type: 'boolean', describe: 'Print JSON instead of a table' } } as const

/** The `-q` of every listing: only names or ids, one per line. */
export const quietOption = { quiet: { alias: 'q', type: 'boolean', describe: 'Print only names or ids' } } as const

/** Wrong usage: exit code 2 (125 where the verb runs a process), nothing was done. `message` is one line without "lamina:". */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly code = 'USAGE'
}
