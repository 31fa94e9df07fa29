/** Owns waiting: poll(2) and eventfd(2). Both are used by a thread that blocks on purpose (the serving loop). */
import { E } from '../errno.js'
import { addressOf, alloc, libc, ret, scratch } from './libc.js'

const c = {
  poll: libc.func('int poll(uintptr_t fds, ulong n, int timeout)'),
  eventfd: libc.func('int eventfd(uint initial, int flags)'),
  read: libc.func('intptr_t read(int fd, uintptr_t buf, size_t n)'),
  write: libc.func('intptr_t write(int fd, uintptr_t buf, size_t n)'),
}

/** eventfd(2), non-blocking and close-on-exec. */
export function eventfd(): number {
  return ret(c.eventfd(0, 0o2004000) as number)
}

const word = scratch(8)
const wordAddress = addressOf(word)

/**
 * poll(2) of one fd on a thread of the pool, for an event loop that goes on meanwhile. Resolves with the number ready (0:
 * `timeout` ms passed) or `-errno`. The process cannot end before it returns.
 */
export async function pollAsync(fd: number, events: number, timeout: number): Promise<number> {
  const fds = alloc(8)
  fds.writeInt32LE(fd, 0)
  fds.writeInt16LE(events, 4)
  const poll = c.poll as unknown as { async(...args: [...number[], (error: unknown, result: number) => void]): void }
  return new Promise(resolve => {
    poll.async(addressOf(fds), 1, timeout, (error, result) => {
      // errno belongs to the other thread: a failed poll can only mean "look again".
      resolve(error === null && fds.length > 0 ? result : -E.EINTR)
    })
  })
}

/** Wakes whoever polls the eventfd. */
export function eventSignal(fd: number): number {
  word.writeBigUInt64LE(1n, 0)
  return ret(c.write(fd, wordAddress, 8) as number)
}

/** Takes the eventfd's count back to 0. EAGAIN when it is 0 already. */
export function eventDrain(fd: number): number {
  return ret(c.read(fd, wordAddress, 8) as number)
}

/** A fixed set of fds for poll(2), reused between calls. */
export class PollSet {
  readonly #fds: Buffer
  readonly #address: number
  readonly #count: number

  constructor(fds: readonly { fd: number; events: number }[]) {
    this.#count = fds.length
    this.#fds = alloc(8 * fds.length)
    this.#address = addressOf(this.#fds)
    fds.forEach(({ fd, events }, i) => {
      this.#fds.writeInt32LE(fd, i * 8)
      this.#fds.writeInt16LE(events, i * 8 + 4)
    })
  }

  /** Blocks until one is ready or `timeout` ms passed (-1: no limit, 0: look only). Number ready, or `-errno`. */
  poll(timeout: number): number {
    return ret(c.poll(this.#address, this.#count, timeout) as number)
  }

  /** The events that the last poll found for the i-th fd. */
  revents(i: number): number {
    return this.#fds.readInt16LE(i * 8 + 6)
  }
}
