#!/usr/bin/env -S node --
import { main } from '../lib/cli/main.js'

const argv = process.argv.slice(2)
if (process.env['LAMINA_STAY'] === undefined) void main(argv).then(code => (process.exitCode = code))
else void import('../lib/cli/stay.js').then(({ mainThatStays }) => mainThatStays(argv))
