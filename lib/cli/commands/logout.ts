/** `lamina logout`: forgets a registry's credential. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'logout [registry]',
  describe: 'Log out from a registry',
  builder: {},
  async handler(args, { stdout }) {
    const registry = args.registry ?? 'docker.io'
    const { eraseCredential } = await import('../../image/auth.js')
    const there = await eraseCredential(registry)
    stdout.write(there ? `Removing login credentials for ${registry}\n` : `Not logged in to ${registry}\n`)
  },
})
