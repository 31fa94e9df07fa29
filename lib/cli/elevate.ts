/** Owns running a command of an ordinary user again as root of his own user namespace. */
import type { Context } from './command.js'

/**
 * The exit code of the run in the namespace; undefined when this process may go on itself. A command that enters the running
 * container `into` must be in the namespace that the container is in.
 */
export async function elevate(
  { root, runRoot }: Pick<Context, 'root' | 'runRoot'>,
  into?: string,
): Promise<number | undefined> {
  if (process.geteuid?.() === 0) return undefined
  const { runAsNamespaceRoot } = await import('../runtime/rootless.js')
  let peer = 0
  if (into !== undefined) {
    const { Containers } = await import('../runtime/containers.js')
    const { state } = await new Containers(root, runRoot).find(into)
    if (state.status === 'running') peer = state.supervisor
  }
  return runAsNamespaceRoot({ LAMINA_ROOT: root, LAMINA_RUN: runRoot }, peer)
}

/** As `elevate`, when one of `names` is a container's: with `enters` into the namespace of the first one that runs. */
export async function elevateToLookInto(
  context: Pick<Context, 'root' | 'runRoot'>,
  names: readonly (string | undefined)[],
  enters: boolean,
): Promise<number | undefined> {
  const [{ Containers }, { containerNamed, splitPath }] = await Promise.all([
    import('../runtime/containers.js'),
    import('./operand.js'),
  ])
  const containers = new Containers(context.root, context.runRoot)
  const found: string[] = []
  for (const name of names) {
    const plain = (splitPath(name ?? '')?.name ?? name ?? '').replace(/^container:/, '')
    const container = await containerNamed(() => containers, plain)
    if (container !== undefined) found.push(container.state.status === 'running' ? container.id : '')
  }
  if (found.length === 0) return undefined
  return elevate(context, enters ? found.find(id => id !== '') : undefined)
}
