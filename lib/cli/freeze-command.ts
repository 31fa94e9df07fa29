/** Owns what `lamina pause` and `lamina unpause` share: freezing or thawing containers by name, each named when done. */
import type { Context } from './command.js'

export async function setFrozen(names: readonly string[], frozen: boolean, context: Context): Promise<void> {
  const [{ Containers }, { freezeContainer }, { printable }] = await Promise.all([
    import('../runtime/containers.js'),
    import('../runtime/freeze.js'),
    import('./printable.js'),
  ])
  const containers = new Containers(context.root, context.runRoot)
  for (const name of names) {
    await freezeContainer(containers, await containers.find(name), frozen)
    context.stdout.write(`${printable(name)}\n`)
  }
}
