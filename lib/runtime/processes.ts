/**
 * Owns which processes are a container's: those in its cgroup; where it has none, those in its pid namespace, and those below
 * its first one that do not tell (proc(5): the link is for who may trace them, the parent for everybody).
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { Cgroup } from './cgroup/cgroup.js'

/** Pids as this process sees them. `pid` is the container's first process. */
export function processesOf({ cgroup, pid }: { readonly cgroup: string; readonly pid: number }): number[] {
  if (cgroup !== '') return Cgroup.at(cgroup).pids()
  const namespace = linkOf(pid)
  const parents = new Map<number, number>()
  const found = new Set([pid])
  for (const name of readdirSync('/proc')) {
    const process = Number(name)
    if (!(process > 0)) continue
    const parent = statOf(process)?.parent
    if (parent !== undefined) parents.set(process, parent)
    if (namespace !== undefined && linkOf(process) === namespace) found.add(process)
  }
  for (const process of parents.keys()) {
    let at: number | undefined = process
    while (at !== undefined && at !== pid) at = parents.get(at)
    if (at === pid) found.add(process)
  }
  return [...found].filter(process => parents.has(process)).sort((a, b) => a - b)
}

function linkOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`)
  } catch {
    return undefined
  }
}

/** Nanoseconds of CPU that a process and its dead children took, and its resident bytes; undefined when it is gone. */
export function statOf(pid: number): { parent: number; cpu: number; resident: number } | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined
  }
  // Behind the name, which may hold anything: fields 3 on. Times are in 1/100 s, resident memory in pages.
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  const cpu = [11, 12, 13, 14].reduce((sum, n) => sum + (fields[n] ?? 0), 0) * 1e7
  return { parent: fields[1] ?? 0, cpu, resident: (fields[21] ?? 0) * 4096 }
}
