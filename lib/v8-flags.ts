/** Owns setting V8's flags while the process runs. */

/**
 * As `setFlagsFromString` of node:v8, which loads Node's streams for something else: 10 ms and 1 MB of a server. Node 20 has the
 * function without them; later ones do not.
 */
export function setV8Flags(...flags: readonly string[]): void {
  const { setFlagsFromString } = process.versions.v8.startsWith('11.')
    ? withoutWarning(() => (process as unknown as { binding: (name: 'v8') => typeof import('node:v8') }).binding('v8'))
    : process.getBuiltinModule('node:v8')
  for (const flag of flags) setFlagsFromString(flag)
}

/** `process.binding` is deprecated (DEP0111), and says so to whoever runs the program. */
function withoutWarning<T>(work: () => T): T {
  const { noDeprecation = false } = process
  process.noDeprecation = true
  try {
    return work()
  } finally {
    process.noDeprecation = noDeprecation
  }
}
