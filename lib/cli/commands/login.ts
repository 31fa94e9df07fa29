/** `lamina login`: keeps a registry's credential where Docker does. */
import { defineCommand, UsageError } from '../command.js'

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
  examples: [['login -u me --password-stdin registry.example.org < secret', 'Without showing the password']],
  async handler(args, { stdin, stdout, stderr }) {
    const registry = args.registry ?? 'docker.io'
    if (args.password !== undefined && args.passwordStdin === true)
      throw new UsageError('--password and --password-stdin say it twice')
    if (args.username === undefined) throw new UsageError('--username is needed')
    let password = args.password
    if (args.passwordStdin === true) {
      const parts: Buffer[] = []
      for await (const chunk of stdin) parts.push(Buffer.from(chunk as Buffer))
      password = Buffer.concat(parts)
        .toString('utf8')
        .replace(/\r?\n$/, '')
    }
    if (password === undefined) throw new UsageError('--password-stdin (or --password) is needed')
    const [{ Registry }, { storeCredential, credentialFile }, { closeConnections }] = await Promise.all([
      import('../../image/registry.js'),
      import('../../image/auth.js'),
      import('../../image/http.js'),
    ])
    const credential = { username: args.username, password }
    try {
      await new Registry(registry, { credential, tlsVerify: args.tlsVerify }).login()
    } finally {
      closeConnections()
    }
    await storeCredential(registry, credential)
    stderr.write(`credential kept in ${credentialFile()}\n`)
    stdout.write('Login Succeeded\n')
  },
})
