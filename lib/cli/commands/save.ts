/** `lamina save`: images into an archive. */
import { defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'save <images..>',
  describe: 'Save images into an archive',
  builder: {
    output: { alias: 'o', type: 'string', requiresArg: true, describe: 'File; default: standard output' },
    format: {
      type: 'string',
      choices: ['oci', 'docker'],
      default: 'oci',
      describe: 'oci: layers as they are; docker: for docker load',
    },
  },
  examples: [['save -o debian.tar debian:12', 'An OCI archive']],
  async handler(args, { root, stdout }) {
    if (args.output === undefined && stdout.isTTY === true)
      throw new UsageError('standard output is a terminal: use -o FILE or redirect it')
    const [{ Store }, { saveImages }, { writeOut }] = await Promise.all([
      import('../../image/store.js'),
      import('../../image/save.js'),
      import('../write-out.js'),
    ])
    await writeOut(saveImages(Store.open(root), args.images, args.format as 'oci' | 'docker'), args.output, stdout)
  },
})
