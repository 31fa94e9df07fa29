// Bundles the programs (bin/*.ts → dist/bin/*.js) and the threads and processes they start (those that a source names as
// `new URL('./x.cjs', import.meta.url)` → x.cjs beside it). All of them share their code: esbuild splits it into parts, which
// parts.mjs puts into a few scripts, each with V8's code cache beside it. A process that runs from these starts in half of
// the time it takes over a hundred ES modules (lib/README.md, "The command line").
//
// A bundled module is not where its source was, so its `import.meta.url` becomes the place that it has in dist.
import { build } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { partsOf } from './parts.mjs'

const options = {
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external: ['koffi', 'fuse-native'],
  minifySyntax: true,
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

/**
 * lru-cache looks for a clock when it is loaded, for times to live that nothing here has, and for somebody who listens to what it
 * does: naming the one loads Node's, in 5 ms, and importing the other takes 1.
 */
const plain = {
  name: 'lru-cache without a clock and diagnostics',
  setup(builder) {
    builder.onLoad({ filter: /\/lru-cache\/dist\/.*\.js$/ }, ({ path }) => {
      const contents = readFileSync(path, 'utf8')
      return { contents: contents.replaceAll('typeof performance', 'typeof undefined'), loader: 'js' }
    })
    builder.onResolve({ filter: /^node:diagnostics_channel$/ }, ({ importer, path }) =>
      importer.includes('/lru-cache/') ? { path, namespace: '<nobody>' } : undefined,
    )
    builder.onLoad({ filter: /^/, namespace: '<nobody>' }, () => ({
      contents: 'export const channel = () => ({ hasSubscribers: false }), tracingChannel = channel',
    }))
  },
}

/** Bytes of the first line of a file of parts (loader.cjs). */
const HEADER = 32768

export async function bundle(sources) {
  const programs = readdirSync('bin')
    .filter(name => name.endsWith('.ts'))
    .map(name => join('bin', name))
  const entryPoints = [...programs, ...started(sources.filter(source => !source.startsWith('test/')))]
  const result = await build({ ...options, entryPoints, outdir: 'dist', outbase: '.', plugins: [places, plain] })
  const text = partsOf(result, entryPoints, HEADER)
  mkdirSync('dist/bin', { recursive: true })
  replace('dist/bin/parts.js', text)
  replace('dist/bin/package.json', '{ "type": "commonjs" }\n')
  for (const entry of entryPoints) {
    const isProgram = programs.includes(entry)
    const file = join('dist', entry.replace(/\.ts$/, isProgram ? '.js' : '.cjs'))
    mkdirSync(dirname(file), { recursive: true })
    replace(file, loader(entry), isProgram ? 0o755 : 0o644)
  }
  const { residentFlags } = await import('../dist/lib/resident.js')
  const script = readFileSync('bin/lamina.sh', 'utf8').replace('RESIDENT_FLAGS', residentFlags.join(' '))
  replace('dist/bin/lamina', script, 0o755)
  for (const name of readdirSync('dist/bin')) if (name.includes('.cache')) rmSync(join('dist/bin', name))
  // The first start makes the cache.
  for (const flags of [[], residentFlags])
    execFileSync(process.execPath, [...flags, 'dist/bin/lamina.js', '--version'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
}

/** Processes may run from it: they keep the file they have. */
function replace(file, text, mode = 0o644) {
  writeFileSync(`${file}.new`, text, { mode })
  renameSync(`${file}.new`, file)
}

function loader(entry) {
  const { version } = JSON.parse(readFileSync('node_modules/koffi/package.json', 'utf8'))
  return readFileSync('bin/loader.cjs', 'utf8')
    .replace('DEPTH', `'${relative(dirname(entry), '.')}'`)
    .replace('LENGTH', String(HEADER))
    .replace('KOFFI', `'${version}'`)
    .replace('PROGRAM', `'${entry}'`)
}
