/**
 * Owns finding the cgroups that an ordinary user was given (systemd's Delegate=, or by hand): per hierarchy, the nearest
 * directory at or above this process's own that is his, and in version 2 has no processes of its own, for only such a
 * cgroup passes controllers on to its children (cgroup-v2.rst, "No Internal Process Constraint").
 */
import { accessSync, constants, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Hierarchy } from './hierarchy.js'

export interface Delegated {
  /** Below which a container's cgroup goes, in all of `hierarchies`; '' where nothing was delegated. */
  base: string
  hierarchies: Hierarchy[]
}

/** `text` is /proc/self/cgroup (cgroups(7)). */
export function delegated(all: readonly Hierarchy[], text = readFileSync('/proc/self/cgroup', 'latin1')): Delegated {
  const found = all.flatMap(h => {
    const own = ownPath(h, text)
    const base = own === undefined ? undefined : baseOf(h, own)
    return base === undefined ? [] : [{ h, base }]
  })
  // A container's cgroup has one path: that of version 2 where there is one, else of the first of version 1.
  const first = found.find(f => f.h.version === 2) ?? found[0]
  if (first === undefined) return { base: '', hierarchies: [] }
  return { base: first.base, hierarchies: found.filter(f => f.base === first.base).map(f => f.h) }
}

/** This process's cgroup in a hierarchy: `9:cpu,cpuacct:/path`, version 2 as `0::/path`. */
function ownPath(h: Hierarchy, text: string): string | undefined {
  for (const line of text.split('\n')) {
    const [, controllers = '', path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (path === undefined) continue
    const named = h.data.replace(/^none,/, '')
    if (h.version === 2 ? controllers === '' : controllers !== '' && controllers === named) return path
  }
  return undefined
}

function baseOf(h: Hierarchy, own: string): string | undefined {
  let mine: string | undefined
  for (let at = own; at !== '' && at !== '/' && isMine(join(h.mountpoint, at)); at = at.slice(0, at.lastIndexOf('/'))) {
    if (h.version === 1 || readFileSync(join(h.mountpoint, at, 'cgroup.procs'), 'latin1') === '') return at
    mine ??= at
  }
  // Without controllers it still freezes, kills and counts.
  return mine
}

function isMine(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK)
    accessSync(join(directory, 'cgroup.procs'), constants.W_OK)
    return true
  } catch {
    return false
  }
}
