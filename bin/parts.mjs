// From what esbuild has split to the scripts that bin/loader.cjs runs. A part is what esbuild calls a chunk: modules that are
// always loaded together. Here each becomes a function, what it imports is asked of the loader, and parts that the same
// kinds of start need (`starts`) are put into one script.
import { readFileSync } from 'node:fs'

/**
 * What is loaded on the way of the starts whose time people feel: the sources that are loaded by name (`await import`) there;
 * what those import comes with them. What is missing here is loaded all the same, from a script of its own.
 */
const starts = {
  command: ['bin/lamina.ts', 'lib/cli/parse.ts', 'lib/cli/help.ts'],
}

/** @returns scripts by name, and the id of each entry point's part. */
export function scriptsOf({ outputFiles, metafile }) {
  const outputs = new Map(
    Object.entries(metafile.outputs).map(([path, output], n) => [path, { ...output, path, number: n }]),
  )
  const texts = new Map(outputFiles.map(file => [file.path, file.text]))
  const ofSource = new Map()
  for (const output of outputs.values()) for (const source of Object.keys(output.inputs)) ofSource.set(source, output)

  for (const [start, sources] of Object.entries(starts))
    for (const source of sources) {
      const output = ofSource.get(source)
      if (output === undefined) throw new Error(`bin/parts.mjs: ${source} is not there`)
      for (const each of closure(output, outputs)) (each.starts ??= new Set()).add(start)
    }
  const scripts = new Map()
  for (const output of outputs.values()) {
    output.script = output.starts === undefined ? String(output.number) : [...output.starts].join('-')
    output.id = `${output.script}:${output.number}`
  }
  for (const output of outputs.values()) {
    const text = texts.get([...texts.keys()].find(path => path.endsWith(`/${output.path}`)))
    const part = partOf(text, output, outputs)
    scripts.set(output.script, [...(scripts.get(output.script) ?? []), `${output.number}:${part}`])
  }
  const sources = new Map()
  for (const [name, parts] of scripts)
    sources.set(name, `(function(load,require,__bundle){"use strict";return{\n${parts.join(',\n')}\n}})\n`)
  const entries = new Map()
  for (const { entryPoint, id } of outputs.values()) if (entryPoint !== undefined) entries.set(entryPoint, id)
  return { sources, entries }
}

function closure(output, outputs, found = new Set()) {
  if (found.has(output)) return found
  found.add(output)
  for (const { path, kind, external } of output.imports)
    if (kind === 'import-statement' && external !== true) closure(outputs.get(path), outputs, found)
  return found
}

const IMPORT = /(?<=^|[;}\n])import(?:([^"'{};()]*)(?:\{([^{}]*)\})?from)?"([^"]+)";/g
const TAIL = /export\{([^}]*)\};\s*$/

/** esbuild writes `import`s as statements of this one form, and one `export` at the end. */
function partOf(text, output, outputs) {
  const idOf = name => [...outputs.values()].find(o => o.path.endsWith(name.replace(/^(\.\.?\/)+/, '/')))?.id
  let head = ''
  let rest = text.replace(/^#!.*\n/, '').replaceAll(IMPORT, (_, plain = '', names, from) => {
    const module = from.startsWith('.') ? `load("${idOf(from)}")` : `require("${from}")`
    const whole = plain.replace(',', '').replace(/^\s*\*\s*as\b/, '').trim()
    if (whole !== '') head += `const ${whole}=${module};`
    if (names !== undefined) head += `const {${names.replaceAll(' as ', ':')}}=${whole === '' ? module : whole};`
    if (whole === '' && names === undefined) head += `${module};`
    return ''
  })
  const tail = TAIL.exec(rest)
  if (tail !== null) rest = rest.slice(0, tail.index)
  const exported = (tail?.[1] ?? '').split(',').filter(Boolean).map(word => word.split(/\s+as\s*/))
  for (const [local, name = local] of exported)
    if (liveBindings(output).has(local)) throw new Error(`${output.path}: ${name} changes, and another part imports it`)
  const dynamic = rest.replaceAll(/\bimport\("([^"]+)"\)/g, (_, from) =>
    from.startsWith('.')
      ? `Promise.resolve().then(()=>load("${idOf(from)}"))`
      : `Promise.resolve().then(()=>(m=>Object.create(m,{default:{value:m}}))(require("${from}")))`,
  )
  return `function($){${head}${dynamic}${exported.map(([local, name = local]) => `$[${name.startsWith('"') ? name : `"${name}"`}]=${local};`).join('')}}`
}

/** Names that a source exports with `let`: a part is given values, not bindings. */
function liveBindings(output) {
  const names = new Set()
  for (const source of Object.keys(output.inputs))
    if (source.startsWith('lib/'))
      for (const [, name] of readFileSync(source, 'utf8').matchAll(/^export let (\w+)/gm)) names.add(name)
  return names
}
