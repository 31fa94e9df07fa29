#!/usr/bin/env -S node --
import { main } from '../lib/cli/main.js'
void main(process.argv.slice(2)).then(code => (process.exitCode = code))
