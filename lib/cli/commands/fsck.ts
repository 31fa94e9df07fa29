/** `lamina fsck`: checks the store, and with --repair makes again what it can. */
import { defineCommand, jsonOption } from '../command.js'
import { printJson } from '../print.js'
import { printable } from '../printable.js'

export const command = defineCommand({
  command: 'fsck',
  describe: 'Check every image, layer and file of the store',
  builder: {
    ...jsonOption,
    repair: { type: 'boolean', describe: 'Make again what can be made; drop images that cannot' },
  },
  epilogue: 'Exit code 0: nothing wrong, or all repaired; 1: problems remain.',
  async handler(args, { root, stdout }) {
    const [{ Store }, { fsck }] = await Promise.all([import('../../image/store.js'), import('../../image/fsck.js')])
    const report = await fsck(Store.open(root), { repair: args.repair === true })
    if (args.json === true) printJson(stdout, report)
    else {
      for (const p of report.problems)
        stdout.write(`${p.kind} ${printable(p.subject)}: ${printable(p.cause)}${p.repaired ? ' (repaired)' : ''}\n`)
      const { images, layers, blobs, objects } = report.checked
      stdout.write(
        `checked ${images} images, ${layers} layers, ${blobs} blobs, ${objects} objects: ${report.problems.length === 0 ? 'nothing wrong' : `${report.problems.length} problems`}\n`,
      )
    }
    return report.problems.every(p => p.repaired) ? 0 : 1
  },
})
