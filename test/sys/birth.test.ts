import t from 'tap'
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, existsSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { E } from '../../lib/errno.js'
import { Birth, stubBytes, type Label } from '../../lib/sys/birth.js'
import { alloc, addressOf } from '../../lib/sys/libc.js'
import { CALL, exitOf, gone, pidfdOpen, pidfdSignal, pipe, signalNumber } from '../../lib/sys/process.js'

const AT_FDCWD = -100

/** argv or envp in memory: an array of addresses ending with 0. */
function vector(birth: Birth, strings: string[]): Buffer {
  const v = alloc((strings.length + 1) * 8)
  strings.forEach((s, i) => v.writeBigUInt64LE(BigInt(birth.hold(Buffer.from(`${s}\0`))), i * 8))
  return v
}

function exec(birth: Birth, argv: string[], rules = {}): void {
  birth.step('execve', CALL.execve, [argv[0] as string, vector(birth, argv), vector(birth, ['A=1'])], rules)
}

/** Assembles a listing and returns the bytes of its text section, or undefined where the assembler is not installed. */
function assemble(dir: string, as: string, objcopy: string, listing: string): Buffer | undefined {
  if (spawnSync(as, ['--version']).error !== undefined || spawnSync(objcopy, ['--version']).error !== undefined)
    return undefined
  execFileSync(as, ['-o', join(dir, 'o'), listing])
  execFileSync(objcopy, ['-O', 'binary', '-j', '.text', join(dir, 'o'), join(dir, 'bin')])
  return readFileSync(join(dir, 'bin'))
}

const source = existsSync('lib/sys/birth') ? 'lib/sys/birth' : '../lib/sys/birth'

t.test('the bytes are what the listings assemble to', t => {
  const text = readFileSync(join(source, '../birth.ts'), 'latin1')
  const inSource = (bytes: Buffer): boolean => text.replace(/'\s*\+\s*'/g, '').includes(bytes.toString('hex'))
  const cases = [
    ['x64', 'x86-64.s', 'x86_64-linux-gnu-as', 'x86_64-linux-gnu-objcopy'],
    ['arm64', 'arm64.s', 'aarch64-linux-gnu-as', 'aarch64-linux-gnu-objcopy'],
  ] as const
  for (const [arch, listing, as, objcopy] of cases) {
    const native = process.arch === arch
    const bytes = assemble(t.testdir(), native ? 'as' : as, native ? 'objcopy' : objcopy, join(source, listing))
    if (bytes === undefined) {
      const missing = `binutils-${arch === 'arm64' ? 'aarch64' : 'x86-64'}-linux-gnu is not installed`
      t.pass(listing, { skip: missing })
      continue
    }
    t.ok(inSource(bytes), `${listing}: ${bytes.length} bytes`)
    if (native) t.same(bytes, stubBytes, 'and they are what runs here')
  }
  t.end()
})

t.test('a child execs with its own fds and its status comes back', async t => {
  const birth = new Birth()
  const out = pipe()
  birth.step('dup3', CALL.dup3, [out.write, 1, 0])
  exec(birth, ['/bin/sh', '-c', 'echo "$A $$"; exit 7'])
  const { pid, pidfd } = birth.run()
  t.ok(pid > 0, 'a pid')
  closeSync(out.write)
  const exit = await exitOf(pidfd)
  const text = Buffer.alloc(100)
  t.equal(text.toString('utf8', 0, readSync(out.read, text)), `1 ${pid}\n`)
  t.same(exit, { code: 7, signal: 0, core: false })
  t.equal(birth.stopped(), undefined)
  closeSync(out.read)
  closeSync(pidfd)
})

t.test('the first failing step stops it, with its name and errno', async t => {
  const birth = new Birth()
  birth.step('getpid', CALL.getpid, [])
  birth.step('chdir /nowhere', CALL.chdir, ['/nowhere'])
  birth.step('never', CALL.exit_group, [3])
  const { pidfd } = birth.run()
  t.equal((await exitOf(pidfd)).code, 127)
  t.same(birth.stopped(), { index: 1, what: 'chdir /nowhere', errno: E.ENOENT })
  t.ok((birth.result(0) ?? 0) > 0, 'results before it are there')
  t.equal(birth.result(2), undefined, 'the step after it was not made')
  closeSync(pidfd)
})

t.test('errors can be ignored one by one, all, or lead elsewhere', async t => {
  const birth = new Birth()
  const later: Label = { at: 0 }
  birth.step('one errno', CALL.chdir, ['/nowhere'], { ignore: [E.ENOTDIR, E.ENOENT] })
  birth.step('any errno', CALL.chdir, ['/etc/passwd'], { ignore: 'any' })
  birth.step('branch', CALL.chdir, ['/nowhere'], { branch: [[E.ENOENT, later]] })
  const skipped = birth.step('jumped over', CALL.exit_group, [3])
  birth.mark(later)
  birth.step('end', CALL.exit_group, [9])
  const { pidfd } = birth.run()
  t.equal((await exitOf(pidfd)).code, 9)
  t.equal(birth.result(0), -E.ENOENT)
  t.equal(birth.result(1), -E.ENOTDIR)
  t.equal(birth.result(skipped), undefined)
  t.equal(birth.stopped(), undefined)
  closeSync(pidfd)
})

t.test('a result becomes an argument of a later step', async t => {
  const dir = t.testdir({ file: '' })
  const birth = new Birth()
  const opened = birth.step('open', CALL.openat, [AT_FDCWD, join(dir, 'file'), 1, 0])
  const write = birth.step('write', CALL.write, [0, 'hello', 5])
  birth.pass(opened, write, 0)
  birth.step('end', CALL.exit_group, [0])
  const { pidfd } = birth.run()
  await exitOf(pidfd)
  t.equal(readFileSync(join(dir, 'file'), 'utf8'), 'hello')
  closeSync(pidfd)
})

t.test('a fork in the table: the rest runs in the new process', async t => {
  const birth = new Birth()
  const out = pipe()
  const pidAt = alloc(8)
  const args = alloc(88)
  // CLONE_VM | CLONE_PARENT | CLONE_PARENT_SETTID: a sibling of the forking one, whose pid arrives in memory.
  args.writeBigUInt64LE(0x100n | 0x8000n | 0x100000n, 0)
  args.writeBigUInt64LE(BigInt(addressOf(pidAt)), 24)
  birth.step('dup3', CALL.dup3, [out.write, 1, 0])
  birth.fork('clone3', CALL.clone3, [args, 88])
  exec(birth, ['/bin/sh', '-c', 'echo $$; exit 5'])
  const first = birth.run()
  closeSync(out.write)
  t.equal((await exitOf(first.pidfd)).code, 0, 'the forking one ends well')
  const pid = pidAt.readInt32LE(0)
  t.not(pid, first.pid)
  const second = pidfdOpen(pid)
  t.equal((await exitOf(second)).code, 5, 'and the sibling is our child')
  const text = Buffer.alloc(100)
  t.equal(text.toString('utf8', 0, readSync(out.read, text)), `${pid}\n`)
  for (const fd of [out.read, first.pidfd, second]) closeSync(fd)
})

t.test('a birth can wait in the caller, and the child starts with all signals blocked', async t => {
  const birth = new Birth()
  const out = pipe()
  birth.step('dup3', CALL.dup3, [out.write, 1, 0])
  exec(birth, ['/bin/grep', 'SigBlk', '/proc/self/status'])
  const { pidfd } = birth.run({ wait: true })
  closeSync(out.write)
  await exitOf(pidfd)
  const text = Buffer.alloc(100)
  const line = text.toString('utf8', 0, readSync(out.read, text))
  t.match(line, /SigBlk:\tf{7}/)
  t.notMatch(readFileSync('/proc/self/status', 'utf8'), /SigBlk:\tf/, 'the parent is as before')
  closeSync(out.read)
  closeSync(pidfd)
})

t.test('clone3 that fails says so', t => {
  const birth = new Birth()
  birth.step('end', CALL.exit_group, [0])
  // CLONE_FS beside CLONE_NEWNS is refused by the kernel.
  t.same(birth.run({ flags: 0x200 | 0x20000 }), { pid: -E.EINVAL, pidfd: -1 })
  t.end()
})

t.test('a pidfd tells of an end by signal, and of any process being gone', async t => {
  const birth = new Birth()
  exec(birth, ['/bin/sleep', '100'])
  const { pid, pidfd } = birth.run()
  const short = pidfdOpen(pid)
  await gone(short, 1)
  closeSync(short)
  const other = pidfdOpen(pid)
  t.equal(other, short, 'the same number is watched again')
  const end = gone(other, 60_000)
  t.equal(pidfdSignal(pidfd, 9), 0)
  t.same(await exitOf(pidfd), { code: 137, signal: 9, core: false })
  await end
  t.equal(pidfdSignal(pidfd, 0), -E.ESRCH)
  closeSync(pidfd)
  closeSync(other)
})

t.test('signals by name', t => {
  const table = {
    TERM: 15,
    SIGTERM: 15,
    sigkill: 9,
    '15': 15,
    'RTMIN+3': 37,
    SIGRTMAX: 64,
    NOPE: undefined,
    '65': undefined,
  }
  for (const [name, number] of Object.entries(table)) t.equal(signalNumber(name), number, name)
  t.end()
})
