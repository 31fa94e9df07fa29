/** Owns signal names as STOPSIGNAL takes them: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`. */
import { constants } from 'node:os'

/** The name with SIG, or undefined when there is none such. */
export function signalName(text: string): string | undefined {
  if (/^\d+$/.test(text)) {
    const number = Number(text)
    if (number < 1 || number > 64) return undefined
    return Object.entries(constants.signals).find(([, n]) => n === number)?.[0] ?? text
  }
  const name = text.toUpperCase().replace(/^(?!SIG)/, 'SIG')
  const realtime = /^SIGRT(?:MIN(?:\+(\d+))?|MAX(?:-(\d+))?)$/.exec(name)
  if (realtime) return Number(realtime[1] ?? realtime[2] ?? 0) <= 30 ? name : undefined
  return Object.hasOwn(constants.signals, name) ? name : undefined
}
