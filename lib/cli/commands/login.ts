/** `lamina login`: keeps a registry's credential where Docker does. */
import { type Context, defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'login [registry]',
  describe: 'Log in to a registry',
  builder: {
    username: { alias: 'u', type: 'string', requiresArg: true, describe: 'User name' },
    password: {
      alias: 'p',
      type: 'string',
      requiresArg: true,
      describe: 'Password (other users can see it: prefer --password-stdin)',
    },
    'password-stdin': { type: 'boolean', describe: 'Read the password from standard input' },
    'tls-verify': {
      type: 'boolean',
      default: true,
      describe: 'Check certificates; --no-tls-verify also allows plain HTTP',
    },
  },
  examples: [
    ['login registry.example.org', 'Asks for user name and password'],
    ['login -u me --password-stdin registry.example.org < secret', 'For scripts'],
  ],
  async handler(args, context) {
    const registry = args.registry ?? 'docker.io'
    if (args.password !== undefined && args.passwordStdin === true)
      throw new UsageError('--password and --password-stdin say it twice')
    if (args.passwordStdin === true && args.username === undefined)
      throw new UsageError('--password-stdin needs --username')
    const [{ Registry }, { storeCredential }, { closeConnections }] = await Promise.all([
      import('../../image/registry.js'),
      import('../../image/auth.js'),
      import('../../image/http.js'),
    ])
    const username = args.username ?? (await asked(context, args))
    const password =
      args.passwordStdin === true ? await all(context.stdin) : (args.password ?? (await asked(context, args, true)))
    if (username === '' || password === '') throw new UsageError('user name and password must not be empty')
    const credential = { username, password }
    try {
      await new Registry(registry, { credential, tlsVerify: args.tlsVerify }).login()
    } finally {
      closeConnections()
    }
    const place = await storeCredential(registry, credential)
    context.stderr.write(`credential kept in ${place}\n`)
    context.stdout.write('Login Succeeded\n')
  },
})

async function asked(
  context: Context,
  { registry }: { readonly registry: string | undefined },
  secret = false,
): Promise<string> {
  if (!context.stdin.isTTY)
    throw new UsageError(
      secret
        ? 'standard input is no terminal to ask for the password: use --password-stdin'
        : 'standard input is no terminal to ask for the user name: use --username',
    )
  const { ask, askHidden } = await import('../ask.js')
  return secret ? askHidden(context, 'Password: ') : ask(context, `Username for ${registry ?? 'docker.io'}: `)
}

/** All of a stream as text, without the end of its last line. */
async function all(stdin: NodeJS.ReadStream): Promise<string> {
  const { readText } = await import('../stream.js')
  return (await readText(stdin)).replace(/\r?\n$/, '')
}
