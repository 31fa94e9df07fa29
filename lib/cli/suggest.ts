/**
 * Owns "did you mean": the nearest known word to a mistyped one.
 * Invariant: silent unless one candidate is clearly near (edit distance at most a third of the word, at least 1).
 */

/** `"; did you mean 'mount'?"`, or `""`. */
export function didYouMean(word: string, known: readonly string[]): string {
  let best = ''
  let bestDistance = Math.max(1, Math.floor(word.replace(/^-+/, '').length / 3)) + 1
  for (const candidate of known) {
    const d = distance(word, candidate)
    if (d < bestDistance) [best, bestDistance] = [candidate, d]
  }
  return best === '' ? '' : `; did you mean '${best}'?`
}

/** Edit distance with transpositions of neighbours counted as one (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let d = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) d = Math.min(d, (before[j - 2] ?? 0) + 1)
      row.push(d)
    }
    before = last
    last = row
  }
  return last[b.length] ?? 0
}
