/**
 * Owns the way from a seccomp profile to a BPF program: resolve its conditions for this machine and these capabilities,
 * gather per system call what shall happen, and lay it out as a binary search over the call's number.
 * Format: struct sock_filter, 8 bytes: u16 code, u8 jt, u8 jf, u32 k (linux/filter.h); seccomp_data: nr at 0, arch at 4,
 * arguments as u64 from 16 (linux/seccomp.h). Invariant: a program longer than BPF_MAXINSNS is refused, never cut.
 */
import { release } from 'node:os'
import { RuntimeError } from '../error.js'
import type { Action, ArgumentRule, Condition, SeccompProfile, SyscallRule } from './profile.js'
import { AUDIT, native, syscallNumbers, type Architecture } from './syscalls.js'

type Instruction = readonly [code: number, jt: number, jf: number, k: number]

const LD = 0x20 // BPF_LD | BPF_W | BPF_ABS
const JA = 0x05
const JEQ = 0x15
const JGT = 0x25
const JGE = 0x35
const AND = 0x54
const RET = 0x06

const RET_KILL_PROCESS = 0x80000000
const RET_ALLOW = 0x7fff0000
const RET_ERRNO = 0x00050000
const ENOSYS = 38
const EPERM = 1
const X32_BIT = 0x40000000

const results: Readonly<Record<Action, number>> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: RET_KILL_PROCESS,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: RET_ERRNO,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: RET_ALLOW,
}

/** SECCOMP_RET_* with its data. */
function returned(action: Action, errno: number | undefined): number {
  const value = results[action] as number | undefined
  if (value === undefined) throw new RuntimeError('INVALID', `seccomp profile: action ${action} is not known`)
  return action === 'SCMP_ACT_ERRNO' || action === 'SCMP_ACT_TRACE' ? (value | (errno ?? EPERM)) >>> 0 : value
}

/** What happens to one call: the first alternative whose arguments fit, else the default. */
interface Decision {
  alternatives: { args: readonly ArgumentRule[]; result: number }[]
  otherwise: number
}

/** The filter for a process with these capabilities, ready for SECCOMP_SET_MODE_FILTER. */
export function compile(profile: SeccompProfile, capabilities: readonly string[], kernel = release()): Buffer {
  const main = forArchitecture(profile, native, capabilities, kernel)
  const program: Instruction[] = [[LD, 0, 0, 4]]
  const second: Architecture | undefined = native === 'x86_64' ? 'i386' : undefined
  const compat = second === undefined ? [] : forArchitecture(profile, second, capabilities, kernel)
  // A jump's reach is a byte: the far side of each test is taken by an unconditional one.
  program.push([JEQ, 1, 0, AUDIT[native]], [JA, 0, 0, main.length], ...main)
  if (second !== undefined) program.push([JEQ, 1, 0, AUDIT[second]], [JA, 0, 0, compat.length], ...compat)
  program.push([RET, 0, 0, RET_KILL_PROCESS])
  if (program.length > 4096)
    throw new RuntimeError('INVALID', `seccomp profile: ${program.length} instructions, 4096 fit`)
  const bytes = Buffer.alloc(program.length * 8)
  program.forEach(([code, jt, jf, k], i) => {
    bytes.writeUInt16LE(code, i * 8)
    bytes.writeUInt8(jt, i * 8 + 2)
    bytes.writeUInt8(jf, i * 8 + 3)
    bytes.writeUInt32LE(k >>> 0, i * 8 + 4)
  })
  return bytes
}

function forArchitecture(
  profile: SeccompProfile,
  architecture: Architecture,
  capabilities: readonly string[],
  kernel: string,
): Instruction[] {
  const numbers = syscallNumbers(architecture)
  const otherwise = returned(profile.defaultAction, profile.defaultErrnoRet)
  const decisions = new Map<number, Decision>()
  for (const rule of profile.syscalls ?? []) {
    if (!applies(rule, architecture, capabilities, kernel)) continue
    for (const name of rule.names ?? (rule.name === undefined ? [] : [rule.name])) {
      const number = numbers.get(name)
      if (number === undefined) continue
      const decision = decisions.get(number) ?? { alternatives: [], otherwise }
      decision.alternatives.push({ args: rule.args ?? [], result: returned(rule.action, rule.errnoRet) })
      decisions.set(number, decision)
    }
  }
  const highest = Math.max(...numbers.values())
  const code: Instruction[] = [[LD, 0, 0, 0]]
  // x32 shares x86-64's arch value: its calls have a bit set, and are as unknown as those of the future.
  const unknown = profile.defaultAction === 'SCMP_ACT_ERRNO' ? RET_ERRNO | ENOSYS : otherwise
  if (architecture === 'x86_64') code.push([JGE, 0, 1, X32_BIT], [RET, 0, 0, unknown])
  return [...code, ...search(ranges(decisions, highest, otherwise, unknown))]
}

/** A span of call numbers from `first` up to the next one's, treated alike. */
interface Span {
  first: number
  code: Instruction[]
}

function ranges(decisions: Map<number, Decision>, highest: number, otherwise: number, unknown: number): Span[] {
  const spans: Span[] = []
  for (let n = 0; n <= highest + 1; n++) {
    const decision = decisions.get(n)
    const code: Instruction[] =
      n > highest ? [[RET, 0, 0, unknown]] : decision === undefined ? [[RET, 0, 0, otherwise]] : decide(decision)
    const before = spans.at(-1)
    const alike = before !== undefined && code.length === 1 && before.code.length === 1
    if (!alike || before.code[0]?.[3] !== code[0]?.[3]) spans.push({ first: n, code })
  }
  return spans
}

/** Binary search: below the middle span's first number to the left half, else to the right. */
function search(spans: readonly Span[]): Instruction[] {
  if (spans.length === 1) return (spans[0] as Span).code
  const middle = spans.length >> 1
  const left = search(spans.slice(0, middle))
  const right = search(spans.slice(middle))
  const first = (spans[middle] as Span).first
  const head: Instruction[] =
    left.length <= 255
      ? [[JGE, left.length, 0, first]]
      : [
          [JGE, 0, 1, first],
          [JA, 0, 0, left.length],
        ]
  return [...head, ...left, ...right]
}

/** Alternatives are tried in the order of the profile; one without argument rules always fits. */
function decide({ alternatives, otherwise }: Decision): Instruction[] {
  const code: Instruction[] = []
  for (const { args, result } of alternatives) {
    if (args.length === 0) return [...code, [RET, 0, 0, result]]
    const tests = args.map(compare)
    const total = tests.reduce((n, t) => n + t.length, 0)
    let at = 0
    for (const test of tests) {
      at += test.length
      // Past what is left of this alternative's tests, and past its RET.
      code.push(...fail(test, total - at + 1))
    }
    code.push([RET, 0, 0, result])
  }
  return [...code, [RET, 0, 0, otherwise]]
}

/** Markers in a jump field, resolved by `fail`: the argument fits (go on after the test) or not (leave the alternative). */
const PASS = -1
const FAIL = -2

/** The test of one 64-bit argument against a value: instructions whose jumps may be PASS or FAIL. */
function compare({ index, value, valueTwo = 0, op }: ArgumentRule): Instruction[] {
  const low: Instruction = [LD, 0, 0, 16 + index * 8]
  const high: Instruction = [LD, 0, 0, 20 + index * 8]
  const lo = Number(BigInt.asUintN(32, BigInt(value)))
  const hi = Number(BigInt.asUintN(64, BigInt(value)) >> 32n)
  switch (op) {
    case 'SCMP_CMP_EQ':
      return [high, [JEQ, 0, FAIL, hi], low, [JEQ, PASS, FAIL, lo]]
    case 'SCMP_CMP_NE':
      return [high, [JEQ, 0, PASS, hi], low, [JEQ, FAIL, PASS, lo]]
    case 'SCMP_CMP_GT':
      return [high, [JGT, PASS, 0, hi], [JEQ, 0, FAIL, hi], low, [JGT, PASS, FAIL, lo]]
    case 'SCMP_CMP_GE':
      return [high, [JGT, PASS, 0, hi], [JEQ, 0, FAIL, hi], low, [JGE, PASS, FAIL, lo]]
    case 'SCMP_CMP_LT':
      return [high, [JGT, FAIL, 0, hi], [JEQ, 0, PASS, hi], low, [JGE, FAIL, PASS, lo]]
    case 'SCMP_CMP_LE':
      return [high, [JGT, FAIL, 0, hi], [JEQ, 0, PASS, hi], low, [JGT, FAIL, PASS, lo]]
    case 'SCMP_CMP_MASKED_EQ': {
      const two = BigInt.asUintN(64, BigInt(valueTwo))
      return [
        high,
        [AND, 0, 0, hi],
        [JEQ, 0, FAIL, Number(two >> 32n)],
        low,
        [AND, 0, 0, lo],
        [JEQ, PASS, FAIL, Number(two & 0xffffffffn)],
      ]
    }
    default:
      throw new RuntimeError('INVALID', `seccomp profile: operator ${String(op)} is not known`)
  }
}

/** Turns PASS and FAIL into offsets: to the end of the test, and `rest` instructions beyond it. */
function fail(test: readonly Instruction[], rest: number): Instruction[] {
  return test.map(([code, jt, jf, k], i) => {
    const after = test.length - i - 1
    const offset = (jump: number): number => (jump === PASS ? after : jump === FAIL ? after + rest : jump)
    return [code, offset(jt), offset(jf), k]
  })
}

const dockerNames: Readonly<Record<Architecture, readonly string[]>> = {
  x86_64: ['amd64', 'x86_64', 'SCMP_ARCH_X86_64'],
  i386: ['amd64', 'x86', 'SCMP_ARCH_X86'],
  arm64: ['arm64', 'aarch64', 'SCMP_ARCH_AARCH64'],
}

export function applies(rule: SyscallRule, arch: Architecture, caps: readonly string[], kernel: string): boolean {
  const { includes, excludes } = rule
  if (includes !== undefined && !holds(includes, arch, caps, kernel, true)) return false
  return excludes === undefined || !holds(excludes, arch, caps, kernel, false)
}

/** As an include every given condition must hold; as an exclude any one that holds counts. */
function holds(c: Condition, arch: Architecture, caps: readonly string[], kernel: string, every: boolean): boolean {
  const tests: boolean[] = []
  if (c.caps !== undefined && c.caps.length > 0) {
    const has = (name: string): boolean => caps.includes(name)
    tests.push(every ? c.caps.every(has) : c.caps.some(has))
  }
  if (c.arches !== undefined && c.arches.length > 0) tests.push(c.arches.some(a => dockerNames[arch].includes(a)))
  if (c.minKernel !== undefined && c.minKernel !== '') tests.push(atLeast(kernel, c.minKernel))
  if (tests.length === 0) return every
  return every ? tests.every(Boolean) : tests.some(Boolean)
}

function atLeast(kernel: string, wanted: string): boolean {
  const numbers = (text: string): number[] => text.split(/[.-]/).slice(0, 2).map(Number)
  const [a = 0, b = 0] = numbers(kernel)
  const [c = 0, d = 0] = numbers(wanted)
  return a > c || (a === c && b >= d)
}
