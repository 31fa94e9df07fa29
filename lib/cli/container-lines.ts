/** Owns the short forms in which a container's state and ports are shown. */
import type { PortMapping } from '../runtime/config.js'
import type { Container } from '../runtime/containers.js'
import { liveStatus } from '../runtime/status.js'
import { ago, duration } from './human.js'

/** `Up 5 minutes (healthy)`, `Exited (137) 3 hours ago`, `Created`. */
export function statusLine(c: Container): string {
  const { state, config } = c
  const up = (): string => `Up ${duration((Date.now() - Date.parse(state.startedAt)) / 1000)}`
  switch (liveStatus(c)) {
    case 'created':
      return 'Created'
    case 'paused':
      return `${up()} (Paused)`
    case 'restarting':
      return `Restarting (${state.exitCode}) ${ago(Date.parse(state.finishedAt))}`
    case 'exited':
      return `Exited (${state.exitCode}) ${ago(Date.parse(state.finishedAt))}`
    case 'running': {
      const health = config.health === undefined || state.health.status === 'none' ? '' : state.health.status
      return health === '' ? up() : `${up()} (${health === 'starting' ? 'health: starting' : health})`
    }
  }
}

/** `0.0.0.0:8080->80/tcp, 53/udp`. */
export function portsLine(ports: readonly PortMapping[]): string {
  return ports
    .map(p => {
      const ip = p.hostIp === '' ? '0.0.0.0' : p.hostIp.includes(':') ? `[${p.hostIp}]` : p.hostIp
      return `${ip}:${p.hostPort}->${p.containerPort}/${p.protocol}`
    })
    .join(', ')
}
