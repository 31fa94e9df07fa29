// Bundles the programs (bin/*.ts → dist/bin/*.js) and the threads and processes they start (those that a source names as
// `new URL('./x.cjs', import.meta.url)` → x.cjs beside it). All of them share their code: esbuild splits it into parts, which
// parts.mjs puts into a few scripts, each with V8's code cache beside it. A process that runs from these starts in half of
// the time it takes over a hundred ES modules (lib/README.md, "The command line").
//
// A bundled module is not where its source was, so its `import.meta.url` becomes the place that it has in dist.
import { build } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { scriptsOf } from './parts.mjs'

const options = {
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external: ['koffi', 'fuse-native'],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'warning',
  metafile: true,
  write: false,
  define: { 'import.meta.url': '__bundle', 'import.meta': '{}' },
}

/** Source files that another one starts as a thread or a process. */
function started(sources) {
  const found = new Set()
  for (const file of sources)
    for (const [, name] of readFileSync(file, 'utf8').matchAll(/new URL\('\.\/([\w-]+)\.cjs', import\.meta\.url\)/g))
      found.add(join(file, '..', `${name}.ts`))
  return [...found]
}

const places = {
  name: 'place of a module',
  setup(builder) {
    builder.onLoad({ filter: /\/(lib|bin)\/.*\.tsx?$/ }, ({ path }) => {
      const file = relative(resolve('.'), path)
      if (file.startsWith('node_modules')) return undefined
      const contents = readFileSync(path, 'utf8')
      if (!contents.includes('import.meta.url')) return undefined
      const place = file.replace(/\.tsx?$/, '.js')
      return { contents: contents.replaceAll('import.meta.url', `new URL('${place}', __bundle).href`), loader: 'ts' }
    })
  },
}

const PARTS = 'dist/bin/parts'

export async function bundle(sources) {
  const programs = readdirSync('bin')
    .filter(name => name.endsWith('.ts'))
    .map(name => join('bin', name))
  const entryPoints = [...programs, ...started(sources.filter(source => !source.startsWith('test/')))]
  const result = await build({ ...options, entryPoints, outdir: 'dist', outbase: '.', plugins: [places] })
  const { sources: scripts, entries } = scriptsOf(result)
  rmSync(PARTS, { recursive: true, force: true })
  mkdirSync(PARTS, { recursive: true })
  for (const [name, source] of scripts) writeFileSync(join(PARTS, `${name}.js`), source)
  writeFileSync('dist/bin/package.json', '{ "type": "commonjs" }\n')
  for (const [entry, id] of entries) {
    if (!entryPoints.includes(entry)) continue
    const isProgram = programs.includes(entry)
    const file = join('dist', entry.replace(/\.ts$/, isProgram ? '.js' : '.cjs'))
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, `${loader(dirname(entry))}\nload('${id}')\n`)
    if (isProgram) chmodSync(file, 0o755)
  }
  const together = [...scripts.keys()].filter(name => !/^\d+$/.test(name))
  const maker = 'dist/bin/parts/caches.js'
  writeFileSync(maker, `${loader('bin/parts')}\n${JSON.stringify(together)}.forEach(open)\n`)
  for (const flags of [[], ['--max-semi-space-size=2']])
    execFileSync(process.execPath, [...flags, maker], { stdio: 'inherit' })
  rmSync(maker)
}

function loader(directory) {
  const { version } = JSON.parse(readFileSync('node_modules/koffi/package.json', 'utf8'))
  return readFileSync('bin/loader.cjs', 'utf8')
    .replace('DEPTH', `'${relative(directory, '.')}'`)
    .replace('KOFFI', `'${version}'`)
}
