/**
 * Owns WORKDIR: the directory that later instructions and the container start in, made when it is not there.
 * Invariant: it is root's with mode 0755, whatever USER says, and an existing directory is left as it is.
 */
import { bytesOf, textOf } from '../bytes.js'
import { chainOf } from '../digest.js'
import { keyOf } from './cache.js'
import { Draft } from './draft.js'
import { BuildError } from './error.js'
import type { Workdir } from './instruction.js'
import { clean, isDirectory, resolve } from './tree.js'
import type { Outcome, StepContext } from './step.js'
import { cachedLayer } from './step-cache.js'

/** `path` seen from the working directory, absolute and clean. */
export function fromWorkdir(workdir: string | undefined, path: string): string {
  const absolute = path.startsWith('/') ? path : `${workdir ?? '/'}/${path}`
  return `/${textOf(clean(bytesOf(absolute)))}`
}

export async function workdirStep(context: StepContext, instruction: Workdir): Promise<Outcome> {
  const { session, state } = context
  const given = context.expand(instruction.path)
  if (given === '') throw new BuildError('ARGUMENTS', `WORKDIR ${instruction.path} is empty after expansion`)
  const path = fromWorkdir(state.config.WorkingDir, given)
  const config = { ...state.config, WorkingDir: path }
  const inputs = { kind: 'workdir', below: chainOf(state.layers) ?? 'scratch', path, epoch: epochInput(context) }
  const made = await cachedLayer(context, keyOf(inputs), inputs, async () => {
    const tree = session.tree(state.layers)
    try {
      const at = resolve(tree, bytesOf(path))
      if (at.rest === '' && isDirectory(at.stat)) return undefined
      const draft = new Draft(tree, session.store, session.options.epoch ?? Math.floor(Date.now() / 1000))
      draft.makeDirectory(bytesOf(path))
      return await session.store.addTree(draft.root)
    } finally {
      tree.close()
    }
  })
  return { ...made, config, createdBy: `WORKDIR ${path}` }
}

/** With SOURCE_DATE_EPOCH the times of a layer are an input. */
export function epochInput({ session }: StepContext): string {
  return session.options.epoch === undefined ? '' : String(session.options.epoch)
}
