/**
 * Owns the form of a seccomp profile that OCI runtimes read (runtime-spec, linux.seccomp): no conditions, those of
 * Docker's form being decided here for these capabilities and this machine.
 */
import { release } from 'node:os'
import { applies } from './compile.js'
import type { Action, ArgumentRule, SeccompProfile } from './profile.js'
import { native } from './syscalls.js'

export interface OciSeccomp {
  defaultAction: Action
  defaultErrnoRet?: number
  architectures: string[]
  syscalls: { names: string[]; action: Action; errnoRet?: number; args?: ArgumentRule[] }[]
}

export function ociSeccomp(profile: SeccompProfile, capabilities: readonly string[], kernel = release()): OciSeccomp {
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures:
      native === 'x86_64'
        ? ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']
        : ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
    syscalls: (profile.syscalls ?? [])
      .filter(rule => applies(rule, native, capabilities, kernel))
      .map(({ names, name, action, errnoRet, args }) => ({
        names: names ?? (name === undefined ? [] : [name]),
        action,
        ...(errnoRet === undefined ? {} : { errnoRet }),
        ...(args === undefined || args === null || args.length === 0 ? {} : { args }),
      })),
  }
}
