// Builds dist/ from the TypeScript sources: each file on its own, types stripped (tsc checks them in `npm run check`); the
// programs, and what they start, as bundles (bundle.mjs).
// The explorer's page is code for a browser: bundled into one script and one style sheet, which page.ts puts into HTML.
import { build } from 'esbuild'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { bundle } from './bundle.mjs'

const roots = ['lib', 'bin', 'test', 'bench'].filter(root => existsSync(root))
const page = join('lib', 'diff', 'explorer', 'page')
const sources = roots
  .flatMap(root => readdirSync(root, { recursive: true, withFileTypes: true }))
  .filter(e => e.isFile() && /\.tsx?$/.test(e.name) && !e.name.endsWith('.d.ts') && e.parentPath !== page)
  .map(e => join(e.parentPath, e.name))

// An output whose source is gone would still be found by the test runner.
if (existsSync('dist')) {
  for (const e of readdirSync('dist', { recursive: true, withFileTypes: true })) {
    const file = join(e.parentPath, e.name)
    if (!e.isFile() || !e.name.endsWith('.js')) continue
    const source = file.slice('dist/'.length).replace(/\.js$/, '')
    if (!sources.includes(`${source}.ts`) && !sources.includes(`${source}.tsx`)) rmSync(file)
  }
}

await build({
  entryPoints: sources.filter(source => !source.startsWith('bin/')),
  outdir: 'dist',
  outbase: '.',
  format: 'esm',
  platform: 'node',
  target: 'node20',
  sourcemap: 'linked',
  logLevel: 'warning',
})
await bundle(sources)
if (existsSync(page)) {
  await build({
    entryPoints: { page: join(page, 'main.tsx'), style: join(page, 'style.css') },
    outdir: join('dist', page),
    outExtension: { '.js': '.mjs' },
    bundle: true,
    minify: true,
    format: 'iife',
    platform: 'browser',
    target: ['chrome123', 'firefox120', 'safari17.5'],
    charset: 'utf8',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'warning',
  })
}
