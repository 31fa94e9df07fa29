/**
 * Owns rtnetlink(7): links, addresses and routes of a network namespace, by one socket that belongs to the namespace it
 * was opened in. Formats: nlmsghdr and its payload little-endian, attributes padded to 4 bytes.
 * Results are `>= 0` or `-errno`. Invariant: every request asks for an acknowledgement and reads it.
 */
import { E } from '../errno.js'
import { close } from './file.js'
import { addressOf, alloc, libc, ret } from './libc.js'

const c = {
  socket: libc.func('int socket(int domain, int type, int protocol)'),
  send: libc.func('intptr_t send(int fd, uintptr_t buf, size_t n, int flags)'),
  recv: libc.func('intptr_t recv(int fd, uintptr_t buf, size_t n, int flags)'),
}

const RTM = { NEWLINK: 16, DELLINK: 17, GETLINK: 18, NEWADDR: 20, NEWROUTE: 24 } as const
const NLM = { REQUEST: 1, ACK: 4, REPLACE: 0x100, EXCL: 0x200, CREATE: 0x400 } as const
const IFLA = { ADDRESS: 1, IFNAME: 3, MASTER: 10, LINKINFO: 18, NET_NS_FD: 28 } as const
const INFO = { KIND: 1, DATA: 2 } as const
const VETH_INFO_PEER = 1
const IFF_UP = 1

function attribute(type: number, value: Buffer): Buffer {
  const out = Buffer.alloc((4 + value.length + 3) & ~3)
  out.writeUInt16LE(4 + value.length, 0)
  out.writeUInt16LE(type, 2)
  value.copy(out, 4)
  return out
}

const text = (s: string): Buffer => Buffer.from(`${s}\0`, 'latin1')

function u32(n: number): Buffer {
  const b = Buffer.alloc(4)
  b.writeUInt32LE(n >>> 0)
  return b
}

/** struct ifinfomsg. */
function linkHeader(index: number, flags: number, change: number): Buffer {
  const b = Buffer.alloc(16)
  b.writeInt32LE(index, 4)
  b.writeUInt32LE(flags, 8)
  b.writeUInt32LE(change, 12)
  return b
}

/** `10.0.0.1` → 4 bytes. */
export function ipv4(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number))
}

export class Netlink {
  readonly #fd: number
  readonly #buffer = alloc(32 * 1024)
  readonly #address = addressOf(this.#buffer)
  #sequence = 0

  /** Opens a socket in the network namespace of the calling thread. Throws when the kernel has no rtnetlink. */
  constructor() {
    this.#fd = ret(c.socket(16, 3 | 0o2000000, 0) as number)
    if (this.#fd < 0) throw new Error(`netlink: errno ${-this.#fd}`)
  }

  close(): void {
    close(this.#fd)
  }

  #request(type: number, flags: number, parts: readonly Buffer[]): number {
    const body = Buffer.concat(parts)
    const message = alloc(16 + body.length)
    message.writeUInt32LE(message.length, 0)
    message.writeUInt16LE(type, 4)
    message.writeUInt16LE(NLM.REQUEST | NLM.ACK | flags, 6)
    message.writeUInt32LE(++this.#sequence, 8)
    body.copy(message, 16)
    const sent = ret(c.send(this.#fd, addressOf(message), message.length, 0) as number)
    if (sent < 0) return sent
    let index = 0
    for (;;) {
      const n = ret(c.recv(this.#fd, this.#address, this.#buffer.length, 0) as number)
      if (n === -E.EINTR) continue
      if (n < 0) return n
      for (let at = 0; at + 16 <= n;) {
        const length = this.#buffer.readUInt32LE(at)
        const kind = this.#buffer.readUInt16LE(at + 4)
        if (kind === 2) {
          const error = this.#buffer.readInt32LE(at + 16)
          return error < 0 ? error : index
        }
        if (kind === RTM.NEWLINK) index = this.#buffer.readInt32LE(at + 20)
        at += Math.max(16, (length + 3) & ~3)
      }
    }
  }

  /** Index of the link `name`, or -ENODEV. */
  link(name: string): number {
    return this.#request(RTM.GETLINK, 0, [linkHeader(0, 0, 0), attribute(IFLA.IFNAME, text(name))])
  }

  /** Makes a bridge. -EEXIST when there is one of that name. */
  addBridge(name: string): number {
    const info = attribute(IFLA.LINKINFO, attribute(INFO.KIND, text('bridge')))
    const parts = [linkHeader(0, 0, 0), attribute(IFLA.IFNAME, text(name)), info]
    return this.#request(RTM.NEWLINK, NLM.CREATE | NLM.EXCL, parts)
  }

  /** Makes a veth pair: `name` here on bridge `master`, up, and `peer` with a MAC address in the namespace `netns`. */
  addVeth(name: string, master: number, peer: string, mac: Buffer, netns: number): number {
    const other = Buffer.concat([
      linkHeader(0, 0, 0),
      attribute(IFLA.IFNAME, text(peer)),
      attribute(IFLA.ADDRESS, mac),
      attribute(IFLA.NET_NS_FD, u32(netns)),
    ])
    const info = attribute(
      IFLA.LINKINFO,
      Buffer.concat([attribute(INFO.KIND, text('veth')), attribute(INFO.DATA, attribute(VETH_INFO_PEER, other))]),
    )
    return this.#request(RTM.NEWLINK, NLM.CREATE | NLM.EXCL, [
      linkHeader(0, IFF_UP, IFF_UP),
      attribute(IFLA.IFNAME, text(name)),
      attribute(IFLA.MASTER, u32(master)),
      info,
    ])
  }

  up(index: number): number {
    return this.#request(RTM.NEWLINK, 0, [linkHeader(index, IFF_UP, IFF_UP)])
  }

  /** Removes a link by name; a veth's other end goes with it. */
  remove(name: string): number {
    return this.#request(RTM.DELLINK, 0, [linkHeader(0, 0, 0), attribute(IFLA.IFNAME, text(name))])
  }

  /** Gives a link an IPv4 address. */
  addAddress(index: number, address: string, prefix: number): number {
    const header = Buffer.from([2, prefix, 0, 0, 0, 0, 0, 0])
    header.writeUInt32LE(index, 4)
    const a = ipv4(address)
    return this.#request(RTM.NEWADDR, NLM.CREATE | NLM.REPLACE, [header, attribute(1, a), attribute(2, a)])
  }

  /** The default route by a gateway. */
  addDefaultRoute(gateway: string): number {
    // family, dst, src, tos, table main, protocol boot, scope universe, type unicast; flags
    const header = Buffer.from([2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0])
    return this.#request(RTM.NEWROUTE, NLM.CREATE, [header, attribute(5, ipv4(gateway))])
  }
}
