// Finds and removes what a test file left behind. What belongs to a file is known by its own marks, because other
// people's tests and containers run on the same machine: processes by LAMINA_TEST_RUN in their environment, mounts by
// lying under the file's scratch directory.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const GRACE_MS = 3000

/** Describes what is left of a run after a short grace, having ended the processes and detached the mounts. */
export async function removeLeftovers(id, scratch) {
  const deadline = Date.now() + GRACE_MS
  let processes = processesOf(id)
  while (processes.length > 0 && Date.now() < deadline) {
    await sleep(50)
    processes = processesOf(id)
  }
  const left = processes.map(p => `process ${p.pid}: ${p.command}`)
  for (const { pid } of processes) kill(pid)
  const mounts = mountsUnder(scratch)
  for (const { path, type } of mounts) {
    left.push(`mount ${path} (${type})`)
    spawnSync('umount', ['-l', path], { timeout: 10_000 })
  }
  return left
}

/** Removes a scratch directory, never descending into another filesystem, and not while a mount is still in it. */
export function removeScratch(scratch) {
  if (mountsUnder(scratch).length > 0 || !existsSync(scratch)) return
  spawnSync('rm', ['-rf', '--one-file-system', scratch], { timeout: 120_000 })
}

/** What a run could leave on the machine as a whole: mount points, our cgroups and network interfaces. */
export function machineState() {
  return {
    mounts: mountpoints().map(m => m.path),
    cgroups: cgroups(),
    interfaces: readdirSync('/sys/class/net').map(name => `network interface ${name}`),
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

/** Ours are those below a directory `lamina`; on v1 a container has one for each controller: named once. */
function cgroups() {
  const found = new Set()
  const walk = (directory, below) => {
    let entries = []
    try {
      entries = readdirSync(directory, { withFileTypes: true })
    } catch {
      return
    }
    for (const e of entries) {
      if (!e.isDirectory()) continue
      if (below !== undefined) found.add(`cgroup ${below}/${e.name}`)
      else if (/^lamina\b/.test(e.name)) walk(`${directory}/${e.name}`, e.name)
      else if (directory.split('/').length < 6) walk(`${directory}/${e.name}`, undefined)
    }
  }
  walk('/sys/fs/cgroup', undefined)
  return [...found]
}
