/** Owns the file tree: rows of fixed height, only those in sight are in the document. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import {
  bytesText,
  isDirectoryIn,
  isLinkIn,
  KIND,
  type Matches,
  modeText,
  type Rows,
  shownEvent,
  type View,
} from '../view.js'

export const ROW = 26
const SPARE = 8

const MARK = ['', '', 'A', 'M', 'P', 'D'] as const
const WORD = ['', 'unchanged', 'added', 'modified', 'permissions or times', 'removed'] as const

interface Props {
  readonly view: View
  readonly rows: Rows
  readonly open: Uint8Array
  readonly matches: Matches | undefined
  readonly query: string
  readonly selected: number
  readonly onSelect: (node: number) => void
  readonly onToggle: (node: number) => void
}

export function Tree(props: Props) {
  const { view, rows, selected } = props
  const box = useRef<HTMLDivElement>(null)
  const [top, setTop] = useState(0)
  const [height, setHeight] = useState(600)

  useLayoutEffect(() => {
    const element = box.current
    if (element === null) return
    const measure = (): void => setHeight(element.clientHeight)
    measure()
    const observer = new ResizeObserver(measure)
    observer.observe(element)
    return () => observer.disconnect()
  }, [])

  // The selected row is brought into sight when it was moved to, not when it was scrolled away from.
  const at = rows.nodes.indexOf(selected)
  useEffect(() => {
    const element = box.current
    if (element === null || at < 0) return
    const y = at * ROW
    if (y < element.scrollTop) element.scrollTop = y
    else if (y + ROW > element.scrollTop + element.clientHeight) element.scrollTop = y + ROW - element.clientHeight
  }, [selected, at])

  const first = Math.max(0, Math.floor(top / ROW) - SPARE)
  const last = Math.min(rows.length, Math.ceil((top + height) / ROW) + SPARE)
  const drawn = []
  for (let i = first; i < last; i++) drawn.push(<Row key={rows.nodes[i]} {...props} index={i} />)
  const total = view.bytes[0] as number
  return (
    <div class="tree-pane">
      <div class="tree-head" aria-hidden="true">
        <span>Name</span>
        <span class="num">Size</span>
        <span class="mode">Mode</span>
        <span class="owner">Owner</span>
      </div>
      <div
        class="tree"
        ref={box}
        role="tree"
        tabIndex={0}
        aria-label={`Files, ${rows.length} rows, ${bytesText(total)}`}
        aria-activedescendant={at >= 0 ? `row-${selected}` : undefined}
        onScroll={e => setTop((e.currentTarget as HTMLElement).scrollTop)}
      >
        {rows.length === 0 && <p class="empty">Nothing here matches the filters.</p>}
        <div class="rows" style={{ height: `${rows.length * ROW}px` }}>
          {drawn}
        </div>
      </div>
    </div>
  )
}

function Row({ view, rows, open, matches, query, selected, onSelect, onToggle, index }: Props & { index: number }) {
  const node = rows.nodes[index] as number
  const depth = rows.depths[index] as number
  const event = shownEvent(view, node)
  const kind = view.kind[node] as number
  const { data } = view
  const directory = isDirectoryIn(view, node)
  const expanded =
    directory && (open[node] === 1 || (matches !== undefined && ((matches.mark[node] as number) & 2) !== 0))
  const inner = directory && kind === KIND.SAME && ((view.kindsBelow[node] as number) & ~0b11) !== 0
  const share = (view.bytes[node] as number) / Math.max(1, view.bytes[0] as number)
  const target = isLinkIn(view, node) ? (data.target[event] as number) : 0
  const uid = data.uid[event] as number
  const gid = data.gid[event] as number
  return (
    <div
      id={`row-${node}`}
      class={`row k${kind}${inner ? ' inner' : ''}${node === selected ? ' selected' : ''}`}
      role="treeitem"
      aria-level={depth + 1}
      aria-expanded={directory ? expanded : undefined}
      aria-selected={node === selected}
      style={{ transform: `translateY(${index * ROW}px)` }}
      onClick={() => {
        onSelect(node)
        if (directory) onToggle(node)
      }}
    >
      <span class="name" style={{ paddingLeft: `${depth * 16 + 8}px` }}>
        <i class={directory ? (expanded ? 'twisty open' : 'twisty') : 'leaf'} />
        <i class={directory ? 'icon dir' : target > 0 ? 'icon link' : 'icon file'} />
        <bdi class="label">
          <Marked text={data.names[node] as string} query={query} />
        </bdi>
        {target > 0 && <bdi class="target">→ {data.targets[target - 1]}</bdi>}
        <b class="mark" title={WORD[kind]}>
          {MARK[kind]}
        </b>
      </span>
      <span class="num">
        {share > 0.01 && <i class="bar" style={{ width: `${Math.round(share * 56)}px` }} />}
        {bytesText(view.bytes[node] as number)}
      </span>
      <span class="mode">{event < 0 ? '' : modeText(data.mode[event] as number)}</span>
      <span class="owner">{uid === 0 && gid === 0 ? 'root' : `${uid}:${gid}`}</span>
    </div>
  )
}

/** The name with the searched part marked. Text nodes only. */
function Marked({ text, query }: { text: string; query: string }) {
  const wanted = query
    .slice(query.lastIndexOf('/') + 1)
    .trim()
    .toLowerCase()
  const at = wanted === '' ? -1 : text.toLowerCase().indexOf(wanted)
  if (at < 0) return <>{text}</>
  return (
    <>
      {text.slice(0, at)}
      <mark>{text.slice(at, at + wanted.length)}</mark>
      {text.slice(at + wanted.length)}
    </>
  )
}
