/** Owns pseudo-terminals (pty(7)): a pair made in a given devpts instance, and window sizes. */
import { AT, O } from './constants.js'
import { close, ioctl, openat } from './file.js'
import { addressOf, scratch } from './libc.js'
import { chownat } from './stat.js'

const TIOCSPTLCK = 0x40045431
const TIOCGPTN = 0x80045430
const TIOCGPTPEER = 0x5441
const TIOCSWINSZ = 0x5414

const word = scratch(8)
const wordAddress = addressOf(word)

export interface Pty {
  master: number
  slave: number
  /** N of /dev/pts/N. */
  number: number
}

/** A new terminal in the devpts instance whose directory is `devpts`, or `-errno`. No path of the slave is opened. */
export function openPty(devpts: number): Pty | number {
  const master = openat(devpts, 'ptmx', O.RDWR | O.NOCTTY | O.NOFOLLOW)
  if (master < 0) return master
  word.fill(0)
  const unlocked = ioctl(master, TIOCSPTLCK, wordAddress)
  const numbered = unlocked < 0 ? unlocked : ioctl(master, TIOCGPTN, wordAddress)
  const number = word.readInt32LE(0)
  const slave = numbered < 0 ? numbered : ioctl(master, TIOCGPTPEER, O.RDWR | O.NOCTTY | O.CLOEXEC)
  if (slave < 0) {
    close(master)
    return slave
  }
  return { master, slave, number }
}

/** Gives the terminal to its user, group 5 (tty) as devpts would. */
export function chownPty(slave: number, uid: number, gid: number): number {
  return chownat(slave, '', uid, gid, AT.EMPTY_PATH)
}

const size = scratch(8)
const sizeAddress = addressOf(size)

export function setWindowSize(fd: number, rows: number, columns: number): number {
  size.fill(0)
  size.writeUInt16LE(rows & 0xffff, 0)
  size.writeUInt16LE(columns & 0xffff, 2)
  return ioctl(fd, TIOCSWINSZ, sizeAddress)
}

const TCGETS = 0x5401
const TCSETS = 0x5402
const termios = scratch(64)

/** Changes what the kernel does with `fd`'s input and output. Returns what puts it back, or `-errno`. */
function change(fd: number, edit: () => void): (() => void) | number {
  const r = ioctl(fd, TCGETS, addressOf(termios))
  if (r < 0) return r
  const before = Buffer.from(termios)
  edit()
  const set = ioctl(fd, TCSETS, addressOf(termios))
  if (set < 0) return set
  return () => {
    before.copy(termios)
    ioctl(fd, TCSETS, addressOf(termios))
  }
}

function clear(at: number, bits: number): void {
  termios.writeUInt32LE((termios.readUInt32LE(at) & ~bits) >>> 0, at)
}

/** What is typed is not shown, lines and signals stay as they are. Returns what puts it back, or `-errno`. */
export function hideInput(fd: number): (() => void) | number {
  return change(fd, () => clear(12, 0o10)) // ECHO
}

/**
 * Puts the terminal `fd` into raw mode (termios(3), cfmakeraw): every byte passes as it is, both ways. (Node's own raw
 * mode still turns \n into \r\n on output.) Returns what puts it back, or `-errno`.
 */
export function makeRaw(fd: number): (() => void) | number {
  return change(fd, () => {
    clear(0, 0o2753) // IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON
    clear(4, 0o1) // OPOST
    clear(8, 0o400) // PARENB
    termios.writeUInt32LE((termios.readUInt32LE(8) | 0o60) >>> 0, 8) // CS8
    clear(12, 0o100113) // ECHO ECHONL ICANON ISIG IEXTEN
    termios[17 + 6] = 1 // VMIN
    termios[17 + 5] = 0 // VTIME
  })
}
