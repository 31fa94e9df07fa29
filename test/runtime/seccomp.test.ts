import t from 'tap'
import { existsSync, readFileSync } from 'node:fs'
import { defaultCapabilities } from '../../lib/runtime/capabilities.js'
import { compile } from '../../lib/runtime/seccomp/compile.js'
import { defaultProfile, type SeccompProfile } from '../../lib/runtime/seccomp/profile.js'
import { AUDIT, native, syscallNumbers } from '../../lib/runtime/seccomp/syscalls.js'

const ALLOW = 0x7fff0000
const ERRNO = 0x00050000
const KILL = 0x80000000

/** Runs a BPF program on a seccomp_data, as the kernel does (linux/filter.h). */
function evaluate(program: Buffer, nr: number, args: readonly bigint[] = [], arch: number = AUDIT[native]): number {
  const data = Buffer.alloc(64)
  data.writeUInt32LE(nr, 0)
  data.writeUInt32LE(arch, 4)
  args.forEach((a, i) => data.writeBigUInt64LE(BigInt.asUintN(64, a), 16 + i * 8))
  let a = 0
  for (let pc = 0, steps = 0; ; pc++, steps++) {
    if (steps > 5000) throw new Error('the program does not end')
    const code = program.readUInt16LE(pc * 8)
    const jump = (yes: boolean): number => program.readUInt8(pc * 8 + (yes ? 2 : 3))
    const k = program.readUInt32LE(pc * 8 + 4)
    if (code === 0x20) a = data.readUInt32LE(k)
    else if (code === 0x06) return k
    else if (code === 0x05) pc += k
    else if (code === 0x54) a = (a & k) >>> 0
    else if (code === 0x15) pc += jump(a === k)
    else if (code === 0x25) pc += jump(a > k)
    else if (code === 0x35) pc += jump(a >= k)
    else throw new Error(`instruction ${code} at ${pc}`)
  }
}

const number = (name: string): number => syscallNumbers(native).get(name) as number

t.test('the default profile: what a program needs is allowed, the rest is EPERM, the future ENOSYS', t => {
  const program = compile(defaultProfile, defaultCapabilities)
  for (const name of ['read', 'openat', 'execve', 'clone', 'mmap', 'socket', 'chroot', 'ptrace', 'statx', 'futex'])
    t.equal(evaluate(program, number(name)), ALLOW, name)
  for (const name of [
    'mount',
    'umount2',
    'setns',
    'unshare',
    'bpf',
    'keyctl',
    'add_key',
    'kexec_load',
    'reboot',
    'init_module',
    'pivot_root',
    'swapon',
    'open_by_handle_at',
    'perf_event_open',
    'userfaultfd',
    'io_uring_setup',
  ])
    t.equal(evaluate(program, number(name)), ERRNO | 1, name)
  t.equal(evaluate(program, number('clone3')), ERRNO | 38, 'clone3: its flags cannot be seen')
  t.equal(evaluate(program, number('clone'), [0x10000000n]), ERRNO | 1, 'clone with a new user namespace')
  t.equal(evaluate(program, number('clone'), [0x3d0f00n]), ALLOW, 'clone of a thread')
  t.equal(evaluate(program, number('socket'), [40n]), ERRNO | 1, 'AF_VSOCK')
  t.equal(evaluate(program, number('personality'), [8n]), ALLOW)
  t.equal(evaluate(program, number('personality'), [9n]), ERRNO | 1)
  t.equal(evaluate(program, number('personality'), [0x1_0000_0008n]), ERRNO | 1, 'the upper half of an argument counts')
  t.equal(evaluate(program, 100_000), ERRNO | 38, 'a call nobody knows')
  if (native === 'x86_64') {
    t.equal(evaluate(program, 0x40000000), ERRNO | 38, 'an x32 call')
    t.equal(evaluate(program, 5, [], AUDIT.i386), ALLOW, '32-bit open')
    t.equal(evaluate(program, 21, [], AUDIT.i386), ERRNO | 1, '32-bit mount')
  }
  t.equal(evaluate(program, 0, [], 0x12345678), KILL, 'another architecture')
  t.end()
})

t.test('capabilities widen it', t => {
  const program = compile(defaultProfile, [...defaultCapabilities, 'CAP_SYS_ADMIN', 'CAP_SYS_TIME'])
  for (const name of ['mount', 'setns', 'unshare', 'clone3', 'clock_settime'])
    t.equal(evaluate(program, number(name)), ALLOW, name)
  t.equal(evaluate(program, number('clone'), [0x10000000n]), ALLOW)
  t.equal(evaluate(program, number('reboot')), ERRNO | 1)
  t.end()
})

t.test('every operator, on 64-bit values, against the definition', t => {
  const values = [0n, 1n, 7n, 8n, 9n, 0xffffffffn, 0x1_0000_0000n, 0x1_0000_0008n, 0xffff_ffff_ffff_ffffn]
  const holds: Record<string, (a: bigint, b: bigint, c: bigint) => boolean> = {
    SCMP_CMP_EQ: (a, b) => a === b,
    SCMP_CMP_NE: (a, b) => a !== b,
    SCMP_CMP_GT: (a, b) => a > b,
    SCMP_CMP_GE: (a, b) => a >= b,
    SCMP_CMP_LT: (a, b) => a < b,
    SCMP_CMP_LE: (a, b) => a <= b,
    SCMP_CMP_MASKED_EQ: (a, b, c) => (a & b) === c,
  }
  let checked = 0
  for (const [op, expected] of Object.entries(holds))
    for (const value of [8, 0x1_0000_0008, 0xffffffff]) {
      const rule = { index: 2, value, valueTwo: 8, op: op as 'SCMP_CMP_EQ' }
      const profile: SeccompProfile = {
        defaultAction: 'SCMP_ACT_ERRNO',
        syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW', args: [rule] }],
      }
      const program = compile(profile, [])
      for (const v of values) {
        const want = expected(v, BigInt(value), 8n) ? ALLOW : ERRNO | 1
        if (evaluate(program, number('read'), [0n, 0n, v]) !== want) t.fail(`${op} ${value} of ${v}`)
        checked++
      }
    }
  t.equal(checked, 7 * 3 * values.length)
  t.end()
})

t.test('all rules of an alternative must hold, alternatives are tried in order', t => {
  const eq = (index: number, value: number) => ({ index, value, op: 'SCMP_CMP_EQ' as const })
  const program = compile(
    {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [
        { names: ['write'], action: 'SCMP_ACT_ERRNO', errnoRet: 5, args: [eq(0, 1), eq(1, 2)] },
        { names: ['write'], action: 'SCMP_ACT_KILL_PROCESS', args: [eq(0, 3)] },
      ],
    },
    [],
  )
  t.equal(evaluate(program, number('write'), [1n, 2n]), ERRNO | 5)
  t.equal(evaluate(program, number('write'), [1n, 3n]), ALLOW)
  t.equal(evaluate(program, number('write'), [3n, 2n]), KILL)
  t.end()
})

t.test('bad profiles are refused by what is wrong in them', t => {
  const profile = (rule: object): SeccompProfile => ({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule as never] })
  t.throws(() => compile(profile({ names: ['read'], action: 'SCMP_ACT_X' }), []), /action SCMP_ACT_X/)
  t.throws(
    () => compile(profile({ names: ['read'], action: 'SCMP_ACT_LOG', args: [{ index: 0, value: 1, op: 'X' }] }), []),
    /operator X/,
  )
  t.end()
})

const published = '/usr/share/containers/seccomp.json'
t.test(
  'a published profile compiles, and agrees with ours on what matters',
  { skip: !existsSync(published) && `no ${published}` },
  t => {
    const theirs = compile(JSON.parse(readFileSync(published, 'utf8')) as SeccompProfile, defaultCapabilities)
    const ours = compile(defaultProfile, defaultCapabilities)
    // That file also leaves mount, setns and reboot to the capabilities alone; ours does not.
    for (const name of ['bpf', 'init_module', 'kexec_load', 'swapon', 'read', 'execve', 'clone', 'socket', 'unlink']) {
      const [a, b] = [evaluate(theirs, number(name)) === ALLOW, evaluate(ours, number(name)) === ALLOW]
      t.equal(b, a, name)
    }
    t.end()
  },
)
