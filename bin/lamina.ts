#!/usr/bin/env node
console.error('lamina: no commands yet')
process.exitCode = 1
