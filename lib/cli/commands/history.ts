/** `lamina history`: how an image came to be, newest step first. */
import { join } from 'node:path'
import { defineCommand, jsonOption, quietOption } from '../command.js'
import { formatOption } from '../format.js'
import { ago, size } from '../human.js'
import { printJson, printTable } from '../print.js'

export const command = defineCommand({
  command: 'history <image>',
  describe: 'Show the steps that made an image',
  builder: {
    ...jsonOption,
    ...quietOption,
    ...formatOption,
    human: { alias: 'H', type: 'boolean', default: true, describe: '=false: sizes in bytes, times as they are' },
    'no-trunc': { type: 'boolean', describe: 'Show whole commands' },
  },
  async handler(args, { root, stdout }) {
    const [{ Store }, { resolveImage }, { imageHistory }] = await Promise.all([
      import('../../image/store.js'),
      import('../../image/images.js'),
      import('../../image/history.js'),
    ])
    const store = Store.open(root)
    const { readSteps } = await import('../../build/steps.js')
    const image = resolveImage(store, args.image)
    const history = imageHistory(store, image)
    // Steps count from the oldest: the number is what IMAGE@STEP and rollback take.
    const built = readSteps(join(root, 'build'), image.id)
    const steps = history.map((entry, i) => {
      const step = history.length - i
      return { ...entry, step, line: built?.[step - 1]?.line }
    })
    if (args.json === true) return printJson(stdout, steps)
    const id = (text: string | undefined): string =>
      text === undefined ? '<missing>' : args.noTrunc === true ? text : text.slice(7, 19)
    const since = (created: string | undefined): string =>
      created === undefined ? 'N/A' : args.human ? ago(Date.parse(created)) : created
    const bytes = (n: number): string => (args.human ? size(n) : String(n))
    if (args.format !== undefined) {
      const { printFormatted } = await import('../format.js')
      const views = steps.map(s => ({
        ID: id(s.id),
        CreatedSince: since(s.created),
        CreatedAt: s.created ?? 'N/A',
        CreatedBy: s.createdBy,
        Size: bytes(s.size),
        Comment: s.comment,
        Step: s.step,
        Line: s.line ?? '',
        Layer: s.layer === undefined ? '' : id(s.layer),
      }))
      return printFormatted(stdout, views, args.format, { ID: 'IMAGE', CreatedSince: 'CREATED' })
    }
    if (args.quiet === true) {
      for (const step of steps) stdout.write(`${id(step.id)}\n`)
      return
    }
    const cut = (text: string): string => (args.noTrunc === true || text.length <= 45 ? text : `${text.slice(0, 44)}…`)
    printTable(stdout, steps, [
      { heading: 'IMAGE', cell: s => id(s.id) },
      { heading: 'CREATED', cell: s => since(s.created) },
      { heading: 'CREATED BY', cell: s => cut(s.createdBy.replace(/\s+/g, ' ')) },
      { heading: 'SIZE', cell: s => bytes(s.size) },
      { heading: 'COMMENT', cell: s => s.comment },
      { heading: 'STEP', cell: s => String(s.step) },
      { heading: 'LINE', cell: s => (s.line === undefined ? '' : String(s.line)) },
      { heading: 'LAYER', cell: s => (s.layer === undefined ? '' : id(s.layer)) },
    ])
  },
})
