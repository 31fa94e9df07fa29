/**
 * Owns the network that RUN steps have when nothing is said: the one `lamina run` gives.
 * Invariant: never the host's own. Where no bridge can be made, steps have only loopback, and that is said once.
 */
import type { NetworkOfBuild } from './build-executor.js'
import type { Context } from './command.js'

export function buildNetwork({ stderr }: Pick<Context, 'stderr'>): NetworkOfBuild {
  let told = false
  return {
    path: async () => {
      if (!told)
        stderr.write(
          'warning: RUN steps have no network here (build with --network host to give them this machine’s)\n',
        )
      told = true
      return undefined
    },
  }
}
