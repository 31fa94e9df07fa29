// Bundles the programs (bin/*.ts → dist/bin/*.js) and the threads and processes they start (those that a source names as
// `new URL('./x.cjs', import.meta.url)` → x.cjs beside it), one CommonJS file each. A process that runs from one file starts
// in two thirds of the time it takes over a hundred ES modules (lib/README.md, "The command line"). What is loaded late
// (`await import()`) is in the same file and is evaluated when it is asked for.
//
// A bundled module is not where its source was, so its `import.meta.url` becomes the place that it has in dist.
import { build } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'

const options = {
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  external: ['koffi', 'fuse-native'],
  // A script from the code cache has no import(): what stays outside the bundle is required.
  supported: { 'dynamic-import': false },
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: 'linked',
  sourcesContent: false,
  legalComments: 'none',
  logLevel: 'warning',
  define: { 'import.meta.url': '__bundle' },
  banner: { js: "const __bundle=require('node:url').pathToFileURL(__filename).href;" },
}

/** Source files that another one starts as a thread or a process. */
function started(sources) {
  const found = new Set()
  for (const file of sources)
    for (const [, name] of readFileSync(file, 'utf8').matchAll(/new URL\('\.\/([\w-]+)\.cjs', import\.meta\.url\)/g))
      found.add(join(file, '..', `${name}.ts`))
  return [...found]
}

/** For bundles in `directory` of dist. */
function places(directory) {
  return {
    name: 'place of a module',
    setup(builder) {
      builder.onLoad({ filter: /\/(lib|bin)\/.*\.tsx?$/ }, ({ path }) => {
        const file = relative(resolve('.'), path)
        if (file.startsWith('node_modules')) return undefined
        const contents = readFileSync(path, 'utf8')
        if (!contents.includes('import.meta.url')) return undefined
        const place = relative(directory, file.replace(/\.tsx?$/, '.js'))
        return { contents: contents.replaceAll('import.meta.url', `new URL('${place}', __bundle).href`), loader: 'ts' }
      })
    },
  }
}

export async function bundle(sources) {
  for (const file of started(sources.filter(source => !source.startsWith('test/')))) {
    const directory = join(file, '..')
    const plugins = [places(directory)]
    const outExtension = { '.js': '.cjs' }
    await build({ ...options, entryPoints: [file], outdir: join('dist', directory), outExtension, plugins })
  }
  const programs = readdirSync('bin').filter(name => name.endsWith('.ts'))
  const entryPoints = programs.map(name => join('bin', name))
  await build({ ...options, entryPoints, outdir: 'dist/bin', plugins: [places('bin')] })
  mkdirSync('dist/bin', { recursive: true })
  writeFileSync('dist/bin/package.json', '{ "type": "commonjs" }\n')
  for (const name of programs) chmodSync(join('dist/bin', name.replace(/\.ts$/, '.js')), 0o755)
  cacheCode('dist/bin/lamina')
}

/**
 * Compiling a megabyte of script takes Node 30 ms at each start; from V8's own cache it takes 3. The program moves aside
 * (NAME.cjs) and NAME.js becomes its loader. V8 refuses a cache of another version of itself, and compiles then as ever;
 * but it knows the source by its length only, so both files are always written together.
 */
function cacheCode(program) {
  const source = readFileSync(`${program}.js`, 'utf8').replace(/^#!.*/, '')
  rmSync(`${program}.cache`, { force: true })
  writeFileSync(`${program}.cjs`, source)
  writeFileSync(`${program}.js`, LOADER)
  // The cache has what was compiled when it is made: so after a run that has parsed a command line.
  execFileSync(process.execPath, ['-e', MAKER, resolve(`${program}.cjs`), '--version'], { stdio: 'ignore' })
}

const MAKER = `
const fs = require('node:fs')
const vm = require('node:vm')
const Module = require('node:module')
const [node, filename, ...args] = process.argv
process.argv = [node, filename, ...args]
const script = new vm.Script(Module.wrap(fs.readFileSync(filename, 'utf8')), { filename })
process.on('exit', () => fs.writeFileSync(filename.replace(/cjs$/, 'cache'), script.createCachedData()))
script.runInThisContext()(exports, Module.createRequire(filename), module, filename, require('node:path').dirname(filename))
`

const LOADER = `#!/usr/bin/env node
'use strict'
const fs = require('node:fs')
const vm = require('node:vm')
const path = require('node:path')
const Module = require('node:module')
const filename = path.join(__dirname, path.basename(__filename, '.js') + '.cjs')
let cachedData
try {
  cachedData = fs.readFileSync(filename.replace(/cjs$/, 'cache'))
} catch {
  cachedData = undefined
}
const script = new vm.Script(Module.wrap(fs.readFileSync(filename, 'utf8')), {
  filename,
  cachedData,
  importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
})
script.runInThisContext()(exports, Module.createRequire(filename), module, filename, __dirname)
`
