/**
 * Owns the explorer's server: the page and the data of files, on loopback, behind a random path that only the printed URL
 * knows. Other users of the machine, and other sites in the same browser, get 404.
 * Routes below the token: `` the page, `content?set&node&event[&download]`, `images`, `compare?image`.
 * Invariant: file data is sent as text/plain or as a download with nosniff and a policy that allows nothing: it never runs.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readEvent, type Exploration } from './build-dataset.js'
import { explorerHtml, packDataset, pageHeaders } from './page.js'

export interface ExplorerSource {
  readonly exploration: Exploration
  /** Names the user may compare with. */
  images(): Promise<readonly string[]> | readonly string[]
  /** Compares the explored image with another. Throws a coded error whose message can be shown. */
  compare(image: string): Promise<Exploration>
}

export interface ExplorerServer {
  readonly url: string
  close(): Promise<void>
}

/** Serves until closed. `port` 0 picks a free one; `initial` are comparisons to be on the page from the start. */
export async function serveExplorer(
  source: ExplorerSource,
  options: { readonly port?: number; readonly initial?: readonly Exploration[] } = {},
): Promise<ExplorerServer> {
  const sets: Exploration[] = [source.exploration, ...(options.initial ?? [])]
  const token = randomBytes(18).toString('base64url')
  const server = createServer((request, response) => {
    answer(source, sets, token, request, response).catch((error: unknown) => {
      const message = error instanceof Error ? error.message : String(error)
      if (!response.headersSent) send(response, 400, message)
      else response.destroy()
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}/${token}/`, close: () => closed(server) }
}

function closed(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise(resolve => void server.close(() => resolve()))
}

async function answer(
  source: ExplorerSource,
  sets: Exploration[],
  token: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const host = request.headers.host ?? ''
  const url = new URL(request.url ?? '/', 'http://localhost')
  const [, given = '', route = ''] = url.pathname.split('/')
  // A name that resolves to 127.0.0.1 (DNS rebinding) is none of ours.
  const local = /^(127\.0\.0\.1|localhost)(:\d+)?$/.test(host)
  if (!local || request.method !== 'GET' || !same(given, token)) return send(response, 404, 'not found')
  const query = url.searchParams
  switch (route) {
    case '':
      response.writeHead(200, pageHeaders()).end(
        explorerHtml(
          sets.map(s => s.dataset),
          { served: true },
        ),
      )
      return
    case 'images':
      response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
      response.end(JSON.stringify(await source.images()))
      return
    case 'compare': {
      const exploration = await source.compare(query.get('image') ?? '')
      const index = sets.push(exploration) - 1
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'x-set': String(index) })
      response.end(packDataset(exploration.dataset))
      return
    }
    case 'content':
      return content(
        sets[number(query, 'set')],
        number(query, 'node'),
        number(query, 'event'),
        query.has('download'),
        response,
      )
    default:
      return send(response, 404, 'not found')
  }
}

function content(
  exploration: Exploration | undefined,
  node: number,
  event: number,
  download: boolean,
  response: ServerResponse,
): void {
  const { eventStart } = exploration?.dataset ?? {}
  const start = eventStart?.[node]
  const end = eventStart?.[node + 1]
  const known = start !== undefined && end !== undefined && event >= start && event < end
  const data = known && exploration !== undefined ? readEvent(exploration, node, event) : undefined
  if (data === undefined || exploration === undefined) return send(response, 404, 'no such file')
  const headers: Record<string, string> = {
    'content-type': 'text/plain; charset=utf-8',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; sandbox",
    'cache-control': 'no-store',
  }
  if (download) {
    const path = exploration.paths[node] ?? ''
    const name = encodeURIComponent(Buffer.from(path.slice(path.lastIndexOf('/') + 1), 'latin1').toString('utf8'))
    headers['content-type'] = 'application/octet-stream'
    headers['content-disposition'] =
      `attachment; filename*=UTF-8''${name.replace(/['()*]/g, c => `%${c.charCodeAt(0).toString(16)}`)}`
  }
  response.writeHead(200, headers).end(data)
}

function number(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? ''
  return /^\d{1,9}$/.test(text) ? Number(text) : -1
}

function same(a: string, b: string): boolean {
  const left = Buffer.from(a)
  const right = Buffer.from(b)
  return left.length === right.length && timingSafeEqual(left, right)
}

function send(response: ServerResponse, status: number, text: string): void {
  response
    .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' })
    .end(text)
}
