/**
 * Owns measuring a running container: CPU, memory, network, block I/O and processes, from its cgroup (v1 or v2) and its
 * network namespace's /proc/net/dev; of a container without cgroup from its processes. CPU per cent is of one CPU, between two samples.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { totalmem } from 'node:os'
import { Cgroup } from './cgroup/cgroup.js'
import type { ContainerState } from './config.js'
import type { Container } from './containers.js'
import { processesOf, statOf } from './processes.js'

export interface Sample {
  /** Milliseconds since the epoch. */
  time: number
  /** Nanoseconds of CPU used since the start. */
  cpu: number
  memory: number
  memoryLimit: number
  received: number
  sent: number
  read: number
  written: number
  pids: number
}

/** Of a container that does not run. */
export const nothing: Sample = {
  time: 0,
  cpu: 0,
  memory: 0,
  memoryLimit: 0,
  received: 0,
  sent: 0,
  read: 0,
  written: 0,
  pids: 0,
}

export function sample({ state }: Container): Sample {
  if (state.cgroup === '') return sampleProcesses(state)
  const cgroup = Cgroup.at(state.cgroup)
  const text = (controller: string, file: string): string => {
    const directory = controller === '' ? cgroup.v2 : cgroup.of(controller)
    if (directory === undefined) return ''
    try {
      return readFileSync(join(directory, file), 'latin1')
    } catch {
      return ''
    }
  }
  const number = (s: string): number | undefined => (/^\d+/.test(s) ? Number.parseInt(s, 10) : undefined)
  const field = (s: string, name: string): number => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(s)?.[1] ?? 0)
  const used = number(text('memory', 'memory.usage_in_bytes')) ?? number(text('memory', 'memory.current')) ?? 0
  // Page cache that can go at once is not counted, as docker stats does.
  const memoryStat = text('memory', 'memory.stat')
  const inactive = field(memoryStat, 'total_inactive_file') || field(memoryStat, 'inactive_file')
  const limit = number(text('memory', 'memory.limit_in_bytes')) ?? number(text('memory', 'memory.max')) ?? Infinity
  const io = blockIo(text('blkio', 'blkio.throttle.io_service_bytes_recursive'), text('io', 'io.stat'))
  return {
    time: Date.now(),
    cpu: number(text('cpuacct', 'cpuacct.usage')) ?? field(text('', 'cpu.stat'), 'usage_usec') * 1000,
    memory: Math.max(0, used - inactive),
    memoryLimit: Math.min(limit, totalmem()),
    ...traffic(state.pid),
    ...io,
    pids: number(text('pids', 'pids.current')) ?? cgroup.pids().length,
  }
}

/** Without a cgroup: what its processes of now add up to. */
function sampleProcesses(state: ContainerState): Sample {
  const all = processesOf(state)
    .map(statOf)
    .filter(each => each !== undefined)
  const sum = (of: 'cpu' | 'resident'): number => all.reduce((total, each) => total + each[of], 0)
  return {
    time: Date.now(),
    cpu: sum('cpu'),
    memory: sum('resident'),
    memoryLimit: totalmem(),
    ...traffic(state.pid),
    read: 0,
    written: 0,
    pids: all.length,
  }
}

function blockIo(v1: string, v2: string): { read: number; written: number } {
  const sum = (pattern: RegExp, text: string): number =>
    [...text.matchAll(pattern)].reduce((n, m) => n + Number(m[1]), 0)
  return {
    read: sum(/^\d+:\d+ Read (\d+)$/gm, v1) + sum(/rbytes=(\d+)/g, v2),
    written: sum(/^\d+:\d+ Write (\d+)$/gm, v1) + sum(/wbytes=(\d+)/g, v2),
  }
}

/** All interfaces but the loopback of the process's network namespace. */
function traffic(pid: number): { received: number; sent: number } {
  let received = 0
  let sent = 0
  try {
    for (const line of readFileSync(`/proc/${pid}/net/dev`, 'latin1').split('\n').slice(2)) {
      const [name = '', numbers = ''] = line.split(':')
      if (name.trim() === 'lo' || numbers === '') continue
      const n = numbers.trim().split(/\s+/).map(Number)
      received += n[0] ?? 0
      sent += n[8] ?? 0
    }
  } catch {
    // It has just ended.
  }
  return { received, sent }
}

/** Per cent of one CPU between two samples. */
export function cpuPercent(before: Sample, after: Sample): number {
  const elapsed = (after.time - before.time) * 1e6
  return elapsed <= 0 ? 0 : ((after.cpu - before.cpu) / elapsed) * 100
}
