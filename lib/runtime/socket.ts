/**
 * Owns the supervisor's socket, `<run directory>/socket`, mode 0600: attach, stop, restart, wait for other commands.
 * The conversation is in frames.ts.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { Frame, frame, FrameReader, type Hello } from './frames.js'
import type { Supervisor } from './supervisor.js'

export function socketPath(runDirectory: string): string {
  return join(runDirectory, 'socket')
}

/** Output a client has not taken yet; beyond it the client is cut off rather than the container held up. */
const MAX_BEHIND = 16 << 20

export interface ServedSocket {
  /** Resolved when the first client has attached. */
  readonly attached: Promise<void>
  /** Ends the conversations, what was said is delivered, and removes the socket. */
  close(): Promise<void>
}

export function serveSocket(supervisor: Supervisor): ServedSocket {
  const { runDirectory } = supervisor.container
  const path = socketPath(runDirectory)
  mkdirSync(runDirectory, { recursive: true, mode: 0o700 })
  rmSync(path, { force: true })
  const clients = new Set<Socket>()
  let haveClient: () => void = () => undefined
  const attached = new Promise<void>(resolve => (haveClient = resolve))
  const server = createServer(client => {
    clients.add(client)
    client.on('close', () => clients.delete(client))
    client.on('error', () => client.destroy())
    converse(supervisor, client, haveClient)
  })
  server.on('error', () => undefined)
  server.listen(path, () => chmodSync(path, 0o600))
  server.unref()
  return {
    attached,
    close: async () => {
      const closed = [...clients].map(client => new Promise<void>(resolve => client.once('close', () => resolve())))
      server.close()
      for (const client of clients) client.end()
      await Promise.race([Promise.all(closed), new Promise(resolve => setTimeout(resolve, 2000).unref())])
      for (const client of clients) client.destroy()
      rmSync(runDirectory, { recursive: true, force: true })
    },
  }
}

function converse(supervisor: Supervisor, client: Socket, attached: () => void): void {
  const reader = new FrameReader()
  const say = (type: number, payload: Uint8Array | string): void => {
    if (client.destroyed) return
    client.write(frame(type, payload))
    if (client.writableLength > MAX_BEHIND) client.destroy()
  }
  const end = (exitCode: number): void => {
    say(Frame.Exit, JSON.stringify({ exitCode }))
    client.end()
  }
  const greet = (hello: Hello): void => {
    switch (hello.want) {
      case 'attach':
      case 'wait': {
        const attach = hello.want === 'attach'
        const forget = supervisor.listen({
          output: (stream, chunk) => {
            if (attach) say(stream === 'stdout' ? Frame.Stdout : Frame.Stderr, chunk)
          },
          ended: end,
        })
        client.on('close', forget)
        say(Frame.Answer, '{}')
        if (attach) attached()
        return
      }
      case 'stop':
        supervisor.stop(hello.signal, hello.timeout).then(
          () => undefined,
          () => client.destroy(),
        )
        client.on('close', supervisor.listen({ output: () => undefined, ended: end }))
        return
      case 'restart':
        void supervisor.stop(hello.signal, hello.timeout, true).then(() => say(Frame.Answer, '{}'))
    }
  }
  client.on('data', data => {
    try {
      reader.push(data, (type, payload) => {
        if (type === Frame.Hello) greet(JSON.parse(payload.toString('utf8')) as Hello)
        else if (type === Frame.Stdin) {
          if (!supervisor.write(Buffer.from(payload))) {
            client.pause()
            supervisor.onDrain(() => client.resume())
          }
        } else if (type === Frame.StdinEnd) supervisor.endStdin()
        else if (type === Frame.Resize && payload.length >= 4)
          supervisor.resize(payload.readUInt16BE(0), payload.readUInt16BE(2))
      })
    } catch {
      client.destroy()
    }
  })
}
