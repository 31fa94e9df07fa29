/** Owns the form of a warning: what a user must know although his container starts. */
export function warning(line: string): string {
  return `lamina: warning: ${line}\n`
}
