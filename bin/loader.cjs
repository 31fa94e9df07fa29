#!/usr/bin/env -S node --
// Runs one program from parts.js (bundle.mjs makes that file, and a copy of this one for every program, thread and server
// process). A part is a module or several that are always loaded together; parts that the
// same kinds of start need are one script, which starts from V8's code cache in a tenth of the time it takes to compile.
//
// Invariant: a process runs from one build to its end. Parts are loaded late, so the file stays open: a newer build, or an
// update of the package, puts another file under its name. A cache says which build it is of.
'use strict'
const fs = require('node:fs')
const path = require('node:path')
const { Script } = require('node:vm')
const { pathToFileURL } = require('node:url')

/** A file of parts, and a cache, begin with a line of that many bytes: `//`, JSON, spaces. Places are counted behind it. */
const HEADER = LENGTH

/** Where `bytes` reads to. */
let scratch = Buffer.allocUnsafeSlow(HEADER)
const dist = path.join(__dirname, DEPTH)
const base = pathToFileURL(dist + path.sep).href
const filename = path.join(dist, 'bin/parts.js')
const parts = open(filename)
/** V8 refuses what was compiled by another version of it, or with other flags: of these, the one of lib/resident.ts. */
const small = process.execArgv.some(word => word.startsWith('--max-semi-space-size')) ? '.small' : ''
const cacheName = path.join(dist, `bin/parts.${process.versions.v8}-${process.arch}${small}.cache`)
const cache = openCache() ?? makeCache()
const loaded = new Map()
const tables = new Map()
let library

/** The exports of a part. Its id is its script and its number there. */
function load(id) {
  const known = loaded.get(id)
  if (known !== undefined) return known
  const [name, number] = id.split(':')
  let table = tables.get(name)
  if (table === undefined) {
    table = compile(name, cache).runInThisContext()(load, external, base)
    tables.set(name, table)
  }
  const exports = {}
  table[number](exports)
  loaded.set(id, exports)
  return exports
}

function compile(name, from) {
  const [at, length, lineOffset] = parts.scripts[name]
  const place = from?.scripts[name]
  // Built of ASCII: a byte is a character, and so it stays.
  const text = bytes(parts.fd, HEADER + at, length).latin1Slice()
  const cachedData = place === undefined ? undefined : bytes(from.fd, HEADER + place[0], place[1])
  return new Script(text, { filename, lineOffset, cachedData })
}

function open(name) {
  const fd = fs.openSync(name)
  try {
    return { fd, ...JSON.parse(bytes(fd, 0, HEADER).latin1Slice(2)) }
  } catch (error) {
    fs.closeSync(fd)
    throw error
  }
}

/** `length` bytes of a file, valid until the next call: memory that was never touched costs a third of a start's reading. */
function bytes(fd, at, length) {
  if (scratch.length < length) scratch = Buffer.allocUnsafeSlow(length)
  return scratch.subarray(0, fs.readSync(fd, scratch, 0, length, at))
}

/** Undefined: there is none for this Node, or it is another build's. */
function openCache() {
  try {
    const found = open(cacheName)
    if (found.build === parts.build) return found
    fs.closeSync(found.fd)
  } catch {
    // Made now, where it can be.
  }
  return undefined
}

/** Once for each version of Node. Where the program's files are not for this user to write, it starts slower for ever. */
function makeCache() {
  const temporary = `${cacheName}.${process.pid}`
  let fd
  try {
    fd = fs.openSync(temporary, 'wx', 0o644)
  } catch {
    return undefined
  }
  const { setFlagsFromString } = require('node:v8')
  // Every function, not only those that run at once. The data is marked with the flags of the moment it is asked for.
  setFlagsFromString('--no-lazy')
  const compiled = parts.together.map(name => [name, compile(name)])
  setFlagsFromString('--lazy')
  const scripts = {}
  let at = 0
  for (const [name, script] of compiled) {
    const data = script.createCachedData()
    scripts[name] = [at, data.length]
    fs.writeSync(fd, data, 0, data.length, HEADER + at)
    at += data.length
  }
  fs.writeSync(fd, `//${JSON.stringify({ build: parts.build, scripts })}`.padEnd(HEADER - 1) + '\n', 0)
  // V8 does not check what it is given: never half a file under this name.
  fs.fsyncSync(fd)
  fs.closeSync(fd)
  fs.renameSync(temporary, cacheName)
  return undefined
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

load(parts.entries[PROGRAM])
