/** Owns the page: the state that all parts share, the keyboard, and how the parts are laid out. */
import { render } from 'preact'
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { shownPath } from '../dataset.js'
import { ALL_KINDS, bytesText, CHANGED_KINDS, isDirectoryIn, KIND, rowsOf, search, viewOf } from '../view.js'
import { Detail } from './detail.js'
import { Layers } from './layers.js'
import { compareWith, embedded, images, type Loaded, served } from './source.js'
import { Tree } from './tree.js'
import { Treemap } from './treemap.js'

const FILTERS = [
  { kind: KIND.ADDED, key: '1', label: 'Added', count: 'added' },
  { kind: KIND.MODIFIED, key: '2', label: 'Modified', count: 'modified' },
  { kind: KIND.METADATA, key: '3', label: 'Attributes', count: 'metadata' },
  { kind: KIND.REMOVED, key: '4', label: 'Removed', count: 'removed' },
  { kind: KIND.SAME, key: '5', label: 'Unchanged', count: undefined },
] as const

type Scope = 'layer' | 'sum'
type Side = 'map' | 'file'

function App({ sets }: { sets: Loaded[] }) {
  const [loaded, setLoaded] = useState(sets)
  const [which, setWhich] = useState(0)
  const set = loaded[which] as Loaded
  const { data } = set
  const last = data.info.layers.length - 1
  const [layer, setLayer] = useState(last)
  const [anchor, setAnchor] = useState<number | undefined>(undefined)
  const [scope, setScope] = useState<Scope>('layer')
  const [kinds, setKinds] = useState(ALL_KINDS)
  const [query, setQuery] = useState('')
  const [selected, setSelected] = useState(0)
  const [side, setSide] = useState<Side>('map')
  const [mode, setMode] = useState<'text' | 'diff'>('text')
  const [help, setHelp] = useState(false)
  const [opened, setOpened] = useState(() => ({ open: new Uint8Array(data.names.length), version: 0 }))
  const field = useRef<HTMLInputElement>(null)

  const to = Math.min(layer, last)
  const from = anchor !== undefined ? Math.min(anchor, to) : scope === 'sum' ? Math.min(1, to) : to
  const view = useMemo(() => viewOf(data, from, to), [data, from, to])
  const matches = useMemo(() => search(view, query), [view, query])
  const rows = useMemo(() => rowsOf(view, opened.open, kinds, matches), [view, opened, kinds, matches])
  const dir = isDirectoryIn(view, selected) || selected === 0 ? selected : (data.parent[selected] as number)

  const show = (index: number, all = loaded): void => {
    const next = all[index]
    if (next === undefined) return
    setWhich(index)
    setLayer(next.data.info.layers.length - 1)
    setAnchor(undefined)
    setSelected(0)
    setOpened({ open: new Uint8Array(next.data.names.length), version: 0 })
    setKinds(next.data.info.comparison ? CHANGED_KINDS : ALL_KINDS)
    setSide('map')
  }
  const toggle = useCallback((node: number, wanted?: boolean) => {
    setOpened(({ open, version }) => {
      open[node] = (wanted ?? open[node] === 0) ? 1 : 0
      return { open, version: version + 1 }
    })
  }, [])
  const select = useCallback(
    (node: number) => {
      setSelected(node)
      setSide(isDirectoryIn(view, node) || node === 0 ? 'map' : 'file')
    },
    [view],
  )
  /** Goes to a node from elsewhere: opens the way to it. */
  const reveal = (node: number): void => {
    for (let n = node; n !== 0; n = data.parent[n] as number) {
      if (n !== node || isDirectoryIn(view, n)) toggle(n, true)
    }
    select(node)
  }
  const openAll = (wanted: boolean): void => {
    setOpened(({ open, version }) => ({ open: open.fill(wanted ? 1 : 0), version: version + 1 }))
  }
  const pick = (index: number, extend: boolean): void => {
    if (extend) setAnchor(Math.min(index, to))
    else setAnchor(undefined)
    setLayer(extend ? Math.max(index, to) : index)
  }

  const onKey = (e: KeyboardEvent): void => {
    const typing = e.target instanceof HTMLInputElement
    if (e.key === 'Escape') {
      setHelp(false)
      if (typing) {
        if (e.target === field.current) setQuery('')
        document.querySelector<HTMLElement>('.tree')?.focus()
      }
      return
    }
    if (e.ctrlKey || e.metaKey || e.altKey) return
    if (typing) {
      if (e.target === field.current && (e.key === 'ArrowDown' || e.key === 'Enter')) {
        document.querySelector<HTMLElement>('.tree')?.focus()
        if (rows.length > 0) setSelected(firstMatch())
        e.preventDefault()
      }
      return
    }
    if (keys(e.key)) e.preventDefault()
  }
  const firstMatch = (): number => {
    for (const node of rows.nodes) if (matches === undefined || ((matches.mark[node] as number) & 1) !== 0) return node
    return rows.nodes[0] as number
  }
  const keys = (key: string): boolean => {
    const at = rows.nodes.indexOf(selected)
    const go = (index: number): true => {
      const node = rows.nodes[Math.max(0, Math.min(rows.length - 1, index))]
      if (node !== undefined) select(node)
      return true
    }
    const filter = FILTERS.find(f => f.key === key)
    if (filter !== undefined) {
      setKinds(kinds ^ (1 << filter.kind))
      return true
    }
    const directory = at >= 0 && isDirectoryIn(view, selected)
    switch (key) {
      case 'ArrowDown':
      case 'j':
        return go(at + 1)
      case 'ArrowUp':
      case 'k':
        return go(at < 0 ? 0 : at - 1)
      case 'PageDown':
        return go(at + 20)
      case 'PageUp':
        return go(at - 20)
      case 'Home':
        return go(0)
      case 'End':
        return go(rows.length - 1)
      case 'ArrowRight':
      case 'l':
        if (directory && opened.open[selected] === 0) toggle(selected, true)
        else if (directory) go(at + 1)
        return true
      case 'ArrowLeft':
      case 'h':
        if (directory && opened.open[selected] === 1) toggle(selected, false)
        else if (at >= 0 && data.parent[selected] !== 0) select(data.parent[selected] as number)
        return true
      case ' ':
        if (directory) toggle(selected)
        return true
      case 'Enter':
        if (directory) toggle(selected)
        else if (at >= 0) setSide('file')
        return true
      case '/':
        field.current?.focus()
        field.current?.select()
        return true
      case '[':
        pick(Math.max(0, to - 1), false)
        return true
      case ']':
        pick(Math.min(last, to + 1), false)
        return true
      case 'v':
        setScope(scope === 'layer' ? 'sum' : 'layer')
        setAnchor(undefined)
        return true
      case 'm':
        setSide(side === 'map' ? 'file' : 'map')
        return true
      case 'd':
        setMode(mode === 'diff' ? 'text' : 'diff')
        setSide('file')
        return true
      case 'e':
        openAll(true)
        return true
      case 'c':
        openAll(false)
        return true
      case '?':
        setHelp(!help)
        return true
      default:
        return false
    }
  }
  const handler = useRef(onKey)
  handler.current = onKey
  useEffect(() => {
    const listen = (e: KeyboardEvent): void => handler.current(e)
    document.addEventListener('keydown', listen)
    document.querySelector<HTMLElement>('.tree')?.focus()
    document.body.dataset['ready'] = '1'
    performance.mark('ready')
    return () => document.removeEventListener('keydown', listen)
  }, [])

  const range = from === to ? `layer ${to}` : `layers ${from} to ${to}`
  return (
    <>
      <header class="bar-top">
        <h1>
          <span class="logo" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          <bdi>{data.info.title}</bdi>
        </h1>
        {!data.info.comparison && <Gauge info={data.info} />}
        <label class="search">
          <span class="hidden-label">Search names or paths</span>
          <input
            ref={field}
            type="search"
            placeholder="Search   /"
            value={query}
            onInput={e => setQuery((e.currentTarget as HTMLInputElement).value)}
          />
          {matches !== undefined && <output>{matches.count.toLocaleString('en')}</output>}
        </label>
        <Compare
          loaded={loaded}
          which={which}
          onShow={show}
          onLoaded={next => {
            const all = [...loaded, next]
            setLoaded(all)
            show(all.length - 1, all)
          }}
        />
        <Theme />
        <button type="button" class="quiet" title="Keyboard (?)" onClick={() => setHelp(!help)}>
          ?
        </button>
      </header>
      <main>
        <aside aria-label="Layers">
          <h2 class="pane-title">{data.info.comparison ? 'Compared' : 'Layers'}</h2>
          <Layers data={data} from={from} to={to} onPick={pick} />
        </aside>
        <section class="middle" aria-label="File tree">
          <div class="filters">
            {!data.info.comparison && (
              <div class="switch" role="group" aria-label="What to show">
                <button
                  type="button"
                  aria-pressed={scope === 'layer' && anchor === undefined}
                  onClick={() => (setScope('layer'), setAnchor(undefined))}
                >
                  This layer
                </button>
                <button
                  type="button"
                  aria-pressed={scope === 'sum' && anchor === undefined}
                  onClick={() => (setScope('sum'), setAnchor(undefined))}
                >
                  All since base
                </button>
              </div>
            )}
            <div class="chips" role="group" aria-label="Show changes">
              {FILTERS.map(f => (
                <button
                  type="button"
                  key={f.kind}
                  class={`chip k${f.kind}`}
                  aria-pressed={((kinds >> f.kind) & 1) === 1}
                  onClick={() => setKinds(kinds ^ (1 << f.kind))}
                >
                  {f.label}
                  {f.count !== undefined && <span>{view.totals[f.count].toLocaleString('en')}</span>}
                </button>
              ))}
            </div>
          </div>
          <Tree
            view={view}
            rows={rows}
            open={opened.open}
            matches={matches}
            query={query}
            selected={selected}
            onSelect={select}
            onToggle={toggle}
          />
        </section>
        <section class="right" aria-label="Details">
          <div class="tabs" role="tablist">
            <button type="button" role="tab" aria-selected={side === 'map'} onClick={() => setSide('map')}>
              Sizes
            </button>
            <button type="button" role="tab" aria-selected={side === 'file'} onClick={() => setSide('file')}>
              Path
            </button>
          </div>
          {side === 'map' ? (
            <>
              <nav class="crumbs" aria-label="Directory">
                <Crumbs view={view} dir={dir} onOpen={reveal} />
                <span class="num">{bytesText(view.bytes[dir] as number)}</span>
              </nav>
              <Treemap view={view} dir={dir} changedOnly={(kinds & (1 << KIND.SAME)) === 0} onOpen={reveal} />
            </>
          ) : (
            <Detail set={set} view={view} node={selected} mode={mode} onMode={setMode} onLayer={n => pick(n, false)} />
          )}
        </section>
      </main>
      <footer aria-live="polite">
        <span>
          {range}: {rows.length.toLocaleString('en')} rows
        </span>
        <bdi>{shownPath(data, selected)}</bdi>
        <span class="hint">↑↓←→ tree · / search · [ ] layer · v view · d difference · ? keys</span>
      </footer>
      {help && <Help onClose={() => setHelp(false)} />}
    </>
  )
}

function Gauge({ info }: { info: Loaded['data']['info'] }) {
  const percent = Math.floor(info.efficiency * 1000) / 10
  const level = percent >= 95 ? 'good' : percent >= 80 ? 'fair' : 'poor'
  return (
    <dl class={`gauge ${level}`}>
      <div>
        <dt>Efficiency</dt>
        <dd>
          <i class="meter">
            <i style={{ width: `${percent}%` }} />
          </i>
          {percent}%
        </dd>
      </div>
      <div>
        <dt>Size</dt>
        <dd>{bytesText(info.totalBytes)}</dd>
      </div>
      <div>
        <dt>Wasted</dt>
        <dd>{bytesText(info.wastedBytes)}</dd>
      </div>
    </dl>
  )
}

function Crumbs({
  view,
  dir,
  onOpen,
}: {
  view: ReturnType<typeof viewOf>
  dir: number
  onOpen: (node: number) => void
}) {
  const chain: number[] = []
  for (let n = dir; n !== 0; n = view.data.parent[n] as number) chain.push(n)
  return (
    <span class="trail">
      <button type="button" onClick={() => onOpen(0)}>
        /
      </button>
      {chain.reverse().map(node => (
        <button type="button" key={node} onClick={() => onOpen(node)}>
          <bdi>{view.data.names[node]}</bdi>/
        </button>
      ))}
    </span>
  )
}

interface CompareProps {
  readonly loaded: readonly Loaded[]
  readonly which: number
  readonly onShow: (index: number) => void
  readonly onLoaded: (set: Loaded) => void
}

function Compare({ loaded, which, onShow, onLoaded }: CompareProps) {
  const [names, setNames] = useState<string[]>([])
  const [state, setState] = useState('')
  useEffect(() => void images().then(setNames, () => setNames([])), [])
  const start = (e: Event): void => {
    e.preventDefault()
    const field = (e.currentTarget as HTMLFormElement).elements.namedItem('image') as HTMLInputElement
    if (field.value === '') return
    setState('Comparing…')
    compareWith(field.value).then(
      set => {
        setState('')
        field.value = ''
        onLoaded(set)
      },
      (error: unknown) => setState(error instanceof Error ? error.message : String(error)),
    )
  }
  return (
    <div class="compare">
      {loaded.length > 1 && (
        <div class="switch" role="group" aria-label="What is shown">
          {loaded.map((set, i) => (
            <button
              type="button"
              key={i}
              aria-pressed={i === which}
              onClick={() => onShow(i)}
              title={set.data.info.title}
            >
              {set.data.info.comparison ? `Comparison${loaded.length > 2 ? ` ${i}` : ''}` : 'Image'}
            </button>
          ))}
        </div>
      )}
      {served && (
        <form onSubmit={start}>
          <input name="image" list="images" placeholder="Compare with image…" aria-label="Compare with image" />
          <datalist id="images">
            {names.map(name => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </form>
      )}
      {state !== '' && <span class="state">{state}</span>}
    </div>
  )
}

function Theme() {
  const [theme, setTheme] = useState<'auto' | 'light' | 'dark'>('auto')
  const next = theme === 'auto' ? 'dark' : theme === 'dark' ? 'light' : 'auto'
  useEffect(() => {
    if (theme === 'auto') delete document.documentElement.dataset['theme']
    else document.documentElement.dataset['theme'] = theme
  }, [theme])
  return (
    <button type="button" class="quiet theme" title={`Colours: ${theme}. Next: ${next}`} onClick={() => setTheme(next)}>
      {theme === 'auto' ? '◐' : theme === 'dark' ? '●' : '○'}
      <span class="hidden-label">Colours: {theme}</span>
    </button>
  )
}

const KEYS: readonly (readonly [string, string])[] = [
  ['↑ ↓ PgUp PgDn Home End', 'move'],
  ['→ ←', 'open, close a directory'],
  ['Space, Enter', 'toggle a directory, view a file'],
  ['/', 'search names (with a slash: paths)'],
  ['[ ]', 'layer below, above'],
  ['Shift + click on a layer', 'a range of layers'],
  ['v', 'this layer, or all since the base'],
  ['1 … 5', 'show or hide added, modified, attributes, removed, unchanged'],
  ['m', 'sizes, or the path'],
  ['d', 'difference with the version below'],
  ['e c', 'expand all, collapse all'],
  ['Esc', 'leave the search'],
]

function Help({ onClose }: { onClose: () => void }) {
  return (
    <div class="overlay" onClick={onClose}>
      <div class="help" role="dialog" aria-label="Keyboard" onClick={e => e.stopPropagation()}>
        <h2>Keyboard</h2>
        <dl>
          {KEYS.map(([key, what]) => (
            <div key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <button type="button" onClick={onClose}>
          Close
        </button>
      </div>
    </div>
  )
}

const place = document.getElementById('app')
if (place !== null) {
  embedded().then(
    sets => {
      place.textContent = ''
      render(<App sets={sets} />, place)
    },
    (error: unknown) => {
      place.textContent = `This page's data could not be read: ${String(error)}`
    },
  )
}
