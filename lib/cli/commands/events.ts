/** `lamina events`: what happens to containers, as it happens. */
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { defineCommand, jsonOption } from '../command.js'
import { formatOption } from '../format.js'
import { printable } from '../printable.js'

export const command = defineCommand({
  command: 'events',
  describe: 'Show what happens to containers',
  builder: {
    ...jsonOption,
    ...formatOption,
    since: { type: 'string', describe: 'From a time or an age on; without it only what comes' },
    until: { type: 'string', describe: 'Until a time or an age; then it ends' },
    filter: { alias: 'f', type: 'string', array: true, describe: 'Only container=NAME, event=ACTION, image=NAME' },
  },
  async handler(args, { root, stdout }) {
    const [{ eventsPath, readEvents }, { moment }, { RuntimeError }] = await Promise.all([
      import('../../runtime/events.js'),
      import('../../runtime/options.js'),
      import('../../runtime/error.js'),
    ])
    const filters = (args.filter ?? []).map(f => {
      const [key = '', value = ''] = f.split('=', 2)
      if (!['container', 'event', 'image'].includes(key))
        throw new RuntimeError('INVALID', `--filter ${f}: is none of container=, event=, image=`)
      return { key, value }
    })
    const since = args.since === undefined ? Date.now() : moment('--since', args.since)
    const until = args.until === undefined ? Infinity : moment('--until', args.until)
    let last = ''
    for (;;) {
      const text = existsSync(eventsPath(root)) ? readFileSync(eventsPath(root), 'utf8') : ''
      const all = readEvents(text)
      // The record may have been cut to its newer half since the last look.
      const from = last === '' ? 0 : all.findLastIndex(e => JSON.stringify(e) === last) + 1
      for (const e of all.slice(from)) {
        const time = Date.parse(e.time)
        if (time < since || time > until) continue
        const fits = ({ key, value }: { key: string; value: string }): boolean =>
          key === 'event'
            ? e.action === value
            : key === 'image'
              ? e.image === value
              : e.name === value || e.id.startsWith(value)
        if (!filters.every(fits)) continue
        const attributes = { image: e.image, name: e.name, ...e.attributes }
        if (args.format !== undefined) {
          const { printFormatted } = await import('../format.js')
          const Actor = { ID: e.id, Attributes: attributes }
          const view = { Type: e.type, Action: e.action, ID: e.id, From: e.image, Name: e.name, Time: e.time, Actor }
          printFormatted(stdout, [{ ...view, Status: e.action }], args.format)
          continue
        }
        const words = Object.entries(attributes).map(([k, v]) => `${k}=${v}`)
        stdout.write(
          args.json === true
            ? `${JSON.stringify(e)}\n`
            : `${e.time} ${e.type} ${e.action} ${e.id} (${printable(words.join(', '))})\n`,
        )
      }
      const newest = all.at(-1)
      if (newest !== undefined) last = JSON.stringify(newest)
      if (Date.now() >= until) return
      await sleep(100)
    }
  },
})
