/** `lamina lint`: checks a Dockerfile. Exit code 1 when something was found and `# check=error=true` or --strict says so. */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { defineCommand, jsonOption } from '../command.js'
import { printable } from '../printable.js'
import { printJson } from '../print.js'

export const command = defineCommand({
  command: 'lint [file]',
  describe: 'Check a Dockerfile for likely mistakes',
  builder: {
    ...jsonOption,
    strict: { type: 'boolean', describe: 'Exit with 1 when anything is found' },
    context: { type: 'string', requiresArg: true, describe: 'Directory whose ignore file counts; default: the file’s' },
  },
  examples: [['lint Dockerfile', 'The checks are named as Docker’s build checks; `# check=skip=NAME` skips one']],
  async handler(args, { root, stdin, stdout }) {
    const [{ parseDockerfile }, { excerpt }, { lint, RULES }, { readIgnore }] = await Promise.all([
      import('../../build/dockerfile.js'),
      import('../../build/error.js'),
      import('../../build/lint.js'),
      import('../../build/ignore.js'),
    ])
    const name = args.file ?? 'Dockerfile'
    let text: string
    if (name === '-') {
      const { readText } = await import('../stream.js')
      text = await readText(stdin)
    } else text = readFileSync(name, 'utf8')
    const directory = args.context ?? (name === '-' ? undefined : dirname(resolve(name)))
    const ignore = directory === undefined ? undefined : readIgnore(directory, name === '-' ? undefined : resolve(name))
    const { findings, fails } = lint(parseDockerfile(text, name), ignore, await environments(root))
    if (args.json === true)
      printJson(
        stdout,
        findings.map(({ rule, message, location }) => ({
          rule,
          description: RULES[rule],
          message,
          line: location.line,
        })),
      )
    else
      for (const { rule, message, location } of findings)
        stdout.write(
          `${printable(name)}:${location.line}: ${rule}: ${printable(message)}\n${excerpt(text, location)}\n\n`,
        )
    return findings.length > 0 && (fails || args.strict === true) ? 1 : 0
  },
})

/** What the images of the store set; without a store nothing is known. */
async function environments(root: string): Promise<(reference: string) => readonly string[] | undefined> {
  const { existsSync } = await import('node:fs')
  if (!existsSync(`${root}/oci-layout`)) return () => undefined
  const [{ Store }, { resolveImage }] = await Promise.all([
    import('../../image/store.js'),
    import('../../image/images.js'),
  ])
  return reference => {
    try {
      const env = resolveImage(Store.open(root), reference).config.config?.Env ?? []
      return ['PATH', ...env.map(pair => pair.slice(0, pair.indexOf('=')))]
    } catch {
      return undefined
    }
  }
}
