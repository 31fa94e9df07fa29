/** `lamina ci`: judges an image by rules, for pipelines. */
import { defineCommand, jsonOption } from '../command.js'

export const command = defineCommand({
  command: 'ci <image>',
  describe: 'Check an image against rules on wasted space; exit code 1 when one fails',
  builder: {
    ...jsonOption,
    'ci-config': {
      type: 'string',
      describe: 'Rules file (default: .lamina-ci.yaml, else .dive-ci, of this directory)',
    },
    lowestEfficiency: { type: 'string', describe: 'Lowest share of visible bytes, 0 to 1' },
    highestWastedBytes: { type: 'string', describe: 'Most bytes that may be wasted, as 20MB' },
    highestUserWastedPercent: {
      type: 'string',
      describe: 'Highest share of wasted bytes among those above the base layer',
    },
    junit: { type: 'string', describe: 'Write the verdicts as JUnit XML to this file (- for standard output)' },
  },
  examples: [
    ['ci mine:1', 'by .lamina-ci.yaml'],
    ['ci ./image.tar', 'an archive that a build has written, not loaded'],
    ['ci mine:1 --lowestEfficiency 0.95 --junit report.xml', 'by options'],
  ],
  epilogue:
    'Exit code 0: all rules hold (or are disabled); 1: one does not, or the image cannot be read; 2: wrong usage.',
  looksInto: args => [args.image],
  async handler(args, { root, runRoot, stdout }) {
    const [
      { readFileSync, writeFileSync, existsSync },
      { Operands },
      { openLayered },
      { analyse },
      rulesModule,
      { printJson },
      { printable },
    ] = await Promise.all([
      import('node:fs'),
      import('../operand.js'),
      import('../layered.js'),
      import('../../diff/analysis.js'),
      import('../../diff/rules.js'),
      import('../print.js'),
      import('../printable.js'),
    ])
    const { DEFAULT_RULES, judge, junit, parseRules, withRules } = rulesModule
    const file = args.ciConfig ?? ['.lamina-ci.yaml', '.dive-ci'].find(name => existsSync(name))
    const fromFile = file === undefined ? DEFAULT_RULES : parseRules(readFileSync(file, 'utf8'), file)
    const { lowestEfficiency, highestWastedBytes, highestUserWastedPercent } = args
    const rules = withRules(fromFile, { lowestEfficiency, highestWastedBytes, highestUserWastedPercent }, 'options')
    const operands = new Operands(root, runRoot)
    try {
      const { layers } = await openLayered(operands, args.image)
      const analysis = analyse(layers)
      const verdicts = judge(analysis, rules)
      const failed = verdicts.some(v => v.outcome === 'fail')
      if (args.junit !== undefined && args.junit !== '-') writeFileSync(args.junit, junit(args.image, verdicts))
      if (args.junit === '-') stdout.write(junit(args.image, verdicts))
      else if (args.json === true) {
        const { efficiency, wastedBytes, userBytes, totalBytes } = analysis
        printJson(stdout, {
          image: args.image,
          passed: !failed,
          efficiency,
          wastedBytes,
          userBytes,
          totalBytes,
          verdicts,
        })
      } else {
        const words = { pass: 'PASS', fail: 'FAIL', skip: 'SKIP' } as const
        for (const v of verdicts) stdout.write(`${words[v.outcome]}: ${v.rule}: ${printable(v.message)}\n`)
      }
      return failed ? 1 : 0
    } finally {
      operands.close()
    }
  },
})
