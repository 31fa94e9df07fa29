/** Owns how layers coming in are shown: Docker's words for `pull` and `load`. */
import type { ImportEvents } from '../image/import-image.js'
import type { Output } from './command.js'
import { progressOn } from './progress.js'

export function importProgress(
  out: Output,
  quiet: boolean,
): Required<ImportEvents> & { retry(message: string): void; close(): void } {
  const lines = progressOn(out, quiet)
  const totals = new Map<string, number>()
  const short = (digest: string): string => digest.slice(7, 19)
  return {
    layer(digest, size, known) {
      totals.set(digest, size)
      if (known) lines.finish(short(digest), 'Already exists')
      else lines.update(short(digest), 'Waiting')
    },
    progress: (digest, bytes) => lines.update(short(digest), 'Loading', bytes, totals.get(digest) ?? 0),
    done: digest => lines.finish(short(digest), 'Complete'),
    warn: message => lines.note(`warning: ${message}`),
    retry: message => lines.note(message),
    close: () => lines.close(),
  }
}
