/** Indexed layers answer from memory: counted by strace in a server that is asked for everything. */
import t from 'tap'
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { unmountPath } from '../../lib/mount/unmount.js'
import { readCounters } from '../../lib/mount/counters.js'
import { launchServer } from '../../lib/mount/launch.js'
import { resolveImage } from '../../lib/image/images.js'
import { imageLowers } from '../../lib/image/lowers.js'
import { loadImages } from '../../lib/image/load.js'
import { Store } from '../../lib/image/store.js'
import { cannotMount, ended } from '../mount/workspace.js'
import type { RawEntry } from '../layer/raw-tar.js'
import { makeImage, ociArchive } from './made.js'
import { missing } from './tools.js'

t.setTimeout(800_000)

const FILES = 100
/** System calls that ask a filesystem something. */
const ASKING =
  /\b(\w*statx?|statfs|fstatfs|open|openat2?|\w*getxattr|\w*listxattr|readlink\w*|getdents\w*|access|faccessat2?|read|pread64)\(/

t.test(
  'lookup, getattr, readlink, xattrs and listings cost no system call',
  { skip: cannotMount || missing('strace', 'getfattr') },
  async t => {
    const scratch = mkdtempSync(join(tmpdir(), 'lamina-memory-'))
    const mountpoint = join(scratch, 'mnt')
    mkdirSync(mountpoint)
    const entries = Array.from({ length: FILES }, (_, i): RawEntry[] => [
      { name: `d${i % 10}/file${i}`, data: `${i}`, pax: { 'SCHILY.xattr.user.note': `note ${i}` } },
      { name: `d${i % 10}/link${i}`, type: '2', link: `file${i}` },
    ]).flat()
    const archive = join(scratch, 'image.tar')
    writeFileSync(archive, ociArchive(makeImage([entries]), 'test/memory:1'))
    const store = Store.open(join(scratch, 'store'))
    await loadImages(store, archive)
    const runRoot = join(scratch, 'run')
    const spec = { lowers: imageLowers(store, resolveImage(store, 'test/memory:1')), readOnly: true }
    const record = await launchServer({ spec, mountpoint, runRoot })
    t.teardown(async () => {
      await unmountPath(runRoot, mountpoint, { lazy: true })
      await ended(record)
      rmSync(scratch, { recursive: true, force: true })
    })

    const trace = join(scratch, 'trace')
    const strace = spawn('strace', ['-f', '-p', String(record.pid), '-o', trace], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const over = new Promise<void>(resolve => strace.once('close', () => resolve()))
    let said = ''
    const attached = await new Promise<boolean>(resolve => {
      strace.stderr.on('data', chunk => {
        said += String(chunk)
        if (/attached/.test(said)) resolve(true)
      })
      void over.then(() => resolve(false))
    })
    if (!attached) return t.comment(`not counted: ${said.trim()}`)
    const device = /^\d+ +(?:read|pread64)\((\d+), /
    const run = (program: string, ...args: string[]): string =>
      spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 26 }).stdout
    t.equal(run('find', mountpoint, '-printf', '%i %m %U %s %l\n').trim().split('\n').length, 2 * FILES + 11)
    t.equal(run('getfattr', '-R', '-h', '-d', mountpoint).match(/user\.note="note/g)?.length, FILES)
    strace.kill('SIGINT')
    await over

    const counters = readCounters(record.stats)
    const requests = (
      ['LOOKUP', 'READDIRPLUS', 'READDIR', 'GETXATTR', 'LISTXATTR', 'READLINK', 'GETATTR'] as const
    ).reduce((sum, op) => sum + ((counters as Record<string, number | undefined>)[op] ?? 0), 0)
    t.ok(requests > 3 * FILES, `${requests} requests`)
    const lines = readFileSync(trace, 'utf8').split('\n')
    // Requests are read from one fd: the device. Everything else that is read or asked would be for an answer.
    const reads = lines.flatMap(line => device.exec(line)?.[1] ?? [])
    const fd = reads.sort((a, b) => reads.filter(x => x === b).length - reads.filter(x => x === a).length)[0]
    t.ok(reads.filter(x => x === fd).length >= requests, 'the trace has the requests in it')
    const asking = lines.filter(line => ASKING.test(line) && device.exec(line)?.[1] !== fd)
    t.ok(asking.length <= 20, `${asking.length} system calls that ask for something: ${asking.slice(0, 5).join('; ')}`)
  },
)
