#!/usr/bin/env node
// Runs one program from the parts in dist/bin/parts (bundle.mjs makes them, and a copy of this file for every program, thread
// and server process, with what it starts at the end). A part is the body of a module or several; parts that are needed
// together are one script, compiled as a whole when they are built: from V8's code cache it starts in a tenth of the time.
'use strict'
const fs = require('node:fs')
const path = require('node:path')
const { Script } = require('node:vm')
const { pathToFileURL } = require('node:url')

const dist = path.join(__dirname, DEPTH)
const base = pathToFileURL(dist + path.sep).href
const loaded = new Map()
const scripts = new Map()
let library

/** The exports of a part. Its id names its script and its place there. */
function load(id) {
  const known = loaded.get(id)
  if (known !== undefined) return known
  const [name, number] = id.split(':')
  const exports = {}
  ;(scripts.get(name) ?? open(name))[number](exports)
  loaded.set(id, exports)
  return exports
}

function open(name) {
  const filename = path.join(dist, 'bin/parts', name)
  // Built of ASCII: a byte is a character, and so it stays.
  const source = fs.readFileSync(`${filename}.js`, 'latin1')
  const table = compile(filename, source).runInThisContext()(load, external, base)
  scripts.set(name, table)
  return table
}

/** V8 refuses a cache of other flags, or of another version of it: each has its own, and is made anew when refused. */
function compile(filename, source) {
  const small = process.execArgv.some(word => word.startsWith('--max-semi-space-size'))
  const cache = `${filename}${small ? '.small' : ''}.cache`
  let cachedData
  try {
    cachedData = fs.readFileSync(cache)
  } catch {
    cachedData = undefined
  }
  const script = new Script(source, { filename: `${filename}.js`, cachedData })
  if (cachedData === undefined || script.cachedDataRejected) renew(cache, source, script.filename)
  return script
}

/** Where the program's files are not for this user to write, it starts slower. */
function renew(cache, source, filename) {
  const temporary = `${cache}.${process.pid}`
  let fd
  try {
    fd = fs.openSync(temporary, 'wx', 0o644)
  } catch {
    return
  }
  const { setFlagsFromString } = require('node:v8')
  setFlagsFromString('--no-lazy')
  // V8 finds sources that it has compiled before, and compares the length only of one that comes with a cache: so this is
  // another one, as long.
  const script = new Script(`${source.slice(0, -1)} `, { filename })
  setFlagsFromString('--lazy')
  fs.writeSync(fd, script.createCachedData())
  fs.closeSync(fd)
  fs.renameSync(temporary, cache)
}

function external(name) {
  return name === 'koffi' ? (library ??= koffi()) : require(name)
}

/** Koffi's library itself: what stands before it finds out which one is right, in more time than loading it takes. */
function koffi() {
  const file = `node_modules/@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`
  for (let up = dist, last = ''; up !== last; last = up, up = path.dirname(up)) {
    if (!fs.existsSync(path.join(up, file))) continue
    const module = { exports: {} }
    try {
      process.dlopen(module, path.join(up, file))
    } catch {
      break
    }
    if (module.exports.version === KOFFI) return module.exports
    break
  }
  return require('koffi')
}
