/** `lamina volume create`. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'volume create [name]',
  describe: 'Make a volume',
  builder: { label: { type: 'string', array: true, describe: 'Label: name=value' } },
  async handler(args, { root, stdout }) {
    const [{ createVolume }, { newId }, { pair }] = await Promise.all([
      import('../../runtime/volumes.js'),
      import('../../runtime/names.js'),
      import('../../runtime/options.js'),
    ])
    const labels = Object.fromEntries((args.label ?? []).map(l => pair('--label', l)))
    stdout.write(`${createVolume(root, args.name ?? newId(), labels, args.name === undefined).name}\n`)
  },
})
