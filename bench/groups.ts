/** Owns the list of all groups, in the order they are run and shown. */
import { openAndList, walks } from './groups-read.js'
import { compile, programs, tree } from './groups-programs.js'
import { memory, tenMounts } from './groups-server.js'
import { appendBig, copyUp, large, largeCold, small } from './groups-write.js'
import type { Group } from './row.js'

export const groups: readonly Group[] = [
  walks,
  openAndList,
  small,
  large,
  largeCold,
  copyUp,
  appendBig,
  tree,
  programs,
  compile,
  tenMounts,
  ...memory,
]
