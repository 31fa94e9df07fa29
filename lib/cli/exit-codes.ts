/**
 * Owns the exit codes: the documented table (README has the same one) and which error gets which.
 * Invariant: a code never changes its meaning; new ones may be added.
 */

/** 128 + N: the process that was run died of signal N. Any other code from `run`, `exec`, `start -a` is that process's own. */
export const ExitCode = {
  Ok: 0,
  /** The operation failed; the one line on stderr says why. */
  Failure: 1,
  /** Wrong usage: unknown verb or option, missing argument, invalid value. Nothing was done. */
  Usage: 2,
  /** This machine or user cannot do it: no /dev/fuse, not permitted, kernel or program missing. Nothing was done. */
  Unsupported: 3,
  /** `run`, `exec`, `create`, `start`: Lamina itself failed, the process was not started (Docker's 125). */
  NotStarted: 125,
  /** The command was found and cannot be executed. */
  NotExecutable: 126,
  /** The command was not found. */
  CommandNotFound: 127,
} as const

/** Errors whose `code` has an exit code of its own; all others are Failure (or NotStarted for verbs that run a process). */
const byCode: Readonly<Record<string, number>> = {
  USAGE: ExitCode.Usage,
  UNSUPPORTED: ExitCode.Unsupported,
  NOT_PERMITTED: ExitCode.Unsupported,
  COMMAND_NOT_EXECUTABLE: ExitCode.NotExecutable,
  COMMAND_NOT_FOUND: ExitCode.CommandNotFound,
}

/** The exit code for a failed command: by the error's `code`; `runsProcess` is the verb's, see `Command`. */
export function exitCodeFor(code: string | undefined, runsProcess: boolean): number {
  const own = code === undefined ? undefined : byCode[code]
  if (own === ExitCode.NotExecutable || own === ExitCode.CommandNotFound) return own
  if (runsProcess) return ExitCode.NotStarted
  return own ?? ExitCode.Failure
}
