/**
 * Owns the explorer for terminals, with dive's keys: `TerminalExplorer` is state, keys and frames as text, without a
 * terminal; run.ts connects it to one.
 * Formats: keys by name (`up`, `ctrl-a`, `space`, or the character itself); a frame is one string per line, each exactly
 * as wide as asked, with SGR colours unless `colour` is false.
 * Invariant: names come from the dataset, where they were made safe for terminals; nothing else foreign is printed.
 */
import { type Dataset, shownPath } from '../../diff/explorer/dataset.js'
import {
  ALL_KINDS,
  bytesText,
  isDirectoryIn,
  isLinkIn,
  KIND,
  type Matches,
  modeText,
  type Rows,
  rowsOf,
  search,
  shownEvent,
  type View,
  viewOf,
} from '../../diff/explorer/view.js'
import { displayWidth } from '../print.js'

const COLOUR: Readonly<Record<number, string>> = {
  [KIND.ADDED]: '32',
  [KIND.MODIFIED]: '33',
  [KIND.METADATA]: '35',
  [KIND.REMOVED]: '31',
}

/** One line of waste under the layers. */
export interface WasteLine {
  readonly path: string
  readonly bytes: number
}

export class TerminalExplorer {
  readonly #data: Dataset
  readonly #colour: boolean
  readonly #waste: readonly WasteLine[]
  readonly #open: Uint8Array
  #view: View
  #rows: Rows
  #matches: Matches | undefined
  #focus: 'layers' | 'tree' | 'filter' = 'layers'
  #layer = 0
  #sum = false
  #kinds = ALL_KINDS
  #attributes = true
  #query = ''
  #selected = 0
  #top = 0
  #page = 20
  /** Set by `q` and Ctrl+C. */
  done = false

  constructor(data: Dataset, waste: readonly WasteLine[], options: { readonly colour: boolean }) {
    this.#data = data
    this.#colour = options.colour
    this.#waste = waste
    this.#open = new Uint8Array(data.names.length).fill(1)
    this.#view = viewOf(data, 0, 0)
    this.#rows = rowsOf(this.#view, this.#open, this.#kinds)
  }

  #range(): void {
    this.#view = viewOf(this.#data, this.#sum ? Math.min(1, this.#layer) : this.#layer, this.#layer)
    this.#filter()
  }

  #filter(): void {
    this.#matches = search(this.#view, this.#query)
    this.#layout()
  }

  #layout(): void {
    const at = this.#rows.nodes[this.#selected]
    this.#rows = rowsOf(this.#view, this.#open, this.#kinds, this.#matches)
    const again = at === undefined ? -1 : this.#rows.nodes.indexOf(at)
    this.#selected = again >= 0 ? again : Math.min(this.#selected, Math.max(0, this.#rows.length - 1))
  }

  /** Acts on a key. */
  key(key: string): void {
    if (key === 'ctrl-c' || (key === 'q' && this.#focus !== 'filter')) this.done = true
    else if (this.#focus === 'filter') this.#filterKey(key)
    else if (key === 'tab') this.#focus = this.#focus === 'layers' ? 'tree' : 'layers'
    else if (key === 'ctrl-f' || key === '/') this.#focus = 'filter'
    else if (this.#focus === 'layers') this.#layerKey(key)
    else this.#treeKey(key)
  }

  #filterKey(key: string): void {
    if (key === 'escape' || key === 'ctrl-f') {
      this.#query = ''
      this.#focus = 'tree'
    } else if (key === 'enter' || key === 'tab') {
      this.#focus = 'tree'
      return
    } else if (key === 'backspace') this.#query = this.#query.slice(0, -1)
    else if (key === 'space') this.#query += ' '
    else if (key.length === 1 || displayWidth(key) <= 2) this.#query += key
    else return
    this.#filter()
  }

  #layerKey(key: string): void {
    const last = this.#data.info.layers.length - 1
    const go = (to: number): void => {
      this.#layer = Math.max(0, Math.min(last, to))
      this.#range()
    }
    if (key === 'up' || key === 'k') go(this.#layer - 1)
    else if (key === 'down' || key === 'j') go(this.#layer + 1)
    else if (key === 'pageup') go(this.#layer - 10)
    else if (key === 'pagedown') go(this.#layer + 10)
    else if (key === 'home') go(0)
    else if (key === 'end') go(last)
    else if (key === 'ctrl-a' || key === 'ctrl-l') {
      this.#sum = key === 'ctrl-a'
      this.#range()
    }
  }

  #treeKey(key: string): void {
    const go = (to: number): void => {
      this.#selected = Math.max(0, Math.min(this.#rows.length - 1, to))
    }
    const flip = (kind: number): void => {
      this.#kinds ^= 1 << kind
      this.#layout()
    }
    const node = this.#rows.nodes[this.#selected]
    const directory = node !== undefined && isDirectoryIn(this.#view, node)
    switch (key) {
      case 'up':
      case 'k':
        return go(this.#selected - 1)
      case 'down':
      case 'j':
        return go(this.#selected + 1)
      case 'pageup':
      case 'u':
        return go(this.#selected - this.#page)
      case 'pagedown':
      case 'd':
        return go(this.#selected + this.#page)
      case 'home':
        return go(0)
      case 'end':
        return go(this.#rows.length - 1)
      case 'left':
      case 'h':
        if (node === undefined) return
        if (directory && this.#open[node] === 1) this.#toggle(node, 0)
        else go(this.#rows.nodes.indexOf(this.#data.parent[node] as number))
        return
      case 'right':
      case 'l':
        if (directory) this.#toggle(node, 1)
        return
      case 'space':
        if (directory) this.#toggle(node, this.#open[node] === 1 ? 0 : 1)
        return
      case 'ctrl-space':
        this.#open.fill(this.#open.includes(1) ? 0 : 1)
        return this.#layout()
      case 'ctrl-a':
        return flip(KIND.ADDED)
      case 'ctrl-r':
        return flip(KIND.REMOVED)
      case 'enter':
        // Ctrl+M is what a terminal sends for Enter; dive has "modified" on it.
        this.#kinds ^= 1 << KIND.METADATA
        return flip(KIND.MODIFIED)
      case 'ctrl-u':
        return flip(KIND.SAME)
      case 'ctrl-b':
        this.#attributes = !this.#attributes
        return
      default:
    }
  }

  #toggle(node: number, open: 0 | 1): void {
    this.#open[node] = open
    this.#layout()
  }

  /** The screen, `rows` lines of `columns` cells. */
  frame(columns: number, rows: number): string[] {
    const left = Math.max(24, Math.min(70, Math.floor(columns * 0.45)))
    const right = Math.max(0, columns - left - 1)
    const height = Math.max(1, rows - 1)
    const a = this.#left(left, height)
    const b = this.#tree(right, height)
    const lines: string[] = []
    for (let i = 0; i < height; i++)
      lines.push(`${a[i] ?? ' '.repeat(left)}${this.#paint('│', '2')}${b[i] ?? ' '.repeat(right)}`)
    lines.push(this.#status(columns))
    return lines
  }

  #left(width: number, height: number): string[] {
    const { info } = this.#data
    const lines = [
      this.#title('Layers', width, this.#focus === 'layers'),
      this.#paint(fit('    Size  Command', width), '2'),
    ]
    const room = Math.max(3, Math.min(info.layers.length, height - 16))
    const first = Math.max(0, Math.min(this.#layer - Math.floor(room / 2), info.layers.length - room))
    for (let i = first; i < Math.min(info.layers.length, first + room); i++) {
      const layer = info.layers[i]
      if (layer === undefined) break
      const text = fit(`${bytesText(layer.bytes).padStart(8)}  ${layer.instruction || layer.id}`, width)
      lines.push(
        i === this.#layer
          ? this.#paint(text, '7')
          : this.#sum && i > 0 && i < this.#layer
            ? this.#paint(text, '36')
            : text,
      )
    }
    const layer = info.layers[this.#layer]
    if (layer !== undefined) {
      lines.push(
        fit('', width),
        this.#title('Layer', width, false),
        fit(`id       ${layer.id}`, width),
        fit(`files    ${layer.added} added, ${layer.changed} changed, ${layer.removed} removed`, width),
        fit(`hides    ${bytesText(layer.hiddenBytes)} of layers below`, width),
      )
      for (const part of wrap(layer.instruction, width).slice(0, 3)) lines.push(this.#paint(fit(part, width), '2'))
    }
    const percent = (Math.floor(info.efficiency * 1000) / 10).toFixed(1)
    lines.push(
      fit('', width),
      this.#title('Image', width, false),
      fit(info.title, width),
      fit(`size ${bytesText(info.totalBytes)}   wasted ${bytesText(info.wastedBytes)}   efficiency ${percent}%`, width),
    )
    for (const { bytes, path } of this.#waste) {
      if (lines.length >= height) break
      lines.push(fit(`${bytesText(bytes).padStart(8)}  ${path}`, width))
    }
    return lines.slice(0, height)
  }

  #tree(width: number, height: number): string[] {
    const what = this.#sum ? `changes up to layer ${this.#layer}` : `changes of layer ${this.#layer}`
    const lines = [this.#title(`Files: ${what}`, width, this.#focus !== 'layers')]
    const heading = { all: 'Permission     UID:GID      Size  Tree', size: '     Size  Tree', none: 'Tree' }[
      this.#columns(width)
    ]
    lines.push(this.#paint(fit(heading, width), '2'))
    const room = Math.max(1, height - lines.length)
    this.#page = room
    this.#top = Math.max(0, Math.min(this.#top, this.#selected, Math.max(0, this.#rows.length - room)))
    if (this.#selected >= this.#top + room) this.#top = this.#selected - room + 1
    for (let i = this.#top; i < Math.min(this.#rows.length, this.#top + room); i++) lines.push(this.#row(i, width))
    if (this.#rows.length === 0) lines.push(fit('nothing matches the filters', width))
    while (lines.length < height) lines.push(fit('', width))
    return lines
  }

  /** What stands before the names, which must have room themselves. */
  #columns(width: number): 'all' | 'size' | 'none' {
    if (!this.#attributes || width < 28) return 'none'
    return width < 58 ? 'size' : 'all'
  }

  #row(index: number, width: number): string {
    const view = this.#view
    const data = this.#data
    const node = this.#rows.nodes[index] as number
    const event = shownEvent(view, node)
    const directory = isDirectoryIn(view, node)
    let text = ''
    const columns = this.#columns(width)
    if (columns !== 'none' && event >= 0) {
      if (columns === 'all') {
        const owner = `${data.uid[event]}:${data.gid[event]}`
        text = `${modeText(data.mode[event] as number)} ${owner.padStart(11)} `
      }
      text += `${bytesText(view.bytes[node] as number).padStart(9)}  `
    }
    const target = isLinkIn(view, node) ? (data.target[event] as number) : 0
    const sign = directory ? (this.#open[node] === 1 ? '▾ ' : '▸ ') : '  '
    text += `${'  '.repeat(this.#rows.depths[index] as number)}${sign}${data.names[node] as string}`
    if (target > 0) text += ` → ${data.targets[target - 1] as string}`
    const colour = COLOUR[view.kind[node] as number] ?? ''
    const selected = index === this.#selected && this.#focus !== 'layers' ? '7' : ''
    return this.#paint(fit(text, width), [colour, selected].filter(Boolean).join(';'))
  }

  #status(width: number): string {
    if (this.#focus === 'filter') return fit(` Filter: ${this.#query}█   Enter keep · Esc clear`, width)
    const found = this.#matches === undefined ? '' : ` ${this.#matches.count} found ·`
    const node = this.#rows.nodes[this.#selected]
    const keys =
      this.#focus === 'layers'
        ? ' q quit · Tab files · ^F filter · ↑↓ layer · ^L this layer · ^A all changes'
        : ` q quit · Tab layers · ^F filter ·${found} Space fold · ^Space fold all · ^A added · ^R removed · ^M modified · ^U unmodified · ^B attributes`
    const path = this.#focus === 'tree' && node !== undefined ? `${shownPath(this.#data, node)} ·` : ''
    return this.#paint(fit(` ${path}${keys}`, width), '7')
  }

  #title(text: string, width: number, active: boolean): string {
    const head = fit(`${active ? '●' : '─'} ${text} `, Math.min(width, displayWidth(text) + 3))
    return this.#paint(head + '─'.repeat(width - displayWidth(head)), active ? '1;36' : '1')
  }

  #paint(text: string, sgr: string): string {
    return this.#colour && sgr !== '' ? `\x1b[${sgr}m${text}\x1b[0m` : text
  }
}

/** Exactly `width` cells: cut with `…`, or filled up. */
export function fit(text: string, width: number): string {
  if (displayWidth(text) <= width) return text + ' '.repeat(width - displayWidth(text))
  let shown = ''
  let used = 0
  for (const char of text) {
    const w = displayWidth(char)
    if (used + w > width - 1) break
    shown += char
    used += w
  }
  return width < 1 ? '' : `${shown}…${' '.repeat(Math.max(0, width - 1 - used))}`
}

function wrap(text: string, width: number): string[] {
  const parts: string[] = []
  for (let rest = text; rest !== ''; rest = rest.slice(width)) parts.push(rest.slice(0, width))
  return parts
}
