/**
 * Owns published ports: a proxy in the supervisor listens on the host and passes on to the container's address. It works
 * from localhost and from outside, with and without packet filters, and ends with the supervisor.
 */
import { createSocket, type Socket as Datagram } from 'node:dgram'
import { connect, createServer, Socket, type Server } from 'node:net'
import type { ContainerConfig, PortMapping } from '../config.js'
import { RuntimeError } from '../error.js'

export interface Published {
  /** As asked for, with the host port that was chosen where none was given. */
  ports: PortMapping[]
  close(): void
}

/** A new socket of the container's network namespace, where this process's own does not lead to the container. */
export type InnerSocket = (protocol: 'tcp' | 'udp') => number

/** Listens for every mapping. Throws PORT_TAKEN, then none is listened for. */
export async function publish(ports: readonly PortMapping[], address: string, inner?: InnerSocket): Promise<Published> {
  const closers: (() => void)[] = []
  const published: PortMapping[] = []
  try {
    for (const p of ports) {
      const listening = await (p.protocol === 'tcp' ? tcp : udp)(p, address, inner)
      closers.push(() => listening.close())
      published.push({ ...p, hostPort: listening.hostPort })
    }
  } catch (error) {
    closers.forEach(close => close())
    throw error
  }
  return { ports: published, close: () => closers.forEach(close => close()) }
}

function taken(p: PortMapping, error: NodeJS.ErrnoException): RuntimeError {
  const where = `${p.hostIp === '' ? '0.0.0.0' : p.hostIp}:${p.hostPort}/${p.protocol}`
  if (error.code === 'EADDRINUSE') return new RuntimeError('PORT_TAKEN', `publish ${where}: the port is already taken`)
  return new RuntimeError(
    error.code === 'EACCES' ? 'NOT_PERMITTED' : 'INVALID',
    `publish ${where}: ${error.code ?? error.message}`,
  )
}

interface Listening {
  hostPort: number
  close(): void
}

function dial(host: string, port: number, socket: InnerSocket | undefined): Socket {
  const both = { allowHalfOpen: true, noDelay: true }
  if (socket === undefined) return connect({ ...both, host, port })
  // Not read from before it is connected.
  const options = { ...both, fd: socket('tcp'), readable: true, writable: true, manualStart: true }
  return new Socket(options).connect({ host, port, noDelay: true })
}

function tcp(p: PortMapping, address: string, socketInside: InnerSocket | undefined): Promise<Listening> {
  const open = new Set<Socket>()
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, client => {
    const inner = dial(address, p.containerPort, socketInside)
    for (const [socket, other] of [
      [client, inner],
      [inner, client],
    ] as const) {
      open.add(socket)
      socket.on('close', () => {
        open.delete(socket)
        other.destroy()
      })
      socket.on('error', () => socket.destroy())
    }
    inner.on('connect', () => {
      client.pipe(inner)
      inner.pipe(client)
      client.resume()
    })
  })
  return new Promise((resolve, reject) => {
    server.on('error', error => reject(taken(p, error)))
    server.listen({ port: p.hostPort, host: p.hostIp === '' ? '0.0.0.0' : p.hostIp }, () => {
      const bound = server.address()
      resolve({
        hostPort: typeof bound === 'object' && bound !== null ? bound.port : p.hostPort,
        close: () => {
          server.close()
          for (const socket of open) socket.destroy()
        },
      })
    })
  })
}

/** A datagram client is forgotten after this long without a word, in milliseconds. */
const UDP_IDLE = 60_000
const UDP_CLIENTS = 4096

function udp(p: PortMapping, address: string, socketInside: InnerSocket | undefined): Promise<Listening> {
  const front = createSocket(p.hostIp.includes(':') ? 'udp6' : 'udp4')
  const clients = new Map<string, { back: Datagram; timer: NodeJS.Timeout }>()
  const forget = (key: string): void => {
    const client = clients.get(key)
    if (client === undefined) return
    clearTimeout(client.timer)
    client.back.close()
    clients.delete(key)
  }
  front.on('message', (message, from) => {
    const key = `${from.address} ${from.port}`
    let client = clients.get(key)
    if (client === undefined) {
      if (clients.size >= UDP_CLIENTS) forget(clients.keys().next().value as string)
      const back = createSocket('udp4')
      if (socketInside !== undefined) back.bind({ fd: socketInside('udp') })
      back.on('message', answer => front.send(answer, from.port, from.address))
      back.on('error', () => forget(key))
      client = { back, timer: setTimeout(() => forget(key), UDP_IDLE) }
      clients.set(key, client)
    }
    client.timer.refresh()
    client.back.send(message, p.containerPort, address)
  })
  return new Promise((resolve, reject) => {
    front.on('error', error => reject(taken(p, error as NodeJS.ErrnoException)))
    front.bind(p.hostPort, p.hostIp === '' ? '0.0.0.0' : p.hostIp, () => {
      resolve({
        hostPort: front.address().port,
        close: () => {
          clients.forEach((_, key) => forget(key))
          front.close()
        },
      })
    })
  })
}

/** The ports asked for; with -P every exposed one on a free port. */
export function wantedPorts(config: ContainerConfig): ContainerConfig['ports'] {
  if (!config.publishAll) return config.ports
  const exposed = config.exposed.map(e => {
    const [port = '', protocol = 'tcp'] = e.split('/')
    return {
      hostIp: '',
      hostPort: 0,
      containerPort: Number(port),
      protocol: protocol === 'udp' ? ('udp' as const) : ('tcp' as const),
    }
  })
  const known = new Set(config.ports.map(p => `${p.containerPort}/${p.protocol}`))
  return [...config.ports, ...exposed.filter(p => !known.has(`${p.containerPort}/${p.protocol}`))]
}
