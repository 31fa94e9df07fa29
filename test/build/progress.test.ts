import t from 'tap'
import type { BuildEvent } from '../../lib/build/event.js'
import { failureOutput, plainProgress, plainText, Tails, ttyProgress } from '../../lib/build/progress.js'

const start = (step: number, time = 0): BuildEvent => ({
  type: 'start',
  step,
  stage: 'web',
  position: step,
  of: 3,
  text: `RUN step ${step}`,
  line: step + 1,
  time,
})
const output = (step: number, text: string, time = 0): BuildEvent => ({
  type: 'output',
  step,
  stream: 'stdout',
  data: Buffer.from(text),
  time,
})
const done = (step: number, cached: boolean, time: number): BuildEvent => ({
  type: 'done',
  step,
  cached,
  metadata: false,
  size: 1,
  layer: 'sha256:x',
  time,
})

function screen(columns = 60): { text: string; write(text: string): void; columns: number; rows: number } {
  return {
    text: '',
    columns,
    rows: 20,
    write(text) {
      this.text += text
    },
  }
}

t.test('plain: whole lines, times from the start of the step, cut multi-byte characters joined', async t => {
  const out = screen()
  const progress = plainProgress(out)
  const euro = Buffer.from('€')
  progress.event(start(1, 1000))
  progress.event(output(1, 'one\ntw', 1500))
  progress.event(output(1, 'o\r10%\r100%\nrest ', 1600))
  progress.event({ ...output(1, ''), data: euro.subarray(0, 1), time: 1700 } as BuildEvent)
  progress.event({ ...output(1, ''), data: euro.subarray(1), time: 1700 } as BuildEvent)
  progress.event(done(1, false, 3000))
  progress.event(start(2, 3000))
  progress.event(done(2, true, 3000))
  progress.end()
  t.equal(
    out.text,
    '#1 [web 1/3] RUN step 1\n#1 0.500 one\n#1 0.600 100%\n#1 rest €\n#1 DONE 2.0s\n#2 [web 2/3] RUN step 2\n#2 CACHED\n',
  )
})

t.test('a flood without a line end is shown in pieces as it comes', async t => {
  const out = screen()
  const progress = plainProgress(out)
  progress.event(start(1))
  const chunk = 'x'.repeat(10_000)
  for (let i = 0; i < 10; i++) progress.event(output(1, chunk))
  const shown = (): number => out.text.split('x').length - 1
  t.ok(shown() >= 80_000, `${shown()} of 100,000 before its end`)
  progress.event(done(1, false, 1))
  t.equal(shown(), 100_000)
})

t.test('no control character of a command reaches the terminal', async t => {
  t.equal(plainText('a\x1b[31mred\x1b[0m\x07\x1b]0;title\x07b\tc\x9b'), 'aredb\tc')
  const out = screen()
  const progress = plainProgress(out)
  progress.event(start(1))
  progress.event(output(1, '\x1b[2Jgone\n'))
  t.match(out.text, /#1 0\.000 gone\n$/)
})

t.test('tty: finished steps stay, running ones show their last lines, no line is wider than the screen', async t => {
  const out = screen(40)
  let now = 0
  const progress = ttyProgress(out, () => now)
  progress.event(start(1))
  progress.event(output(1, Array.from({ length: 9 }, (_, i) => `line ${i} ${'x'.repeat(60)}`).join('\n') + '\n'))
  now = 2500
  for (let i = 0; i < 3000 && !out.text.includes('line 8'); i++) await new Promise(resolve => setTimeout(resolve, 20))
  t.match(out.text, /▸ \[web 1\/3\] RUN step 1 +2\.5s\n {2}line 3 x+…\n/)
  t.notMatch(out.text, /line 2 /, 'only the last ones')
  progress.event(done(1, false, 2600))
  progress.event(start(2, 2600))
  progress.event({ type: 'failed', step: 2, message: 'no', time: 2700 })
  progress.end()
  t.match(out.text, /✓ \[web 1\/3\] RUN step 1 +2\.6s\n✗ \[web 2\/3\] RUN step 2 +0\.1s\n$/)
  // eslint-disable-next-line no-control-regex
  const lines = out.text.replace(/\x1b\[\d*[AJ]/g, '').split('\n')
  t.ok(
    lines.every(line => line.length < 40),
    'it fits',
  )
})

t.test('the failing step is shown once more with its last lines; one that was stopped for it is not', async t => {
  const tails = new Tails(3)
  for (const event of [start(1), start(2), output(1, 'a\nb\nc\nd\nlast'), output(2, 'other\n')]) tails.event(event)
  t.equal(failureOutput(tails), '')
  tails.event({ type: 'failed', step: 1, message: 'exit code 1', time: 1 })
  tails.event({ type: 'failed', step: 2, message: 'interrupted', time: 2 })
  t.equal(failureOutput(tails), '------\n > [web 1/3] RUN step 1:\nc\nd\nlast\n------\n')
})
