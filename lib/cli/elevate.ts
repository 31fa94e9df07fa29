/** Owns running a command of an ordinary user again as root of his own user namespace. */
import type { Context } from './command.js'

/** The exit code of the run in the namespace; undefined when this process may go on itself. */
export async function elevate({ root, runRoot }: Pick<Context, 'root' | 'runRoot'>): Promise<number | undefined> {
  if (process.geteuid?.() === 0) return undefined
  const { runAsNamespaceRoot } = await import('../runtime/rootless.js')
  return runAsNamespaceRoot({ LAMINA_ROOT: root, LAMINA_RUN: runRoot })
}
