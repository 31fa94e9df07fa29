/** The import rules of lib/README.md ("Who may import whom"), read from the sources. */
import t from 'tap'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

/** Part of lib/ → the parts it may import beside itself. Everything may import base (files right in lib/) and sys. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  sys: [],
  layer: [],
  union: ['layer'],
  fuse: ['union/filesystem.ts'],
  diff: ['layer'],
  image: ['layer', 'diff'],
  build: ['image', 'diff', 'layer'],
  mount: ['layer', 'union', 'fuse'],
  runtime: ['image', 'mount', 'union', 'fuse', 'diff', 'layer'],
  cli: ['layer', 'union', 'fuse', 'diff', 'image', 'build', 'mount', 'runtime', 'explore'],
  explore: ['layer', 'diff', 'image'],
}

/** Who may import which package. A package not listed may be imported anywhere in lib/. */
const confined: Readonly<Record<string, RegExp>> = {
  koffi: /^lib\/sys\//,
  'fuse-native': /^lib\/fuse\/native[^/]*\.ts$|^lib\/fuse\/fuse-native[^/]*\.ts$/,
  yargs: /^lib\/cli\//,
}

const sources = readdirSync('lib', { recursive: true, withFileTypes: true })
  .filter(e => e.isFile() && /\.tsx?$/.test(e.name) && !e.name.endsWith('.d.ts'))
  .map(e => join(e.parentPath, e.name))

/** `import … from 'x'`, `export … from 'x'`, `import('x')`, as written by prettier. */
function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8')
  return [...text.matchAll(/(?:\bfrom\s+|\bimport\s*\(\s*|^import\s+)'([^']+)'/gm)].map(m => m[1] as string)
}

/** lib/cli/main.ts → cli; lib/errno.ts and lib/index.ts have no part. */
function partOf(file: string): string | undefined {
  const words = file.split('/')
  return words.length > 2 ? words[1] : undefined
}

t.test('every part of lib is named in the table', async t => {
  const parts = new Set(sources.map(partOf).filter(part => part !== undefined))
  for (const part of parts) t.ok(part in allowed, part)
})

t.test('each part imports only what it may', async t => {
  for (const file of sources) {
    const part = partOf(file)
    if (file === 'lib/index.ts') continue
    for (const target of importsOf(file).filter(i => i.startsWith('.'))) {
      const imported = normalize(join(dirname(file), target)).replace(/\.js$/, '.ts')
      const to = partOf(imported)
      if (to === undefined || to === 'sys' || to === part) continue
      const may = part !== undefined && (allowed[part] ?? []).some(a => a === to || imported === `lib/${a}`)
      if (!may) t.fail(`${file} imports ${imported}`)
    }
  }
  t.ok(sources.length > 10, 'sources were found')
})

t.test('packages stay where they belong', async t => {
  for (const file of sources)
    for (const target of importsOf(file)) {
      const where = confined[target]
      if (where !== undefined && !where.test(file)) t.fail(`${file} imports ${target}`)
    }
  t.ok(
    sources.some(file => importsOf(file).includes('koffi')),
    'koffi is imported somewhere',
  )
})
