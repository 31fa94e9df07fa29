// From what esbuild has split to the file of parts that bin/loader.cjs runs. A part is what esbuild calls a chunk: modules that
// are always loaded together. Here each becomes a function, what it imports is asked of the loader, and parts that the same
// kinds of start need (`starts`) are put into one script.
import { transformSync } from 'esbuild'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Script } from 'node:vm'

/**
 * What is loaded on the way of the starts whose time people feel: sources that are loaded by name (`await import`) there; what
 * those import comes with them. What is missing here is loaded all the same, from a script of its own, without a cache.
 */
const starts = {
  command: 'bin/lamina cli/parse cli/help cli/version',
  mount: 'cli/commands/mount mount/launch cli/leave cli/stay mount/serve-on',
  serve: 'mount/server-process mount/serve-worker layer/indexed layer/directory union/options',
  exec:
    'cli/commands/exec cli/elevate runtime/containers runtime/options sys/process runtime/exec runtime/join ' +
    'runtime/seccomp/compile cli/leave',
  run:
    'cli/commands/run cli/elevate runtime/containers cli/container-root image/images image/pin runtime/options ' +
    'sys/process runtime/create runtime/config runtime/names runtime/rootless runtime/capabilities runtime/throttles ' +
    'cli/run-apart runtime/background cli/leave',
  supervise:
    'runtime/supervisor-main runtime/foreground runtime/image-root image/chain image/store mount/server runtime/resolve ' +
    'runtime/network/connect runtime/network/bridge runtime/network/networks runtime/seccomp/compile runtime/settle ' +
    'runtime/remove runtime/remove-tree runtime/volumes',
  inspect:
    'cli/commands/diff cli/commands/layers cli/commands/ls cli/commands/cat cli/commands/images cli/operand cli/layered ' +
    'cli/inside cli/print cli/human cli/describe-change image/store image/chain image/images layer/indexed layer/copies ' +
    'layer/directory runtime/containers diff/compare diff/analysis diff/lines diff/merged cli/stream cli/container-base ' +
    'diff/traces runtime/default-mounts',
  build:
    'cli/commands/build build/image-store build/context build/build build/scope build/platform build/output ' +
    'build/progress cli/base-image cli/build-network cli/build-executor image/http',
}

/** The text of parts.js. `header` is the length of its first line. */
export function partsOf({ outputFiles, metafile }, entryPoints, header) {
  const outputs = Object.entries(metafile.outputs).map(([path, output], number) => ({ ...output, path, number }))
  const byPath = new Map(outputs.map(output => [output.path, output]))
  for (const [start, sources] of Object.entries(starts))
    for (const source of sources.split(' ').map(name => `${name.replace(/^(?!bin\/)/, 'lib/')}.ts`)) {
      const output = outputs.find(o => o.entryPoint === source) ?? outputs.find(({ inputs }) => source in inputs)
      if (output === undefined) throw new Error(`bin/parts.mjs: ${source} is not there`)
      for (const each of closure(output, byPath)) (each.starts ??= new Set()).add(start)
    }
  for (const output of outputs) {
    output.script = output.starts === undefined ? `late${output.number}` : [...output.starts].join('+')
    output.id = `${output.script}:${output.number}`
    // Places in the file are bytes. What esbuild has left is in regular expressions and comments.
    output.text = outputFiles
      .find(file => file.path.endsWith(`/${output.path}`))
      .text.replaceAll(/[^\0-\x7f]/g, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
  }
  const scripts = {}
  let body = ''
  for (const name of new Set(outputs.map(output => output.script))) {
    const parts = outputs.filter(output => output.script === name).map(output => partOf(output, byPath))
    const readable = `(function(load, require, __bundle) { "use strict"; return {\n${parts.join(',\n')}}})\n`
    // Each start reads and keeps the text of what it runs: without comments and indentation it is four fifths as long. What
    // esbuild has put above each source, its name, stays.
    const { code: text } = transformSync(readable.replaceAll(/^\/\/ (\S+\.\w+)$/gm, '//! $1'), {
      minifyWhitespace: true,
      lineLimit: 120,
      legalComments: 'inline',
    })
    new Script(text, { filename: `dist/bin/parts.js: ${name}` })
    scripts[name] = [body.length, text.length, body.split('\n').length]
    body += text
  }
  const together = Object.keys(scripts).filter(name => !name.startsWith('late'))
  const build = createHash('sha256').update(body).digest('hex').slice(0, 16)
  const ends = outputs.filter(output => entryPoints.includes(output.entryPoint))
  const entries = Object.fromEntries(ends.map(({ entryPoint, id }) => [entryPoint, id]))
  const first = `//${JSON.stringify({ build, together, scripts, entries })}`
  if (first.length >= header) throw new Error(`bin/parts.mjs: a first line of ${first.length} bytes`)
  return `${first.padEnd(header - 1)}\n${body}`
}

function closure(output, byPath, found = new Set()) {
  if (found.has(output)) return found
  found.add(output)
  for (const { path, kind, external } of output.imports)
    if (kind === 'import-statement' && external !== true) closure(byPath.get(path), byPath, found)
  return found
}

const IMPORT = /^import(?:\s+([^"'{};()]*?))??(?:\s*\{([^{}]*)\})?(?:\s*from)?\s*"([^"]+)";$/gm
const EXPORT = /\nexport \{([^}]*)\};\n*$/

/** esbuild writes imports as statements of this form, and one `export` at the end. */
function partOf(output, byPath) {
  // The path that esbuild gives is from the chunk's own place; a chunk is known by its name.
  const idOf = from => [...byPath.values()].find(o => o.path.endsWith(from.replace(/^(\.\.?\/)+/, '/'))).id
  let head = ''
  let rest = output.text.replace(/^#!.*\n/, '').replaceAll(IMPORT, (_, plain = '', names, from) => {
    const module = from.startsWith('.') ? `load("${idOf(from)}")` : `require("${from}")`
    const whole = plain
      .replace(',', '')
      .replace(/^\*\s+as\b/, '')
      .trim()
    if (whole !== '') head += `const ${whole} = ${module};\n`
    if (names !== undefined) head += `const {${names.replaceAll(' as ', ': ')}} = ${whole === '' ? module : whole};\n`
    if (whole === '' && names === undefined) head += `${module};\n`
    return ''
  })
  const exported = (EXPORT.exec(rest)?.[1] ?? '')
    .split(',')
    .map(word => word.trim())
    .filter(Boolean)
  rest = rest.replace(EXPORT, '\n')
  let tail = ''
  for (const [local, name = local] of exported.map(word => word.split(/\s+as\s+/))) {
    if (liveBindings(output).has(local)) throw new Error(`${output.path}: ${name} changes, and another part imports it`)
    tail += `$[${name.startsWith('"') ? name : `"${name}"`}] = ${local};\n`
  }
  rest = rest.replaceAll(/\bimport\("([^"]+)"\)/g, (_, from) =>
    from.startsWith('.')
      ? `Promise.resolve().then(() => load("${idOf(from)}"))`
      : `Promise.resolve().then(() => (m => Object.create(m, { default: { value: m } }))(require("${from}")))`,
  )
  return `${output.number}: function($) {\n${head}${rest}${tail}}`
}

/** Names that a source exports and may change: a part is given values, not bindings. */
function liveBindings(output) {
  const names = new Set()
  for (const source of Object.keys(output.inputs).filter(name => !name.startsWith('<')))
    for (const [, name] of readFileSync(source, 'utf8').matchAll(/^export (?:let|var) (\w+)/gm)) names.add(name)
  return names
}
