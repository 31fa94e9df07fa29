/**
 * Owns questions at a terminal: one line as it is typed, or one that is not shown.
 * Invariant: the terminal shows what is typed again when the question is over, however that ends.
 */
import { type Context, UsageError } from './command.js'

/** The line typed after `question`. Throws UsageError when the input ends instead. */
export async function ask({ stdin, stderr }: Context, question: string): Promise<string> {
  stderr.write(question)
  return readLine(stdin, question)
}

/** The same, unseen. */
export async function askHidden({ stdin, stderr }: Context, question: string): Promise<string> {
  const { hideInput } = await import('../sys/terminal.js')
  const show = hideInput((stdin as { readonly fd?: number }).fd ?? -1)
  if (typeof show === 'number') throw new UsageError(`${question.trim()} cannot be asked for: the input is no terminal`)
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  const end = (signal: NodeJS.Signals): void => {
    show()
    for (const each of signals) process.removeListener(each, end)
    process.kill(process.pid, signal)
  }
  for (const signal of signals) process.on(signal, end)
  try {
    // Not before nothing is shown any more: who waits for the question may type at once.
    stderr.write(question)
    return await readLine(stdin, question)
  } finally {
    show()
    for (const signal of signals) process.removeListener(signal, end)
    stderr.write('\n')
  }
}

/** The next line of `stdin`; what comes behind it stays there. */
function readLine(stdin: NodeJS.ReadStream, question: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = Buffer.alloc(0)
    const over = (): void => {
      stdin.off('data', onData).off('end', onEnd).off('error', reject)
      stdin.pause()
    }
    const onData = (chunk: Buffer | string): void => {
      text = Buffer.concat([text, Buffer.from(chunk as string)])
      const end = text.indexOf(0x0a)
      if (end < 0) return
      over()
      if (end + 1 < text.length) stdin.unshift(text.subarray(end + 1))
      resolve(text.toString('utf8', 0, end).replace(/\r$/, ''))
    }
    const onEnd = (): void => {
      over()
      reject(new UsageError(`no answer to "${question.trim()}"`))
    }
    stdin.on('data', onData).on('end', onEnd).on('error', reject)
    stdin.resume()
  })
}
