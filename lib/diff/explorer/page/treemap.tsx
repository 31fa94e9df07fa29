/** Owns the treemap: where the bytes of one directory are, two levels deep, coloured by change. */
import { hierarchy, treemap, treemapSquarify } from 'd3-hierarchy'
import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import { shownPath } from '../dataset.js'
import { bytesText, isDirectoryIn, KIND, type View } from '../view.js'

interface Props {
  readonly view: View
  readonly dir: number
  /** Weigh what changed instead of all there is. */
  readonly changedOnly: boolean
  readonly onOpen: (node: number) => void
}

interface Cell {
  readonly node: number
  readonly value: number
  readonly rest: number
  readonly children?: Cell[]
}

/** Cells per directory; what is smaller is drawn as one. */
const CELLS = 120

export function Treemap({ view, dir, changedOnly, onOpen }: Props) {
  const box = useRef<HTMLDivElement>(null)
  // Nothing is laid out before it is known for how much room.
  const [size, setSize] = useState<{ width: number; height: number } | undefined>(undefined)
  useLayoutEffect(() => {
    const element = box.current
    if (element === null) return
    const measure = (): void => setSize({ width: element.clientWidth, height: element.clientHeight })
    measure()
    const observer = new ResizeObserver(measure)
    observer.observe(element)
    return () => observer.disconnect()
  }, [])
  const root = useMemo(() => {
    if (size === undefined) return undefined
    const weights = changedOnly ? view.changedBytes : view.bytes
    const tree = hierarchy<Cell>(cellsOf(view, dir, weights, 2)).sum(c => (c.children ? 0 : c.value))
    return treemap<Cell>()
      .tile(treemapSquarify.ratio(1.4))
      .size([size.width, size.height])
      .paddingInner(2)
      .paddingTop(n => (n.depth === 1 && n.children && n.y1 - n.y0 > 34 && n.x1 - n.x0 > 40 ? 18 : 0))
      .round(true)(tree)
  }, [view, dir, changedOnly, size])
  const cells = root?.descendants().slice(1)
  return (
    <div class="treemap" ref={box} role="group" aria-label={`Sizes in ${shownPath(view.data, dir)}`}>
      {cells?.length === 0 && <p class="empty">No bytes here.</p>}
      {cells?.map((c, i) => {
        const { node, value, rest } = c.data
        const width = c.x1 - c.x0
        const height = c.y1 - c.y0
        if (width < 2 || height < 2) return null
        const name = rest > 0 ? `${rest} smaller` : (view.data.names[node] as string)
        return (
          <button
            type="button"
            key={i}
            class={`cell d${c.depth}${c.children ? ' group' : ''} ${tint(view, node, rest)}`}
            style={{ left: `${c.x0}px`, top: `${c.y0}px`, width: `${width}px`, height: `${height}px` }}
            title={`${rest > 0 ? name : shownPath(view.data, node)}\n${bytesText(value)}`}
            onClick={() => onOpen(node)}
          >
            {width > 44 && height > 15 && <bdi>{name}</bdi>}
            {width > 60 && height > 34 && !c.children && <small>{bytesText(value)}</small>}
          </button>
        )
      })}
    </div>
  )
}

function tint(view: View, node: number, rest: number): string {
  if (rest > 0) return 'rest'
  const kind = view.kind[node] as number
  if (kind === KIND.SAME && isDirectoryIn(view, node)) {
    const below = view.kindsBelow[node] as number
    if ((below & ~0b11) !== 0) return 'k3 soft'
  }
  return `k${kind}`
}

function cellsOf(view: View, dir: number, weights: Float64Array, depth: number): Cell {
  const first = view.data.first[dir] as number
  const count = view.data.count[dir] as number
  const all: number[] = []
  for (let child = first; child < first + count; child++) if ((weights[child] as number) > 0) all.push(child)
  all.sort((a, b) => (weights[b] as number) - (weights[a] as number))
  const value = weights[dir] as number
  if (all.length === 0 || depth === 0) return { node: dir, value, rest: 0 }
  const children = all.slice(0, CELLS).map(child => cellsOf(view, child, weights, depth - 1))
  const others = all.slice(CELLS)
  if (others.length > 0) {
    const small = others.reduce((sum, child) => sum + (weights[child] as number), 0)
    children.push({ node: dir, value: small, rest: others.length })
  }
  return { node: dir, value, rest: 0, children }
}
