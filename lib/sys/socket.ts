/**
 * Owns passing file descriptors between processes: socketpair(2), listening sockets, and recvmsg with SCM_RIGHTS
 * (unix(7)).
 * Formats: struct msghdr and cmsghdr of 64-bit Linux. Invariant: every fd that arrives here is close-on-exec.
 */
import { E } from '../errno.js'
import { close } from './file.js'
import { addressOf, alloc, libc, ret, scratch } from './libc.js'

const c = {
  socketpair: libc.func('int socketpair(int domain, int type, int protocol, uintptr_t out)'),
  recvmsg: libc.func('intptr_t recvmsg(int fd, uintptr_t message, int flags)'),
  socket: libc.func('int socket(int domain, int type, int protocol)'),
  bind: libc.func('int bind(int fd, uintptr_t address, uint32_t length)'),
  listen: libc.func('int listen(int fd, int backlog)'),
  accept4: libc.func('int accept4(int fd, uintptr_t address, uintptr_t length, int flags)'),
}

const AF_UNIX = 1
const SOCK = { STREAM: 1, SEQPACKET: 5 } as const
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_CMSG_CLOEXEC = 0x40000000

/** A connected pair of Unix sockets, close-on-exec; `packets` keeps message boundaries (SOCK_SEQPACKET). Or `-errno`. */
export function socketpair(packets = false): [number, number] | number {
  const out = alloc(8)
  const type = (packets ? SOCK.SEQPACKET : SOCK.STREAM) | SOCK_CLOEXEC
  const r = ret(c.socketpair(AF_UNIX, type, 0, addressOf(out)) as number)
  return r < 0 ? r : [out.readInt32LE(0), out.readInt32LE(4)]
}

const header = scratch(56)
const vector = scratch(16)
const byte = scratch(1)
const control = scratch(24)

/** One byte of data beside one control message with one fd. */
function fillHeader(): number {
  vector.writeBigUInt64LE(BigInt(addressOf(byte)), 0)
  vector.writeBigUInt64LE(1n, 8)
  header.fill(0)
  header.writeBigUInt64LE(BigInt(addressOf(vector)), 16)
  header.writeBigUInt64LE(1n, 24)
  header.writeBigUInt64LE(BigInt(addressOf(control)), 32)
  header.writeBigUInt64LE(BigInt(control.length), 40)
  return addressOf(header)
}

/** Waits for a message with an fd. The fd, or `-errno`: ECONNRESET when the other side closed, EBADMSG when it sent none. */
export function receiveFd(socket: number): number {
  const n = ret(c.recvmsg(socket, fillHeader(), MSG_CMSG_CLOEXEC) as number)
  if (n < 0) return n
  if (n === 0) return -E.ECONNRESET
  const carries = header.readUInt32LE(40) >= 20 && control.readInt32LE(8) === SOL_SOCKET
  return carries && control.readInt32LE(12) === SCM_RIGHTS ? control.readInt32LE(16) : -E.EBADMSG
}

const SOCK_NONBLOCK = 0o4000

/** A Unix socket that listens at `path` (a byte string of at most 107), close-on-exec, and does not block. Or `-errno`. */
export function listenAt(path: string): number {
  const address = alloc(110)
  address.writeUInt16LE(AF_UNIX, 0)
  if (path.length > 107) return -E.ENAMETOOLONG
  address.latin1Write(path, 2)
  const fd = ret(c.socket(AF_UNIX, SOCK.STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) as number)
  if (fd < 0) return fd
  const bound = ret(c.bind(fd, addressOf(address), 2 + path.length + 1) as number)
  const r = bound < 0 ? bound : ret(c.listen(fd, 1) as number)
  if (r >= 0) return fd
  close(fd)
  return r
}

/** The next connection (it blocks on reading), or `-errno`: EAGAIN when there is none yet. */
export function accept(socket: number): number {
  return ret(c.accept4(socket, 0, 0, SOCK_CLOEXEC) as number)
}
