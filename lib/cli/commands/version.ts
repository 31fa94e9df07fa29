/** `lamina version`: what a bug report needs. */
import { defineCommand, jsonOption } from '../command.js'
import { printJson } from '../print.js'
import { version } from '../version.js'

export const command = defineCommand({
  command: 'version',
  describe: 'Show versions of Lamina, Node and the kernel',
  builder: { ...jsonOption },
  examples: [['version --json', 'The same for programs']],
  async handler(args, { stdout }) {
    const { release, arch } = await import('node:os')
    const versions = { lamina: version(), node: process.version, kernel: release(), arch: arch() }
    if (args.json) printJson(stdout, versions)
    else stdout.write(`lamina ${versions.lamina}, node ${versions.node}, Linux ${versions.kernel} ${versions.arch}\n`)
  },
})
