/** `lamina images`: what is in the store. */
import { defineCommand, jsonOption, quietOption } from '../command.js'
import { formatOption } from '../format.js'
import { ago, size } from '../human.js'
import { printJson, printTable } from '../print.js'

export const command = defineCommand({
  command: 'images [name]',
  describe: 'List images',
  builder: {
    ...jsonOption,
    ...quietOption,
    ...formatOption,
    all: { alias: 'a', type: 'boolean', describe: 'For Docker’s sake: there are no hidden images' },
    digests: { type: 'boolean', describe: 'Show digests' },
    'no-trunc': { type: 'boolean', describe: 'Show whole IDs' },
    filter: {
      alias: 'f',
      type: 'string',
      array: true,
      requiresArg: true,
      describe:
        'Only those that match: reference=NAME or PATTERN, label=, before=IMAGE, since=IMAGE, until=, dangling=',
    },
  },
  async handler(args, { root, stdout }) {
    const [{ Store }, images, { familiarName, parseReference, nameOf }] = await Promise.all([
      import('../../image/store.js'),
      import('../../image/images.js'),
      import('../../image/reference.js'),
    ])
    const store = Store.open(root)
    const wanted = args.name
    const filters = args.filter ?? []
    const fits = filters.length === 0 ? undefined : (await import('../image-filter.js')).imageFilter(store, filters)
    const rows = images.listImages(store).flatMap(image => {
      const common = { image, id: image.id, created: images.createdAt(image), size: images.unpackedSize(store, image) }
      if (image.names.length === 0)
        return [{ ...common, repository: '<none>', tag: '<none>', name: undefined as string | undefined }]
      return image.names.map(name => {
        const r = parseReference(name)
        return {
          ...common,
          repository: familiarName(nameOf(r)),
          tag: r.tag ?? '<none>',
          name: name as string | undefined,
        }
      })
    })
    const want = wanted === undefined ? undefined : parseReference(wanted)
    const hasTag = wanted !== undefined && /:[^/]*$/.test(wanted)
    const shown = rows.filter(row => {
      if (fits?.(row.image, row.name) === false) return false
      if (want === undefined) return true
      if (row.name === undefined) return false
      const r = parseReference(row.name)
      return nameOf(r) === nameOf(want) && (!hasTag || r.tag === want.tag)
    })
    if (args.json === true) {
      printJson(
        stdout,
        shown.map(r => ({
          id: r.id,
          digest: r.image.digest,
          repository: r.repository,
          tag: r.tag,
          created: r.image.config.created ?? null,
          size: r.size,
          layers: r.image.layers.length,
        })),
      )
      return
    }
    const id = (text: string): string => (args.noTrunc === true ? text : text.slice(7, 19))
    if (args.format !== undefined) {
      const { printFormatted } = await import('../format.js')
      const views = shown.map(r => ({
        ID: id(r.id),
        Repository: r.repository,
        Tag: r.tag,
        Digest: r.image.digest,
        CreatedSince: r.created === 0 ? 'N/A' : ago(r.created),
        CreatedAt: r.created === 0 ? 'N/A' : new Date(r.created).toISOString(),
        Size: size(r.size),
      }))
      return printFormatted(stdout, views, args.format, { ID: 'IMAGE ID', CreatedSince: 'CREATED' })
    }
    if (args.quiet === true) {
      for (const unique of new Set(shown.map(r => id(r.id)))) stdout.write(`${unique}\n`)
      return
    }
    printTable(stdout, shown, [
      { heading: 'REPOSITORY', cell: r => r.repository },
      { heading: 'TAG', cell: r => r.tag },
      ...(args.digests === true ? [{ heading: 'DIGEST', cell: (r: (typeof shown)[number]) => r.image.digest }] : []),
      { heading: 'IMAGE ID', cell: r => id(r.id) },
      { heading: 'CREATED', cell: r => (r.created === 0 ? 'N/A' : ago(r.created)) },
      { heading: 'SIZE', cell: r => size(r.size) },
    ])
  },
})
