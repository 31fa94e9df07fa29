/**
 * The account of real images against an independent computation: buildah makes the layers, umoci unpacks the image after
 * each of them (so whiteouts, opaque marks and links are umoci's reading, not ours), tar-stream lists what each layer stores.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createGunzip } from 'node:zlib'
import t from 'tap'
import { extract } from 'tar-stream'
import { main } from '../../lib/cli/main.js'
import { bytesOf } from '../../lib/bytes.js'
import { analyse, type Analysis } from '../../lib/diff/analysis.js'
import { openLayers } from '../../lib/image/chain.js'
import { resolveImage } from '../../lib/image/images.js'
import { loadImages } from '../../lib/image/load.js'
import { Store } from '../../lib/image/store.js'
import { openIndex } from '../../lib/layer/indexed.js'

const missing = ['buildah', 'umoci', 'tar', 'setfattr'].filter(
  tool => spawnSync(tool, ['--version']).error !== undefined,
)
const reason = process.getuid?.() !== 0 ? 'needs root' : missing.length > 0 ? `needs ${missing.join(', ')}` : false

/** Each step changes the tree left by the one before and becomes a layer. */
const STEPS = [
  `mkdir -p etc/d2l usr/bin usr/share/doc/a usr/lib var/cache home opq
   echo root > etc/passwd; echo x > etc/d2l/x; echo f > etc/f2d; mkfifo var/fifo
   head -c 5000 /dev/zero | tr '\\0' x > usr/bin/tool; chmod 4755 usr/bin/tool; ln usr/bin/tool usr/bin/tool2
   head -c 3000 /dev/urandom > usr/lib/libx.so.1; ln -s libx.so.1 usr/lib/libx.so
   for i in 1 2 3; do head -c $((i*1000)) /dev/urandom > usr/share/doc/a/f$i; done
   head -c 700 /dev/urandom > home/data; cp home/data home/copy; echo 1 > opq/1; echo 22 > opq/2
   head -c 400 /dev/urandom > etc/meta; head -c 300 /dev/urandom > etc/xa`,
  `rm usr/bin/tool2; rm -r usr/share/doc/a etc/d2l etc/f2d opq; ln -s f2d etc/d2l; mkdir etc/f2d opq; echo in > etc/f2d/in
   chmod 600 etc/meta; setfattr -n user.k -v v etc/xa; echo 333 > opq/3; head -c 10000 /dev/urandom > var/cache/big`,
  `rm var/cache/big; echo more >> etc/passwd; chmod u-s usr/bin/tool; ln home/data home/link; rm -r etc/f2d; echo f > etc/f2d`,
]

interface Stored {
  readonly name: string
  readonly type: string
  readonly size: number
  readonly link: string
}

t.test('totals agree with umoci and tar on images made by buildah', { skip: reason, timeout: 900_000 }, async t => {
  const dir = mkdtempSync(join(tmpdir(), 'lamina-oracle-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const layout = join(dir, 'layout')
  makeImage(dir, layout)
  const store = Store.open(join(dir, 'store'))
  await loadImages(store, layout)
  const names = [...STEPS.keys(), 'raw1', 'raw2'].map(String)

  const manifestOf = (name: string): string[] => {
    const read = (digest: string): unknown =>
      JSON.parse(readFileSync(join(layout, 'blobs/sha256', digest.slice(7)), 'utf8'))
    const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
      manifests: { digest: string; annotations: Record<string, string> }[]
    }
    const found = index.manifests.find(m => m.annotations['org.opencontainers.image.ref.name'] === name)
    return (read(found?.digest ?? '') as { layers: { digest: string }[] }).layers.map(l => l.digest)
  }
  const last = names.at(-1) as string
  const blobs = manifestOf(last)
  const stored = await Promise.all(blobs.map(digest => listTar(join(layout, 'blobs/sha256', digest.slice(7)))))
  const states = names.map((name, i) => {
    const bundle = join(dir, `bundle-${i}`)
    execFileSync('umoci', ['unpack', '--image', `${layout}:${name}`, bundle], { stdio: 'pipe' })
    return filesBelow(join(bundle, 'rootfs'))
  })
  const final = states.at(-1) as Set<string>
  const want = blobs.map((_, i) => {
    const before = states[i - 1] ?? new Set<string>()
    const now = states[i] as Set<string>
    const here = new Set((stored[i] as Stored[]).filter(e => e.type !== 'directory').map(e => e.name))
    return {
      added: [...now].filter(p => !before.has(p)).length,
      changed: [...now].filter(p => before.has(p) && here.has(p)).length,
      removed: [...before].filter(p => !now.has(p)).length,
      bytes: (stored[i] as Stored[]).reduce(
        (n, e) => n + (e.type === 'file' && !e.name.includes('.wh.') ? e.size : 0),
        0,
      ),
      visibleBytes: visible(stored as Stored[][], i, final),
    }
  })

  const open = (name: string): Analysis => {
    const diffIDs = resolveImage(store, name).layers.map(l => l.diffID)
    const layers = openLayers(store, diffIDs, path => openIndex(bytesOf(path), bytesOf(store.objects)))
    const analysis = analyse(layers)
    for (const layer of layers) layer.close()
    return analysis
  }
  const analysis = open(`localhost/lamina-oracle:${last}`)
  t.match(analysis.layers, want)
  t.equal(
    analysis.wastedBytes,
    want.reduce((n, l) => n + l.bytes - l.visibleBytes, 0),
  )
  t.ok(analysis.wastedBytes > 20_000, `${analysis.wastedBytes} bytes wasted`)
  t.ok(
    analysis.layers.some(l => l.danglingWhiteouts === 2),
    'dangling whiteouts are there and counted',
  )
  t.ok(
    analysis.layers.some(l => l.opaques > 0),
    'an opaque directory is there',
  )

  t.test('an image is its layers one by one', async t => {
    for (const [i, name] of names.entries()) {
      const { layers } = open(`localhost/lamina-oracle:${name}`)
      t.match(
        layers.map(l => l.removed + l.added + l.changed),
        want.slice(0, i + 1).map(l => l.removed + l.added + l.changed),
      )
    }
  })

  t.test('the commands say the same', async t => {
    const run = async (...args: string[]): Promise<{ code: number; out: string }> => {
      let out = ''
      const write = (chunk: string | Uint8Array): boolean => {
        out += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('latin1')
        return true
      }
      const code = await main(['--root', join(dir, 'store'), ...args], {
        stdin: process.stdin,
        stdout: { write },
        stderr: { write },
      })
      return { code, out }
    }
    const image = `localhost/lamina-oracle:${last}`
    const json = JSON.parse((await run('layers', '--json', image)).out) as { layers: object[]; wastedBytes: number }
    t.match(json.layers, want)
    t.equal(json.wastedBytes, analysis.wastedBytes)
    t.match((await run('layers', image)).out, /RUN step 1/)
    t.equal((await run('ci', image)).code, 1)
    t.equal((await run('ci', image, '--lowestEfficiency', '0', '--highestUserWastedPercent', 'disabled')).code, 0)
    const rules = join(dir, '.dive-ci')
    writeFileSync(
      rules,
      'rules:\n  lowestEfficiency: 0\n  highestWastedBytes: 1B\n  highestUserWastedPercent: disabled\n',
    )
    const report = join(dir, 'report.xml')
    t.match(await run('ci', image, '--ci-config', rules, '--junit', report), {
      code: 1,
      out: /FAIL: highestWastedBytes/,
    })
    t.match(readFileSync(report, 'utf8'), /tests="3" failures="1" skipped="1"/)
    const first = 'localhost/lamina-oracle:0'
    const second = 'localhost/lamina-oracle:1'
    t.equal((await run('diff', first, first)).out, '')
    t.same(
      (await run('diff', first, second)).out.split('\n').filter(l => /\/(d2l|f2d|opq|meta|xa|tool2)(\/|$)/.test(l)),
      [
        'C /etc/d2l',
        'C /etc/f2d',
        'A /etc/f2d/in',
        'C /etc/meta',
        'C /etc/xa',
        'C /opq',
        'D /opq/1',
        'D /opq/2',
        'A /opq/3',
        'D /usr/bin/tool2',
      ],
    )
    const diffID = resolveImage(store, second).layers[1]?.diffID ?? ''
    const alone = (await run('diff', diffID)).out
    t.equal(alone, (await run('diff', first, second)).out, 'a layer alone is compared with what lies below it')
    t.equal((await run('diff', second)).out, alone, 'an image alone with what lies below its last layer')
    const changes = JSON.parse((await run('diff', '--json', first, second)).out) as {
      path: string
      aspects?: string[]
    }[]
    const aspects = (path: string): string[] | undefined => changes.find(c => c.path === path)?.aspects
    t.same(aspects('/etc/meta'), ['mode'])
    t.same(aspects('/etc/xa'), ['xattr'], 'an xattr-only change')
    t.equal((await run('cat', `${second}:/etc/d2l/in`)).out, 'in\n', 'a symlink on the way is followed')
    t.equal((await run('find', second, '--perm', '-4000')).out, '/usr/bin/tool\n')
    t.match((await run('which-layer', second, '/usr/bin/tool2')).out, /added[^]*removed/)
    t.match((await run('ls', '-l', `${second}:/usr/lib`)).out, /libx\.so -> libx\.so\.1/)

    t.test('diff --tar applied to the first gives the second, read by umoci', async t => {
      const tar = join(dir, 'difference.tar')
      writeFileSync(tar, Buffer.from((await run('diff', '--tar', first, second)).out, 'latin1'))
      execFileSync('umoci', ['raw', 'add-layer', '--image', `${layout}:0`, '--tag', 'applied', tar], { stdio: 'pipe' })
      execFileSync('umoci', ['unpack', '--image', `${layout}:applied`, join(dir, 'applied')], { stdio: 'pipe' })
      const out = (await run('diff', join(dir, 'applied/rootfs'), join(dir, 'bundle-1/rootfs'))).out
      t.equal(out, '', 'the same tree, attributes and all')
      const other = (await run('diff', join(dir, 'bundle-0/rootfs'), join(dir, 'bundle-1/rootfs'))).out
      t.not(other, '', 'while the first differs')
    })

    t.test('explore serves until interrupted, saves a page, and gives the terminal back', async t => {
      const program = new URL('../../bin/lamina.js', import.meta.url).pathname
      const lamina = [program, '--root', join(dir, 'store'), 'explore', image]
      const child = spawn(process.execPath, lamina, { stdio: ['ignore', 'pipe', 'inherit'] })
      const ended = once(child, 'exit')
      const [line] = (await once(child.stdout, 'data')) as [Buffer]
      const url = line.toString().trim()
      t.match(url, /^http:\/\/127\.0\.0\.1:\d+\/[\w-]{20,}\/$/)
      t.match(await (await fetch(url)).text(), 'data-served="1"')
      child.kill('SIGINT')
      t.same(await ended, [0, null])
      await t.rejects(fetch(url), 'nothing listens any more')

      const page = join(dir, 'page.html')
      t.equal((await run('explore', image, '--html', page, '--compare', first)).code, 0)
      t.equal(readFileSync(page, 'utf8').match(/data-set>/g)?.length, 2)
      t.equal((await run('explore', image, '--tui')).code, 2, 'no terminal here')

      if (spawnSync('script', ['--version']).error !== undefined)
        return t.comment('no script(1): --tui not run on a terminal')
      const inner = `stty rows 30 cols 120; ${[process.execPath, ...lamina].join(' ')} --tui; echo code=$?; stty -a`
      const tui = spawn('timeout', ['200', 'script', '-qec', inner, '/dev/null'], {
        stdio: ['pipe', 'pipe', 'inherit'],
      })
      let shown = ''
      tui.stdout.on('data', (chunk: Buffer) => {
        const now = shown + chunk.toString()
        const first = (text: string): boolean => !shown.includes(text) && now.includes(text)
        if (first('q quit')) tui.stdin.write('\x1b[B')
        if (first('changes of layer 1')) tui.stdin.write('\tq')
        shown += chunk.toString()
      })
      await once(tui, 'exit')
      t.match(shown, /changes of layer 1/)
      t.match(shown.slice(shown.lastIndexOf('\x1b[?1049l') + 1), 'code=0', 'the screen is as it was')
      t.match(shown, / echo /, 'and echoes')
    })

    t.test('cp takes a tree out as it is', async t => {
      const to = join(dir, 'copied')
      mkdirSync(to)
      t.equal((await run('cp', '-a', `${second}:/.`, to)).code, 0)
      const out = (await run('diff', '--ignore-times', to, join(dir, 'bundle-1/rootfs'))).out
      t.equal(out, '')
    })
  })
})

function makeImage(dir: string, layout: string): void {
  const env = { ...process.env, STORAGE_DRIVER: 'vfs', BUILDAH_ISOLATION: 'chroot' }
  const script = [
    'set -e',
    `B="buildah --root ${dir}/root --runroot ${dir}/run"`,
    'from=scratch',
    ...STEPS.flatMap((step, i) => [
      'c=$($B from --pull-never $from); m=$($B mount $c)',
      `(cd $m; umask 022; ${step})`,
      `$B umount $c; $B config --created-by 'RUN step ${i}' $c; $B commit -q --format oci $c step${i}; $B rm $c`,
      `$B push -q step${i} oci:${layout}:${i}`,
      `from=step${i}`,
    ]),
    // What buildah never writes: whiteouts of nothing, an opaque mark, a hard link across directories, a file twice.
    `mkdir -p ${dir}/raw1/etc ${dir}/raw1/usr/lib ${dir}/raw1/no/where; cd ${dir}/raw1`,
    'touch etc/.wh.nothing no/where/.wh.gone usr/lib/.wh..wh..opq; head -c 900 /dev/urandom > etc/new; ln etc/new usr/lib/linked',
    `tar cf ${dir}/raw1.tar etc usr no`,
    `umoci raw add-layer --image ${layout}:${STEPS.length - 1} --tag raw1 ${dir}/raw1.tar`,
    `mkdir -p ${dir}/raw2/usr/lib; cd ${dir}/raw2; touch usr/lib/.wh.linked; mkdir etc; touch etc/.wh.new; tar cf ${dir}/raw2.tar usr etc`,
    `umoci raw add-layer --image ${layout}:raw1 --tag raw2 ${dir}/raw2.tar`,
  ].join('\n')
  execFileSync('bash', ['-c', script], { env, stdio: 'pipe' })
  // Names by which the store can tell the images apart.
  const path = join(layout, 'index.json')
  const index = JSON.parse(readFileSync(path, 'utf8')) as { manifests: { annotations: Record<string, string> }[] }
  for (const { annotations } of index.manifests)
    annotations['io.containerd.image.name'] =
      `localhost/lamina-oracle:${annotations['org.opencontainers.image.ref.name']}`
  writeFileSync(path, JSON.stringify(index))
}

/** What a layer's blob stores, by tar-stream. Names like `/a/b`. */
function listTar(blob: string): Promise<Stored[]> {
  const normal = (name: string): string => `/${name.replace(/^\.?\//, '').replace(/\/$/, '')}`
  return new Promise((resolve, reject) => {
    const found: Stored[] = []
    const out = extract()
    out.on('entry', (header, stream, next) => {
      const link = header.type === 'link' ? normal(header.linkname) : ''
      found.push({ name: normal(header.name), type: header.type, size: header.size, link })
      stream.on('end', next).resume()
    })
    out.on('finish', () => resolve(found))
    out.on('error', reject)
    const gzip = readFileSync(blob)
      .subarray(0, 2)
      .equals(Buffer.from([0x1f, 0x8b]))
    const source = createReadStream(blob)
    if (gzip) source.pipe(createGunzip()).pipe(out)
    else source.pipe(out)
  })
}

/** Paths below `root` that are no directories; symlinks are not followed (readdir's own recursion would). */
function filesBelow(root: string, prefix = ''): Set<string> {
  const found = new Set<string>()
  for (const entry of readdirSync(root + prefix, { withFileTypes: true })) {
    const path = `${prefix}/${entry.name}`
    if (entry.isDirectory()) for (const below of filesBelow(root, path)) found.add(below)
    else found.add(path)
  }
  return found
}

/** Bytes of layer `i` that a path of the finished tree shows: the topmost layer that stores the path provides it. */
function visible(stored: readonly Stored[][], i: number, final: ReadonlySet<string>): number {
  const units = new Set<string>()
  for (const path of final) {
    for (let layer = stored.length - 1; layer >= 0; layer--) {
      const entry = stored[layer]?.find(e => e.name === path && e.type !== 'directory')
      if (entry === undefined) continue
      if (layer === i) units.add(entry.link === '' ? entry.name : entry.link)
      break
    }
  }
  return (stored[i] ?? []).reduce((n, e) => n + (e.type === 'file' && units.has(e.name) ? e.size : 0), 0)
}
