/**
 * Owns kernels that are older, as far as a program can tell: a seccomp filter under which the system calls from some number
 * on (asm/unistd.h numbers them in the order they came) say ENOSYS.
 */

/** First system calls that they do not have: close_range, openat2, pidfd_getfd, faccessat2, mount_setattr come after. */
export const LINUX = { '5.4': 436, '5.11': 442 } as const

const FILTER = `
import ctypes, os, struct, sys
LOAD_NR, JGE, RETURN = 0x20, 0x35, 0x06
def instruction(code, jt, jf, k): return struct.pack('HBBI', code, jt, jf, k)
program = (instruction(LOAD_NR, 0, 0, 0) + instruction(JGE, 0, 1, int(sys.argv[1])) + instruction(RETURN, 0, 0, 0x50000 | 38)
  + instruction(RETURN, 0, 0, 0x7fff0000))
class Filter(ctypes.Structure):
    _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(Filter(len(program) // 8, program)), 0, 0) != 0:
    sys.exit('prctl: ' + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[2], sys.argv[2:])
`

/** The command line that runs `command` and all that it starts on such a kernel. Wants root and python3. */
export function onLinux(version: keyof typeof LINUX, ...command: string[]): [file: string, args: string[]] {
  return ['python3', ['-c', FILTER, String(LINUX[version]), ...command]]
}
