/**
 * Owns the terminal while the explorer is on it: raw mode, the alternate screen, resizing, keys.
 * Invariant: however it ends, the terminal is as it was before.
 */
import type { TerminalExplorer } from './terminal.js'

const NAMED: Readonly<Record<string, string>> = {
  '\x1b[A': 'up',
  '\x1b[B': 'down',
  '\x1b[C': 'right',
  '\x1b[D': 'left',
  '\x1bOA': 'up',
  '\x1bOB': 'down',
  '\x1bOC': 'right',
  '\x1bOD': 'left',
  '\x1b[5~': 'pageup',
  '\x1b[6~': 'pagedown',
  '\x1b[H': 'home',
  '\x1b[F': 'end',
  '\x1b[1~': 'home',
  '\x1b[4~': 'end',
  '\x1b': 'escape',
  '\t': 'tab',
  '\r': 'enter',
  '\n': 'enter',
  ' ': 'space',
  '\x00': 'ctrl-space',
  '\x7f': 'backspace',
  '\b': 'backspace',
}

/** What a terminal sent → names of keys. Unknown escape sequences are nothing. */
export function keysOf(input: string): string[] {
  const keys: string[] = []
  // eslint-disable-next-line no-control-regex
  for (const [token] of input.matchAll(/\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])?|[^\x1b]/gsu)) {
    const named = NAMED[token]
    if (named !== undefined) keys.push(named)
    else if (token.startsWith('\x1b')) continue
    else if (token < ' ') keys.push(`ctrl-${String.fromCharCode(token.charCodeAt(0) + 96)}`)
    else keys.push(token)
  }
  return keys
}

const ENTER = '\x1b[?1049h\x1b[?25l'
const LEAVE = '\x1b[?25h\x1b[?1049l'

/** Runs until the user quits or the terminal goes away. */
export async function runTerminal(
  explorer: TerminalExplorer,
  input: NodeJS.ReadStream,
  output: NodeJS.WriteStream,
): Promise<void> {
  const draw = (): void => {
    const lines = explorer.frame(output.columns, output.rows)
    output.write(`\x1b[H${lines.join('\r\n')}`)
  }
  output.write(ENTER)
  input.setRawMode(true)
  input.setEncoding('utf8')
  try {
    draw()
    await new Promise<void>(resolve => {
      const onData = (text: string): void => {
        for (const key of keysOf(text)) if (!explorer.done) explorer.key(key)
        if (explorer.done) resolve()
        else draw()
      }
      const clear = (): void => {
        output.write('\x1b[2J')
        draw()
      }
      input.on('data', onData)
      input.once('end', resolve)
      output.on('resize', clear)
      for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve())
    })
  } finally {
    input.removeAllListeners('data')
    output.removeAllListeners('resize')
    input.setRawMode(false)
    input.pause()
    output.write(LEAVE)
  }
}
