/** Owns the right-hand side for one path: what it is, what each layer did to it, its text, and the text's changes. */
import { diffLines } from 'diff'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { ASPECT, EVENT, shownPath } from '../dataset.js'
import { bytesText, isDirectoryIn, modeText, shownEvent, type View } from '../view.js'
import { plain } from './layers.js'
import { type Content, contentOf, contentUrl, type Loaded, served } from './source.js'

const ASPECT_WORDS: readonly (readonly [number, string])[] = [
  [ASPECT.TYPE, 'type'],
  [ASPECT.CONTENT, 'content'],
  [ASPECT.MODE, 'mode'],
  [ASPECT.OWNER, 'owner'],
  [ASPECT.TIME, 'time'],
  [ASPECT.XATTR, 'xattr'],
]
const words = (aspects: number): string =>
  ASPECT_WORDS.flatMap(([bit, word]) => (aspects & bit ? [word] : [])).join(', ')

interface Props {
  readonly set: Loaded
  readonly view: View
  readonly node: number
  readonly mode: 'text' | 'diff'
  readonly onMode: (mode: 'text' | 'diff') => void
  readonly onLayer: (layer: number) => void
}

export function Detail({ set, view, node, mode, onMode, onLayer }: Props) {
  const { data } = view
  const event = shownEvent(view, node)
  const path = shownPath(data, node)
  const events = useMemo(() => {
    const list: number[] = []
    for (let e = data.eventStart[node] as number; e < (data.eventStart[node + 1] as number); e++) list.push(e)
    return list
  }, [data, node])
  const regular = event >= 0 && ((data.mode[event] as number) & 0o170000) === 0o100000
  const before = previous(view, node, event)
  const showDiff = mode === 'diff' && before >= 0
  return (
    <section class="detail" aria-label={`Details of ${path}`}>
      <header>
        <h2>
          <bdi>{path}</bdi>
        </h2>
        {event >= 0 && (
          <dl class="facts">
            <dt>Size</dt>
            <dd>
              {bytesText(isDirectoryIn(view, node) ? (view.bytes[node] as number) : (data.size[event] as number))}
            </dd>
            <dt>Mode</dt>
            <dd>
              <code>{modeText(data.mode[event] as number)}</code>
            </dd>
            <dt>Owner</dt>
            <dd>
              {data.uid[event]}:{data.gid[event]}
            </dd>
            <dt>Modified</dt>
            <dd>{new Date((data.mtime[event] as number) * 1000).toISOString().slice(0, 19).replace('T', ' ')}</dd>
          </dl>
        )}
      </header>
      <ol class="history" aria-label="What each layer did to it">
        {events.map(e => {
          const layer = data.eventLayer[e] as number
          const hidden = data.hiddenSince[e] as number
          const kind = data.eventKind[e]
          const done = kind === EVENT.ADDED ? 'added' : kind === EVENT.REMOVED ? 'removed' : 'changed'
          return (
            <li key={e} class={done}>
              <button type="button" onClick={() => onLayer(layer)}>
                <span class="layer-index">{layer}</span>
                <b>{done}</b>{' '}
                {kind === EVENT.CHANGED && <em>{words(data.eventAspects[e] as number) || 'stored again'}</em>}
                {kind !== EVENT.REMOVED && <span> {bytesText(data.size[e] as number)}</span>}
                {hidden > 0 && <span class="wasted">wasted since layer {hidden - 1}</span>}
                <code>{plain(data.info.layers[layer]?.instruction ?? '')}</code>
              </button>
            </li>
          )
        })}
      </ol>
      {regular && (
        <>
          <div class="tools" role="group" aria-label="View">
            <button type="button" aria-pressed={!showDiff} onClick={() => onMode('text')}>
              View
            </button>
            <button type="button" aria-pressed={showDiff} disabled={before < 0} onClick={() => onMode('diff')}>
              Difference
            </button>
            {served && (
              <a href={contentUrl(set, node, event, true)} download>
                Download
              </a>
            )}
          </div>
          {showDiff ? (
            <Difference key={`${before}-${event}`} set={set} node={node} before={before} event={event} />
          ) : (
            <Text key={event} set={set} node={node} event={event} />
          )}
        </>
      )}
    </section>
  )
}

/** The event whose data the shown one is compared with: before the range, else the one before it in the layers. */
function previous(view: View, node: number, event: number): number {
  const { data } = view
  const a = view.before[node] as number
  const candidates = a >= 0 && a !== event ? [a] : []
  for (let e = event - 1; e >= (data.eventStart[node] as number); e--) candidates.push(e)
  for (const e of candidates) {
    if (data.eventKind[e] !== EVENT.REMOVED && ((data.mode[e] as number) & 0o170000) === 0o100000) return e
  }
  return -1
}

type Loading = { readonly state: 'loading' } | { readonly state: 'failed'; readonly message: string }

function useContent(set: Loaded, node: number, event: number): Content | Loading {
  const [content, setContent] = useState<Content | Loading>({ state: 'loading' })
  useEffect(() => {
    let current = true
    contentOf(set, node, event).then(
      found => current && setContent(found),
      (error: unknown) => current && setContent({ state: 'failed', message: String(error) }),
    )
    return () => {
      current = false
    }
  }, [set, node, event])
  return content
}

function excuse(content: Content | Loading): string | undefined {
  if ('state' in content) return content.state === 'loading' ? 'Loading…' : content.message
  if (content.kind === 'absent') return 'The data of this file is not in the saved page. `lamina explore` shows it.'
  if (content.kind === 'large') return `${bytesText(content.size)}: too large to show here. Download it.`
  return undefined
}

function Text({ set, node, event }: { set: Loaded; node: number; event: number }) {
  const content = useContent(set, node, event)
  const why = excuse(content)
  if (why !== undefined || 'state' in content) return <p class="note">{why}</p>
  if (content.kind === 'binary') return <pre class="text hex">{hexDump(content.bytes)}</pre>
  const text = content.kind === 'text' ? content.text : ''
  return text === '' ? <p class="note">Empty.</p> : <pre class="text">{visible(text)}</pre>
}

function Difference({ set, node, before, event }: { set: Loaded; node: number; before: number; event: number }) {
  const a = useContent(set, node, before)
  const b = useContent(set, node, event)
  const why = excuse(a) ?? excuse(b)
  const lines = useMemo(() => {
    if ('state' in a || 'state' in b || a.kind !== 'text' || b.kind !== 'text') return undefined
    return contextual(a.text, b.text)
  }, [a, b])
  if (why !== undefined) return <p class="note">{why}</p>
  if (lines === undefined) return <p class="note">Binary files differ.</p>
  if (lines.length === 0) return <p class="note">The same content.</p>
  return (
    <pre class="text diff">
      {lines.map((line, i) => (
        <span
          key={i}
          class={line.sign === '+' ? 'plus' : line.sign === '-' ? 'minus' : line.sign === '@' ? 'skip' : ''}
        >
          {line.sign === '@' ? '⋯' : line.sign} {visible(line.text)}
          {'\n'}
        </span>
      ))}
    </pre>
  )
}

interface DiffLine {
  readonly sign: '+' | '-' | ' ' | '@'
  readonly text: string
}

/** Lines that changed with three lines around; `@` stands where lines were left out. */
function contextual(a: string, b: string): DiffLine[] {
  const all: DiffLine[] = []
  const parts = diffLines(a, b, { timeout: 2000 }) ?? [
    { value: a, removed: true, added: false },
    { value: b, removed: false, added: true },
  ]
  for (const part of parts) {
    const lines = part.value.split('\n')
    if (lines.at(-1) === '') lines.pop()
    for (const text of lines) all.push({ sign: part.added ? '+' : part.removed ? '-' : ' ', text })
  }
  const near = new Uint8Array(all.length)
  for (const [i, line] of all.entries()) if (line.sign !== ' ') near.fill(1, Math.max(0, i - 3), i + 4)
  const shown: DiffLine[] = []
  for (const [i, line] of all.entries()) {
    if (near[i] === 1) shown.push(line)
    else if (shown.length > 0 && shown.at(-1)?.sign !== '@') shown.push({ sign: '@', text: '' })
  }
  if (shown.at(-1)?.sign === '@') shown.pop()
  return shown
}

// Controls (tab and newline aside), bidirectional and invisible format characters.
// eslint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g

/** Text of a file with what cannot be seen made visible. */
function visible(text: string): string {
  return text.replace(UNSAFE, c => `\\u{${(c.codePointAt(0) as number).toString(16)}}`)
}

function hexDump(bytes: Uint8Array): string {
  const lines: string[] = []
  for (let at = 0; at < Math.min(bytes.length, 4096); at += 16) {
    const row = [...bytes.subarray(at, at + 16)]
    const hex = row.map(b => b.toString(16).padStart(2, '0')).join(' ')
    const chars = row.map(b => (b >= 32 && b < 127 ? String.fromCharCode(b) : '·')).join('')
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex.padEnd(47)}  ${chars}`)
  }
  if (bytes.length > 4096) lines.push(`… ${bytesText(bytes.length)} in all`)
  return lines.join('\n')
}
