// Builds dist/ from the TypeScript sources: each file on its own, types stripped (tsc checks them in `npm run check`).
import { build } from 'esbuild'
import { chmodSync, readdirSync, rmSync, existsSync, statSync } from 'node:fs'
import { join } from 'node:path'

const roots = ['lib', 'bin', 'test', 'bench'].filter(root => existsSync(root))
const sources = roots
  .flatMap(root => readdirSync(root, { recursive: true, withFileTypes: true }))
  .filter(e => e.isFile() && /\.tsx?$/.test(e.name) && !e.name.endsWith('.d.ts'))
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
  entryPoints: sources,
  outdir: 'dist',
  outbase: '.',
  format: 'esm',
  platform: 'node',
  target: 'node20',
  sourcemap: 'linked',
  logLevel: 'warning',
})
for (const e of readdirSync('dist/bin'))
  if (e.endsWith('.js')) chmodSync(join('dist/bin', e), statSync(join('dist/bin', e)).mode | 0o111)
