/** Owns the list of layers on the left: what made each, what it holds, what it did. */
import type { Dataset, DatasetLayer } from '../dataset.js'
import { bytesText } from '../view.js'

interface Props {
  readonly data: Dataset
  readonly from: number
  readonly to: number
  readonly onPick: (layer: number, extend: boolean) => void
}

export function Layers({ data, from, to, onPick }: Props) {
  const { layers } = data.info
  const largest = layers.reduce((max, l) => Math.max(max, l.bytes), 1)
  return (
    <ol class="layers" aria-label="Layers, base first">
      {layers.map((layer, i) => (
        <li key={i}>
          <button
            type="button"
            class={`layer${i >= from && i <= to ? ' in-range' : ''}${i === to ? ' current' : ''}`}
            aria-pressed={i === to}
            title={layer.instruction}
            onClick={e => onPick(i, e.shiftKey)}
          >
            <span class="layer-top">
              <span class="layer-index">{i}</span>
              <code>{plain(layer.instruction) || 'no instruction recorded'}</code>
            </span>
            <span class="layer-size">
              <i class="track">
                <i class="fill" style={{ width: `${(layer.visibleBytes / largest) * 100}%` }} />
                <i class="fill waste" style={{ width: `${((layer.bytes - layer.visibleBytes) / largest) * 100}%` }} />
              </i>
              <span class="num">{bytesText(layer.bytes)}</span>
            </span>
            <Counts layer={layer} />
          </button>
        </li>
      ))}
    </ol>
  )
}

function Counts({ layer }: { layer: DatasetLayer }) {
  return (
    <span class="counts">
      {layer.added > 0 && <span class="k2">+{layer.added.toLocaleString('en')}</span>}
      {layer.changed > 0 && <span class="k3">~{layer.changed.toLocaleString('en')}</span>}
      {layer.removed > 0 && <span class="k5">−{layer.removed.toLocaleString('en')}</span>}
      {layer.hiddenBytes > 0 && (
        <span class="hides" title="Bytes of layers below that this layer made invisible">
          hides {bytesText(layer.hiddenBytes)}
        </span>
      )}
    </span>
  )
}

/** `/bin/sh -c #(nop)  CMD ["x"]` and `RUN /bin/sh -c x # buildkit` as people wrote them. */
export function plain(instruction: string): string {
  return instruction
    .replace(/^\/bin\/sh -c #\(nop\)\s*/, '')
    .replace(/^\/bin\/sh -c\s+/, 'RUN ')
    .replace(/^RUN \/bin\/sh -c\s+/, 'RUN ')
    .replace(/\s+# buildkit$/, '')
    .replace(/\s+/g, ' ')
    .trim()
}
