/**
 * Owns the explorer's HTML: one self-contained page with its script, style and data inside, the same whether it is saved
 * or served. Data is gzip in base64, so no name of any image can become markup; a content security policy by hash allows
 * exactly this script and this style, and a saved page may connect to nothing.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { type Dataset, encodeDataset } from './dataset.js'

/** A dataset as it is sent: gzip. */
export function packDataset(dataset: Dataset): Buffer {
  return gzipSync(encodeDataset(dataset), { level: 6 })
}

let assets: { script: string; style: string } | undefined

/** The page's built script and style (bin/build.mjs bundles them beside this file). Throws Node's error when not built. */
function builtAssets(): { script: string; style: string } {
  const read = (name: string): string => readFileSync(new URL(`./page/${name}`, import.meta.url), 'utf8')
  assets ??= { script: read('page.mjs'), style: read('style.css') }
  return assets
}

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

function policy(served: boolean): string {
  const { script, style } = builtAssets()
  const connect = served ? "'self'" : "'none'"
  // form-action and base-uri do not fall back to default-src.
  return `default-src 'none'; script-src ${hashOf(script)}; style-src ${hashOf(style)}; connect-src ${connect}; form-action 'none'; base-uri 'none'`
}

/** Headers to serve the page with. */
export function pageHeaders(): Record<string, string> {
  return {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': `${policy(true)}; frame-ancestors 'none'`,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
  }
}

/** The whole page. The first dataset is the image, others are comparisons. */
export function explorerHtml(datasets: readonly Dataset[], options: { readonly served: boolean }): string {
  const { script, style } = builtAssets()
  const title = datasets[0]?.info.title ?? ''
  const data = datasets.map(d => `<script type="text/plain" data-set>${packDataset(d).toString('base64')}</script>`)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="content-security-policy" content="${policy(options.served)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)} · Lamina</title>
<style>${style}</style>
</head>
<body data-served="${options.served ? 1 : 0}">
<div id="app"><p class="loading">Reading the layers…</p></div>
${data.join('\n')}
<script>${script}</script>
</body>
</html>
`
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`)
}
