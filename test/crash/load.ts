/**
 * The work that a killed server is killed in: `load.js DIR`. Replaces files by rename, with contents that tell whether they
 * are whole, until the filesystem goes away. Prints a line per file that was synced: it must be there afterwards.
 */
import { writeSync } from 'node:fs'
import { O } from '../../lib/sys/constants.js'
import { DirectoryVfs } from '../posix/directory-vfs.js'

/** Contents that carry their own length and number. */
export function whole(round: number, index: number): string {
  const body = `${round}:${index};`
  return body.repeat(1 + ((round * 7 + index * 131) % 900))
}

/** Whether `text` is what `whole` made, or one of the lower's originals. */
export function isWhole(text: string): boolean {
  const found = /^(\d+):(\d+);/.exec(text)
  return found === null ? text.startsWith('original') : text === whole(Number(found[1]), Number(found[2]))
}

if (process.argv[1]?.endsWith('load.js')) {
  const fs = new DirectoryVfs(process.argv[2] ?? '')
  for (let round = 1; ; round++)
    for (let index = 0; index < 40; index++) {
      const fd = fs.open(`d/tmp${index}`, O.CREAT | O.TRUNC | O.WRONLY, 0o644)
      if (fd < 0) process.exit(0)
      if (fs.pwrite(fd, Buffer.from(whole(round, index)), 0) < 0) process.exit(0)
      const synced = index % 8 === 0 && fs.fsync(fd) === 0
      fs.close(fd)
      if (fs.rename(`d/tmp${index}`, `d/f${index}`) < 0) process.exit(0)
      if (synced && index % 16 === 0) writeSync(1, `${round} ${index}\n`)
      if (index % 3 === 0) fs.chmod(`d/f${index + 1}`, 0o600 + (round % 64))
      if (index % 5 === 0) fs.rename(round % 2 === 1 ? 'e' : 'e2', round % 2 === 1 ? 'e2' : 'e')
      if (index % 7 === 0) fs.link(`d/f${index}`, `d/l${round % 4}`)
      if (index % 7 === 3) fs.unlink(`d/l${(round + 1) % 4}`)
    }
}
