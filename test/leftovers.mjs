// Finds and removes what a test file left behind. What belongs to a file is known by its own marks, because other
// people's tests and containers run on the same machine: processes by LAMINA_TEST_RUN in their environment, mounts by
// lying under the file's scratch directory, cgroups and network interfaces by the containers and networks that the stores
// in that directory tell of (a store's record of events names every container it ever had).
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** How long what ends by itself may take, on a machine that is busy with other things. Waited for only while something is left. */
const GRACE_MS = 20_000

/**
 * Describes what is left of a run after a grace, having ended the processes, detached the mounts, and removed the rest.
 * `pid` is the test file's process: builds in it name their cgroups by it.
 */
export async function removeLeftovers(id, scratch, pid) {
  const own = ownNames(scratch, pid)
  const look = () => ({ processes: processesOf(id), mounts: mountsUnder(scratch), objects: objects().filter(own) })
  const deadline = Date.now() + GRACE_MS
  let found = look()
  while (Object.values(found).some(list => list.length > 0) && Date.now() < deadline) {
    await sleep(50)
    found = look()
  }
  for (const process of found.processes) kill(process.pid)
  for (const { path } of found.mounts) spawnSync('umount', ['-l', path], { timeout: 10_000 })
  for (const { directories, link } of found.objects) {
    for (const directory of directories ?? []) removeCgroup(directory)
    if (link !== undefined) spawnSync('ip', ['link', 'delete', link])
  }
  return [
    ...found.processes.map(p => `process ${p.pid}: ${p.command}`),
    ...found.mounts.map(m => `mount ${m.path} (${m.type})`),
    ...found.objects.map(o => o.title),
  ]
}

/** Removes a scratch directory, never descending into another filesystem, and not while a mount is still in it. */
export function removeScratch(scratch) {
  if (mountsUnder(scratch).length > 0 || !existsSync(scratch)) return
  spawnSync('rm', ['-rf', '--one-file-system', scratch], { timeout: 120_000 })
}

/** What a run could leave on the machine as a whole: mount points, our cgroups and network interfaces. */
export function machineState() {
  return { mounts: mountpoints().map(m => m.path), objects: objects().map(o => o.title) }
}

/** Tells cgroups and interfaces of the stores below `scratch` from all others. */
function ownNames(scratch, pid) {
  const cgroups = new Set()
  const links = new Set()
  const find = [
    '-xdev',
    '-maxdepth',
    '8',
    '(',
    '-name',
    'events',
    '-o',
    '-path',
    '*/networks/*.json',
    ')',
    '-type',
    'f',
  ]
  const files = spawnSync('find', [scratch, ...find], { encoding: 'utf8', maxBuffer: 1 << 26 }).stdout.split('\n')
  for (const file of files.filter(Boolean)) {
    const text = contentsOf(file)
    if (file.endsWith('.json')) links.add(parsed(text)?.link)
    else {
      // The network `bridge` of that store, should its own file be gone: see lib/runtime/network/networks.ts.
      links.add(
        `lm${createHash('sha256')
          .update(`${dirname(file)}\0bridge`)
          .digest('hex')
          .slice(0, 10)}`,
      )
      for (const line of text.split('\n')) {
        const id = String(parsed(line)?.id)
        cgroups.add(id)
        links.add(`lv${id.slice(0, 10)}`)
      }
    }
  }
  return ({ cgroup, link }) =>
    cgroup === undefined ? links.has(link) : cgroups.has(cgroup) || cgroup.startsWith(`build-${pid}-`)
}

function contentsOf(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function parsed(line) {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

function processesOf(id) {
  const found = []
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`LAMINA_TEST_RUN=${id}\0`)) continue
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim()
      found.push({ pid: Number(pid), command: command || readlinkSync(`/proc/${pid}/exe`) })
    } catch {
      // It ended while we looked, or is not ours to look at.
    }
  }
  return found
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}

function removeCgroup(directory) {
  try {
    for (const e of readdirSync(directory, { withFileTypes: true }))
      if (e.isDirectory()) removeCgroup(`${directory}/${e.name}`)
    rmdirSync(directory)
  } catch {
    // Something still runs in it: it has been named, and that is what counts.
  }
}

/** Deepest first, the order in which they can be unmounted. */
function mountsUnder(directory) {
  return mountpoints()
    .filter(m => m.path === directory || m.path.startsWith(`${directory}/`))
    .reverse()
}

/** /proc/self/mountinfo, proc_pid_mountinfo(5): field 5 is the mount point with octal escapes, after " - " comes the type. */
function mountpoints() {
  const lines = readFileSync('/proc/self/mountinfo', 'latin1').trimEnd().split('\n')
  return lines.map(line => {
    const escaped = line.split(' ')[4] ?? ''
    const bytes = escaped.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)))
    return { path: Buffer.from(bytes, 'latin1').toString(), type: line.split(' - ')[1]?.split(' ')[0] ?? '' }
  })
}

/** Cgroups and network interfaces that Lamina can have made, whoever's they are. */
function objects() {
  const links = readdirSync('/sys/class/net').filter(name => /^l[mv][0-9a-f]{10}$/.test(name))
  return [...cgroups(), ...links.map(link => ({ link, title: `network interface ${link}` }))]
}

/** Ours are those below a directory `lamina`; on v1 a container has one for each controller: named once. */
function cgroups() {
  const found = new Map()
  const walk = (directory, below) => {
    let entries = []
    try {
      entries = readdirSync(directory, { withFileTypes: true })
    } catch {
      return
    }
    for (const e of entries) {
      if (!e.isDirectory()) continue
      const path = `${directory}/${e.name}`
      if (below !== undefined) {
        const one = found.get(e.name) ?? { cgroup: e.name, directories: [], title: `cgroup ${below}/${e.name}` }
        one.directories.push(path)
        found.set(e.name, one)
      } else if (/^lamina\b/.test(e.name)) walk(path, e.name)
      else if (directory.split('/').length < 6) walk(path, undefined)
    }
  }
  walk('/sys/fs/cgroup', undefined)
  return [...found.values()]
}
