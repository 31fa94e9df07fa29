/** `lamina ps`: lists containers. */
import { defineCommand, jsonOption, quietOption } from '../command.js'
import { formatOption } from '../format.js'
import { ago, size } from '../human.js'
import type { Container } from '../../runtime/containers.js'

export const command = defineCommand({
  command: 'ps',
  describe: 'List containers',
  builder: {
    ...jsonOption,
    ...quietOption,
    ...formatOption,
    all: { alias: 'a', type: 'boolean', describe: 'Those that do not run too' },
    filter: { alias: 'f', type: 'string', array: true, describe: 'Only those that match: status=, name=, label=, …' },
    last: { alias: 'n', type: 'string', describe: 'The N last made' },
    latest: { alias: 'l', type: 'boolean', describe: 'The last made' },
    'no-trunc': { type: 'boolean', describe: 'Do not shorten' },
    size: { alias: 's', type: 'boolean', describe: 'How much each has written, and with its image' },
  },
  async handler(args, { root, runRoot, stdout }) {
    const [{ Containers }, { containerFilter }, { liveStatus }, { statusLine, portsLine }] = await Promise.all([
      import('../../runtime/containers.js'),
      import('../../runtime/filters.js'),
      import('../../runtime/status.js'),
      import('../container-lines.js'),
    ])
    const sized = args.size === true || /\.Size\b/.test(args.format ?? '')
    if (sized) {
      // What other ids of an ordinary user have written only root of his namespace can see.
      const { elevate } = await import('../elevate.js')
      const elsewhere = await elevate({ root, runRoot })
      if (elsewhere !== undefined) return elsewhere
    }
    const all = await new Containers(root, runRoot).all()
    const test = containerFilter(args.filter ?? [], all)
    const everything = args.all === true || args.last !== undefined || args.latest === true
    const byStatus = (args.filter ?? []).some(f => /^(status|exited)=/.test(f))
    const shown = (c: Container): boolean => everything || byStatus || c.state.status === 'running'
    let list = all.filter(c => shown(c) && test(c)).reverse()
    if (args.latest === true) list = list.slice(0, 1)
    else if (args.last !== undefined) list = list.slice(0, Number(args.last))
    const short = (id: string): string => (args.noTrunc === true ? id : id.slice(0, 12))
    if (args.quiet === true) return void stdout.write(list.map(c => `${short(c.id)}\n`).join(''))
    const sizes = new Map<string, string>()
    if (sized) {
      const { containerSize } = await import('../../runtime/size.js')
      for (const c of list) {
        const { written, all } = await containerSize(root, c)
        sizes.set(c.id, `${size(written)} (virtual ${size(all)})`)
      }
    }
    const views = list.map(c => {
      const line = c.config.args.join(' ')
      return {
        ID: short(c.id),
        Image: c.config.root.kind === 'image' ? c.config.root.reference : c.config.root.path,
        Command: `"${args.noTrunc === true || line.length <= 20 ? line : `${line.slice(0, 19)}…`}"`,
        CreatedAt: c.config.created,
        RunningFor: agoOf(c.config.created),
        Status: statusLine(c),
        State: liveStatus(c),
        Ports: portsLine(c.state.network?.ports ?? []),
        Names: c.config.name,
        Labels: Object.entries(c.config.labels)
          .map(([k, v]) => `${k}=${v}`)
          .join(','),
        Mounts: c.config.mounts.map(m => m.source || m.destination).join(','),
        Networks: typeof c.config.network === 'string' ? c.config.network : Object.values(c.config.network).join(''),
        ...(sized ? { Size: sizes.get(c.id) ?? '' } : {}),
      }
    })
    if (args.format !== undefined) {
      const { printFormatted } = await import('../format.js')
      return printFormatted(stdout, views, args.format, { ID: 'CONTAINER ID', RunningFor: 'CREATED' })
    }
    const { printJson, printTable } = await import('../print.js')
    if (args.json === true) return printJson(stdout, views)
    printTable(stdout, views, [
      { heading: 'CONTAINER ID', cell: v => v.ID },
      { heading: 'IMAGE', cell: v => v.Image },
      { heading: 'COMMAND', cell: v => v.Command },
      { heading: 'CREATED', cell: v => v.RunningFor },
      { heading: 'STATUS', cell: v => v.Status },
      { heading: 'PORTS', cell: v => v.Ports },
      { heading: 'NAMES', cell: v => v.Names },
      ...(sized ? [{ heading: 'SIZE', cell: (v: (typeof views)[number]) => v.Size ?? '' }] : []),
    ])
  },
})

function agoOf(iso: string): string {
  return ago(Date.parse(iso))
}
