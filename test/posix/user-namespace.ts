/**
 * Owns running a test program as root of a user namespace, as a plain user's tools run: `user-namespace.js KIND PROGRAM ARG…`
 * ends as the program ends. KIND is `single` (the one id of who runs it) or `range` (65,536 ids, as subordinate ids give).
 * The program has mounts of its own; what it prints is printed.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readlinkSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

export type IdKind = 'single' | 'range'

/** Lines of uid_map and gid_map: inside, outside, count. The first id is the runner's own, so that its directories are its. */
const maps: Readonly<Record<IdKind, string>> = { single: '0 0 1\n', range: '0 0 1\n1 100001 65535\n' }

const [kind = 'single', ...command] = process.argv.slice(2)
const child = spawn(
  'unshare',
  ['--user', '--mount', 'sh', '-c', 'read -r go && exec "$@" </dev/null', 'sh', process.execPath, ...command],
  { stdio: ['pipe', 'inherit', 'inherit'] },
)
const ended = once(child, 'exit')
const proc = `/proc/${child.pid ?? 0}`
const outside = readlinkSync('/proc/self/ns/user')
while (readlinkSync(`${proc}/ns/user`) === outside) await sleep(2)
// An unprivileged gid map needs it; with it, whoever has one id has what a plain user has.
if (kind === 'single') writeFileSync(`${proc}/setgroups`, 'deny')
for (const map of ['uid_map', 'gid_map']) writeFileSync(`${proc}/${map}`, maps[kind as IdKind])
child.stdin.end('go\n')
const [code] = (await ended) as [number | null]
process.exitCode = code ?? 1
