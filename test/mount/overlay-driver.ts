/** Why the driver overlay cannot be had on this kernel; false when it can. */
import { readFileSync } from 'node:fs'

const [major = 0, minor = 0] = readFileSync('/proc/sys/kernel/osrelease', 'latin1').split('.').map(Number)

export const overlayDriver: string | false =
  major > 6 || (major === 6 && minor >= 16) ? false : 'the driver overlay needs Linux 6.16'
