/** The explorer in a real browser (Debian's chromium, headless): served and saved, with unfriendly names, in both themes. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { type Browser, chromium, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { printableBytes } from '../../lib/cli/printable.js'
import {
  collectTexts,
  comparisonDataset,
  type Exploration,
  imageDataset,
} from '../../lib/diff/explorer/build-dataset.js'
import { explorerHtml } from '../../lib/diff/explorer/page.js'
import { serveExplorer } from '../../lib/diff/explorer/serve.js'
import { MergedTree } from '../../lib/diff/merged.js'
import { dir, file, gone, type Item, link, MemoryLayer } from './memory-layer.js'

const PROGRAM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(p => existsSync(p))
/** How long to wait for what must come. Only a failure takes that long. */
const PATIENCE = 60_000
const HTML = '<img src=x onerror=document.title="owned">'
const ESC = 'esc\x1b[31m\nname'
const BYTES = '\xff\xfebytes'
const RTL = '\xe2\x80\xaegpj.exe'

const package1 = '{\n  "name": "shop",\n  "version": "1.0.0"\n}\n'
const package2 = '{\n  "name": "shop",\n  "version": "1.1.0"\n}\n'

function images(): { layers: MemoryLayer[]; other: MemoryLayer[] } {
  const base = dir({
    bin: link('usr/bin'),
    etc: dir({ passwd: file('root:x:0:0\n'), motd: file('Welcome\n') }),
    usr: dir({
      bin: dir({ su: file('s'.repeat(5000), { mode: 0o104755 }) }),
      share: dir({ doc: dir({ a: file('a'.repeat(900)) }) }),
    }),
  })
  const second = dir({
    app: dir({
      'package.json': file(package1),
      [HTML]: file('<script>document.title="owned"</script>'),
      [ESC]: file('x'),
      [BYTES]: file('y'),
      [RTL]: file('z\x1b]0;owned\x07'),
    }),
    etc: dir({ motd: gone() }),
  })
  const third = dir({
    app: dir({ 'package.json': file(package2, { mtime: 9 }) }),
    usr: dir({ bin: dir({ su: file('s'.repeat(5000)) }), share: dir({ doc: gone() }) }),
  })
  const layers = [base, second, third].map(item => new MemoryLayer(item, true))
  return {
    layers,
    other: [...layers.slice(0, 2), new MemoryLayer(dir({ app: dir({ extra: file('extra\n') }) }), true)],
  }
}

const about = ['ADD file:4b1b in /', 'COPY . /app', 'RUN /bin/sh -c chmod u-s /usr/bin/su # buildkit'].map(
  instruction => ({
    instruction,
    id: 'sha256:0',
  }),
)
const explore = (layers: MemoryLayer[]): Exploration =>
  imageDataset({ title: `shop:1 ${HTML}`, layers, about }, printableBytes)
const stack = (layers: MemoryLayer[]): MergedTree => new MergedTree([...layers].reverse())

async function open(t: Test, browser: Browser, url: string, colorScheme: 'light' | 'dark' = 'light'): Promise<Page> {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 860 },
    colorScheme,
    offline: url.startsWith('file:'),
  })
  const page = await context.newPage()
  page.setDefaultTimeout(PATIENCE)
  page.on('pageerror', error => t.fail(`script error: ${error.message}`))
  page.on('console', message => {
    if (message.type() === 'error' && !message.text().includes('status of 400')) t.fail(`console: ${message.text()}`)
  })
  page.on('dialog', () => t.fail('a dialog'))
  await page.goto(url)
  await page.waitForSelector('body[data-ready]')
  return page
}

/** Texts of the rows in sight, from the top. */
const ROWS = `[...document.querySelectorAll('.row')]
  .map(r => ({ y: r.getBoundingClientRect().y, text: r.querySelector('.label').textContent }))
  .sort((a, b) => a.y - b.y)
  .map(r => r.text)`
const rows = (page: Page): Promise<string[]> => page.evaluate(ROWS)
const text = (page: Page, selector: string) => (): Promise<string | null> =>
  page.locator(selector).first().textContent()
const count = (page: Page, selector: string) => (): Promise<number> => page.locator(selector).count()

/** Reads until it is right, and gives up with the last that was read when it does not come. */
async function settled<T>(read: () => Promise<T>, right: (seen: T) => boolean): Promise<T> {
  const deadline = Date.now() + PATIENCE
  for (;;) {
    const seen = await read()
    if (right(seen) || Date.now() > deadline) return seen
    await sleep(20)
  }
}
const becomes = async <T>(t: Test, read: () => Promise<T>, wanted: T, message = ''): Promise<unknown> =>
  t.same(await settled(read, seen => isDeepStrictEqual(seen, wanted)), wanted, message)
const comes = async (t: Test, read: () => Promise<string | null>, wanted: RegExp, message = ''): Promise<unknown> =>
  t.match(await settled(read, seen => wanted.test(seen ?? '')), wanted, message)
const press = async (page: Page, ...keys: string[]): Promise<void> => {
  for (const key of keys) await page.keyboard.press(key)
}

/** Runs in the page: lowest contrast (WCAG 2 ratio) among the texts that a selector finds. */
const CONTRAST = `selector => {
  const rgb = text => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d')
    canvas.fillStyle = text
    canvas.fillRect(0, 0, 1, 1)
    return [...canvas.getImageData(0, 0, 1, 1).data]
  }
  const linear = v => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4)
  const luminance = ([r, g, b]) => linear(r) * 0.2126 + linear(g) * 0.7152 + linear(b) * 0.0722
  return Math.min(...[...document.querySelectorAll(selector)].map(element => {
    let back = element
    while (back.parentElement && rgb(getComputedStyle(back).backgroundColor)[3] < 255) back = back.parentElement
    const a = luminance(rgb(getComputedStyle(element).color))
    const b = luminance(rgb(getComputedStyle(back).backgroundColor))
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
  }))
}`
const contrast = (page: Page, selector: string): Promise<number> =>
  page.evaluate(`(${CONTRAST})(${JSON.stringify(selector)})`)

const skip = PROGRAM === undefined ? 'chromium is not installed' : false

t.test('the explorer in a browser', { skip, timeout: 900_000 }, async t => {
  const scratch = mkdtempSync(join(tmpdir(), 'lamina-explorer-'))
  const home = join(scratch, 'home')
  const browser = await chromium.launch({
    executablePath: PROGRAM as string,
    timeout: PATIENCE,
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    env: { ...process.env, HOME: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home },
  })
  t.teardown(async () => {
    await browser.close()
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5 })
  })
  const shots: Buffer[] = []
  const shoot = async (page: Page, name: string): Promise<void> => {
    const shot = await page.screenshot()
    shots.push(shot)
    const keep = process.env['LAMINA_SCREENSHOTS']
    if (keep !== undefined) writeFileSync(join(keep, `${name}.png`), shot)
  }

  await t.test('served', async t => {
    const { layers, other } = images()
    const server = await serveExplorer({
      exploration: explore(layers),
      images: () => ['shop:2'],
      compare: name => {
        if (name !== 'shop:2')
          throw Object.assign(new Error(`find image ${name}: no such image`), { code: 'IMAGE_NOT_FOUND' })
        return Promise.resolve(comparisonDataset(['shop:1', name], stack(layers), stack(other), printableBytes))
      },
    })
    t.teardown(() => server.close())
    const page = await open(t, browser, server.url)
    t.equal(await page.title(), `shop:1 ${HTML} · Lamina`)
    await becomes(t, () => rows(page), ['app', 'etc', 'usr', 'bin'], 'directories first')
    await becomes(t, count(page, '.layer'), 3)
    await comes(
      t,
      text(page, '.layer.current code'),
      /RUN chmod u-s \/usr\/bin\/su/,
      'the instruction as it was written',
    )

    await press(page, 'e', '5')
    await becomes(
      t,
      () => rows(page),
      ['app', 'package.json', 'usr', 'bin', 'su', 'share', 'doc', 'a'],
      'only changes of the layer',
    )
    await becomes(t, count(page, '.row.k5'), 2, 'the removed directory and what was in it')
    await becomes(t, count(page, '.row.k4'), 1, 'a changed mode is no changed content')
    await shoot(page, 'light')
    t.ok((await contrast(page, '.row .label, .layer code, .chip, .counts span')) >= 4.5, 'readable in light')

    await press(page, '5', 'v', '5')
    await page.locator('.row', { hasText: 'motd' }).waitFor()
    const all = await rows(page)
    t.ok(all.includes('motd') && all.includes(HTML), 'all changes since the base')

    await t.test('names are shown as text, made safe, and never run', async t => {
      t.ok(all.includes('esc\\x1b[31m\\nname'))
      t.ok(all.includes('\\xff\\xfebytes'))
      t.ok(all.includes('\\u{202e}gpj.exe'))
      await page.locator('.row', { hasText: '<img' }).click()
      await page.waitForSelector('pre.text')
      await becomes(t, text(page, 'pre.text'), '<script>document.title="owned"</script>')
      await page.locator('.row', { hasText: 'gpj.exe' }).click()
      await page.locator('pre.text', { hasText: /^z/ }).waitFor()
      await becomes(t, text(page, 'pre.text'), 'z\\u{1b}]0;owned\\u{7}')
      await becomes(t, count(page, 'img'), 0)
      t.not(await page.title(), 'owned')
    })

    await t.test('text difference, history, download', async t => {
      await press(page, 'v')
      await page.locator('.row', { hasText: 'package.json' }).click()
      await press(page, 'd')
      await page.waitForSelector('.diff .plus')
      await comes(t, text(page, '.diff .minus'), /"version": "1\.0\.0"/)
      await comes(t, text(page, '.diff .plus'), /"version": "1\.1\.0"/)
      await becomes(t, count(page, '.history li'), 2)
      await comes(t, text(page, '.history li'), /added.*wasted since layer 2/)
      const [download] = await Promise.all([page.waitForEvent('download'), page.locator('a[download]').click()])
      t.equal(download.suggestedFilename(), 'package.json')
      const path = join(scratch, 'download')
      await download.saveAs(path)
      t.ok(existsSync(path))
      await shoot(page, 'difference')
    })

    await t.test('search finds names and paths, and opens the way to them', async t => {
      await press(page, '/')
      await page.keyboard.type('doc/a')
      await becomes(t, () => rows(page), ['usr', 'share', 'doc', 'a'])
      await becomes(t, text(page, '.search output'), '1')
      await press(page, 'Escape')
    })

    await t.test('the keyboard alone is enough', async t => {
      await press(page, 'c', '5', 'Home')
      await becomes(t, text(page, '.row.selected .label'), 'app')
      await press(page, 'End', 'ArrowUp')
      await becomes(t, text(page, '.row.selected .label'), 'usr')
      await press(page, 'ArrowRight', 'ArrowRight')
      await becomes(t, text(page, '.row.selected .label'), 'bin')
      const id = await page.locator('.row.selected').getAttribute('id')
      await becomes(t, () => page.locator('[aria-activedescendant]').getAttribute('aria-activedescendant'), id)
      await press(page, 'ArrowLeft', 'ArrowLeft', '[', '[')
      await becomes(t, text(page, '.layer.current .layer-index'), '0')
      await press(page, '?')
      await becomes(t, count(page, '[role=dialog]'), 1)
      await press(page, 'Escape')
      await becomes(t, count(page, '[role=dialog]'), 0)
    })

    await t.test('the treemap leads into directories', async t => {
      await press(page, ']', ']', 'Home')
      await page.locator('.crumbs button').first().click()
      await page
        .locator('.cell', { hasText: 'usr' })
        .first()
        .click({ position: { x: 8, y: 6 } })
      await comes(t, text(page, '.crumbs'), /usr/)
      await page.locator('.cell', { hasText: 'bin' }).first().waitFor()
      await shoot(page, 'treemap')
    })

    await t.test('compares with another image', async t => {
      await page.fill('input[name=image]', 'shop:2')
      await page.keyboard.press('Enter')
      await page.locator('h2', { hasText: 'Compared' }).waitFor()
      await page.locator('.tree').focus()
      await press(page, 'e')
      await becomes(t, () => rows(page), ['app', 'extra', 'package.json', 'usr', 'bin', 'su', 'share', 'doc', 'a'])
      await page.locator('.row', { hasText: 'extra' }).click()
      await page.waitForSelector('pre.text')
      await becomes(t, text(page, 'pre.text'), 'extra\n', 'data comes from the other image')
      await page.fill('input[name=image]', 'nothing')
      await page.locator('input[name=image]').press('Enter')
      await becomes(t, text(page, '.compare .state'), 'find image nothing: no such image')
    })

    await t.test('nobody without the address gets anything', async t => {
      const { origin, pathname } = new URL(server.url)
      t.equal((await fetch(origin)).status, 404)
      t.equal((await fetch(`${origin}/wrong${pathname}content?set=0&node=1&event=1`)).status, 404)
      t.equal((await fetch(`${server.url}content?set=0&node=999999&event=1`)).status, 404)
      t.equal((await fetch(`${server.url}content?set=0&node=-1&event=1e3`)).status, 404)
      t.equal((await fetch(server.url, { method: 'POST' })).status, 404)
      const policy = (await fetch(server.url)).headers.get('content-security-policy') ?? ''
      t.match(policy, /default-src 'none'; script-src 'sha256-/)
      t.notMatch(policy, /unsafe/)
    })
  })

  await t.test('saved to a file, opened offline, in dark colours', async t => {
    const { layers, other } = images()
    const exploration = explore(layers)
    const texts = collectTexts(exploration, 1 << 20)
    const comparison = comparisonDataset(['shop:1', 'shop:2'], stack(layers), stack(other), printableBytes)
    const dataset = { ...exploration.dataset, info: { ...exploration.dataset.info, texts } }
    const path = join(scratch, 'saved.html')
    writeFileSync(path, explorerHtml([dataset, comparison.dataset], { served: false }))
    const page = await open(t, browser, `file://${path}`, 'dark')
    await press(page, 'e', '5')
    await page.locator('.row', { hasText: 'package.json' }).click()
    await press(page, 'd')
    await page.waitForSelector('.diff .plus')
    await comes(t, text(page, '.diff .plus'), /1\.1\.0/, 'changed texts are in the page')
    t.ok((await contrast(page, '.row .label, .layer code, .chip, .counts span, .diff span')) >= 4.5, 'readable in dark')
    await shoot(page, 'dark')
    await page.click('text=Comparison')
    await becomes(t, () => rows(page), ['app', 'usr'], 'only what differs')
    await becomes(t, count(page, 'a[download]'), 0, 'no server, no downloads')
  })

  await t.test('150,000 files', async t => {
    const packages: Record<string, Item> = {}
    for (let p = 0; p < 1500; p++) {
      const files: Record<string, Item> = {}
      for (let i = 0; i < 100; i++) files[`file-${i}.txt`] = { mode: 0o100644, size: 1 + ((p * 31 + i * 17) % 5000) }
      packages[`package-${p}`] = dir(files)
    }
    const layers = [dir({ usr: dir(packages) }), dir({ usr: dir({ 'package-7': dir({ new: file('n') }) }) })].map(
      i => new MemoryLayer(i, true),
    )
    const path = join(scratch, 'large.html')
    writeFileSync(path, explorerHtml([explore(layers).dataset], { served: false }))
    const page = await open(t, browser, `file://${path}`)
    const ready = await page.evaluate(() => performance.now())
    t.comment(`interactive after ${Math.round(ready)} ms`)
    const start = Date.now()
    await press(page, 'e')
    t.comment(`all expanded in ${Date.now() - start} ms`)
    await comes(t, text(page, 'footer'), /151,50\d rows/)
    t.ok((await page.locator('.row').count()) < 100, 'only rows in sight are in the document')
    await press(page, 'End')
    await comes(t, text(page, '.row.selected .label'), /file-99\.txt/)
    await press(page, '/')
    await page.keyboard.type('package-7/new')
    await becomes(t, () => rows(page), ['usr', 'package-7', 'new'])
  })

  t.ok(
    shots.every((shot, i) => shot.length > 10_000 && shots.findIndex(other => other.equals(shot)) === i),
    'screenshots differ',
  )
})
