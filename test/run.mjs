// Runs the built tests (dist/test/**/*.test.js) and says how they went; the last line is `N passed, N failed`.
//
//   node test/run.mjs [--long] [--jobs N] [--once] [PART OF A PATH...]
//
// Every test file is a process of its own that prints TAP. Files run two at a time, those named *.serial.test.ts alone
// afterwards; with --long also *.long.ts. Each file gets its own scratch directory as TMPDIR, and LAMINA_ROOT and
// LAMINA_RUN inside it, so nothing meets the machine's store or another run. A file that does not end in time is ended.
// What a file leaves behind (process, mount, cgroup, network interface) is a failure of that file.
// Counted are assertions; a file that crashes, times out, asserts nothing or leaves something behind counts as one more failed.
//
// The few files that failed beside others run once more, alone, when all are done, and that second result is the one that
// is counted; both are printed, and the summary names every file whose two results differ. A failure that comes back is
// the code's. One that does not come back needed company (a starved machine, a port or a limit that another took): worth
// a look, but no reason to call the code wrong. What was left behind is a fact and what hung is a hang: neither is
// forgiven, nor are many failures at once, which no company explains. `--once` does without.
import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs'
import { availableParallelism, constants, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Parser } from 'tap-parser'
import { machineState, removeLeftovers, removeScratch } from './leftovers.mjs'

const { values: options, positionals: filters } = parseArgs({
  options: { long: { type: 'boolean' }, jobs: { type: 'string' }, once: { type: 'boolean' } },
  allowPositionals: true,
})

const runId = `${process.pid}-${Date.now().toString(36)}`
const scratch = mkdtempSync(join(tmpdir(), 'lamina-test-'))
// Tests act as other users too: they must be able to pass, and to write where /tmp would let them.
chmodSync(scratch, 0o755)
const fixtures = resolve('.tap/fixtures')
// Far more than a file takes on a machine with nothing else to do: the limit is there for what hangs.
const limitSeconds = file => (file.endsWith('.long.js') ? 3600 : 900)
/** More failed files than this are no accident, and are not run again. */
const FORGIVABLE = 3

const files = readdirSync('dist/test', { recursive: true, withFileTypes: true })
  .filter(e => e.isFile() && (e.name.endsWith('.test.js') || (options.long && e.name.endsWith('.long.js'))))
  .map(e => join(e.parentPath, e.name))
  .filter(file => filters.length === 0 || filters.some(f => sourceOf(file).includes(f)))
  .sort()
const alone = file => /\.serial\.(test|long)\.js$/.test(file)

const running = new Set()
let stopping = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => {
    stopping = true
    for (const child of running) endGroup(child, 'SIGTERM')
  })

const before = machineState()
const outcomes = []
await inParallel(
  files.filter(file => !alone(file)),
  Number(options.jobs ?? Math.min(2, availableParallelism())),
)
await inParallel(files.filter(alone), 1)
const again = outcomes.filter(o => o.fail > 0)
const second = !options.once && again.length <= FORGIVABLE && again.every(o => !o.final) ? again : []
if (second.length > 0 && outcomes.length > 1 && !stopping) {
  console.log('\nfailed beside others; once more, alone:')
  const first = outcomes.splice(0).filter(o => !second.includes(o))
  await inParallel(
    second.map(o => o.file),
    1,
  )
  outcomes.push(...first)
}
report()

async function inParallel(queue, jobs) {
  const pending = [...queue]
  const worker = async () => {
    for (let file = pending.shift(); file !== undefined && !stopping; file = pending.shift()) {
      const outcome = await runFile(file, outcomes.length)
      outcomes.push(outcome)
      console.log(lineFor(outcome))
      for (const failure of outcome.failures) console.log(indent(failure))
    }
  }
  await Promise.all(Array.from({ length: jobs }, worker))
}

/** Runs one file to its end and cleans up behind it. */
async function runFile(file, number) {
  const id = `${runId}-${number}-${Math.random().toString(36).slice(2, 6)}`
  const own = join(scratch, String(number) + id.slice(-2))
  mkdirSync(join(own, 'tmp'), { recursive: true })
  chmodSync(join(own, 'tmp'), 0o1777)
  const env = {
    ...process.env,
    LAMINA_TEST_RUN: id,
    TMPDIR: join(own, 'tmp'),
    LAMINA_ROOT: join(own, 'store'),
    LAMINA_RUN: join(own, 'run'),
    TAP: '1',
    // tap ends a file after 30 s unless it is told otherwise; the limit that counts is ours.
    TAP_TIMEOUT: String(limitSeconds(file)),
    NO_COLOR: '1',
  }
  const started = performance.now()
  const child = spawn(process.execPath, [file], { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  const failures = []
  const skips = []
  const counts = { pass: 0, fail: 0 }
  let stderr = ''
  child.stderr.on('data', data => (stderr = (stderr + data).slice(-20_000)))
  const parser = new Parser()
  listen(parser, counts, failures, skips)
  child.stdout.on('data', data => parser.write(data))

  let late = false
  const timer = setTimeout(
    () => {
      late = true
      endGroup(child, 'SIGTERM')
      setTimeout(() => endGroup(child, 'SIGKILL'), 5000).unref()
    },
    limitSeconds(file) * 1000,
  )
  const [code, signal] = await ended(child)
  clearTimeout(timer)
  running.delete(child)
  parser.end()
  const results = parser.results
  if (late) failures.push(`did not end within ${limitSeconds(file)} s`)
  else if (signal !== null) failures.push(`ended by ${signal}`)
  else if (code !== 0 && counts.fail === 0) failures.push(`exit code ${code}`)
  else if (counts.pass + counts.fail + skips.length === 0) failures.push('asserts nothing')
  else if (results?.ok !== true && counts.fail === 0) failures.push('incomplete or wrong TAP')
  const left = await removeLeftovers(id, own, child.pid)
  failures.push(...left.map(what => `left behind: ${what}`))
  removeScratch(own)
  if (failures.length > 0 && stderr.trim() !== '')
    failures.push(`stderr: ${stderr.trim().split('\n').slice(-40).join('\n')}`)
  const broken = failures.length > 0 && counts.fail === 0 ? 1 : 0
  const seconds = (performance.now() - started) / 1000
  return { file, ...counts, fail: counts.fail + broken, final: late || left.length > 0, failures, skips, seconds }
}

/** Counts the assertions of a TAP stream, at whatever depth; the line that closes a subtest is not one. */
function listen(parser, counts, failures, skips) {
  parser.on('child', child => listen(child, counts, failures, skips))
  parser.on('bailout', reason => failures.push(`bailed out: ${reason}`))
  parser.on('assert', result => {
    if (result.closingTestPoint) return
    if (result.skip) skips.push(`${result.fullname}: ${result.skip === true ? 'no reason given' : result.skip}`)
    else if (result.todo) skips.push(`${result.fullname}: to do${result.todo === true ? '' : `, ${result.todo}`}`)
    else if (result.ok) counts.pass++
    else {
      counts.fail++
      failures.push(`not ok: ${result.fullname}\n${details(result.diag)}`)
    }
  })
  parser.on('plan', plan => {
    if (plan.start === 1 && plan.end === 0 && plan.comment && plan.comment !== 'no tests found')
      skips.push(`${parser.fullname || 'whole file'}: ${plan.comment}`)
  })
}

function details(diag) {
  if (diag === null || typeof diag !== 'object') return ''
  const { source: _source, ...rest } = diag
  return Object.entries(rest)
    .map(([key, value]) => `${key}: ${typeof value === 'string' ? value.trimEnd() : JSON.stringify(value)}`)
    .join('\n')
}

function report() {
  const after = machineState()
  const sum = key => outcomes.reduce((total, o) => total + o[key], 0)
  const failedFiles = outcomes.filter(o => o.fail > 0)
  let failed = sum('fail')
  const left = after.mounts.filter(
    m => !before.mounts.includes(m) && (m.startsWith(`${fixtures}/`) || m.startsWith(`${scratch}/`)),
  )
  if (left.length > 0) console.log(`\nFAILED: after the run there is still ${left.join(', ')}`)
  failed += left.length
  // Whose they are is not known: other work on the same machine makes cgroups and interfaces too.
  const objects = after.objects.filter(o => !before.objects.includes(o))
  if (objects.length > 0) console.log(`\nnote: of others, or unknown: ${objects.slice(0, 5).join(', ')}`)
  removeScratch(scratch)
  const skips = outcomes.flatMap(o => o.skips.map(s => `${sourceOf(o.file)} > ${s}`))
  if (skips.length > 0) console.log(`\n${skips.length} skipped:\n${skips.map(s => `  ${s}`).join('\n')}`)
  const forgiven = second.filter(o => !failedFiles.some(f => f.file === o.file)).map(o => sourceOf(o.file))
  if (forgiven.length > 0 && !stopping)
    console.log(`\nfailed beside others, passed alone (look into it):\n${forgiven.map(f => `  ${f}`).join('\n')}`)
  if (failedFiles.length > 0) console.log(`\nfailed:\n${failedFiles.map(o => `  ${sourceOf(o.file)}`).join('\n')}`)
  if (files.length === 0) console.log('no test file matches')
  if (stopping) console.log('stopped before the end')
  console.log(`\n${sum('pass')} passed, ${failed} failed`)
  process.exitCode = failed > 0 || stopping || files.length === 0 ? 1 : 0
}

function lineFor(o) {
  const skipped = o.skips.length > 0 ? `, ${o.skips.length} skipped` : ''
  const verdict = o.fail > 0 ? `FAILED ${o.fail} of ${o.pass + o.fail}` : `${o.pass} passed${skipped}`
  return `${o.fail > 0 ? 'not ok' : '    ok'} ${o.seconds.toFixed(1).padStart(6)} s  ${sourceOf(o.file)}: ${verdict}`
}

function sourceOf(file) {
  return file.replace(/^dist\//, '').replace(/\.js$/, '.ts')
}

function indent(text) {
  return text.replace(/^/gm, '           ')
}

function ended(child) {
  return new Promise(done => {
    child.on('error', error => done([`could not start: ${error.message}`, null]))
    let status
    child.on('exit', (code, signal) => {
      status = [code, signal]
      // A process that outlives the test may hold its stdout open for ever: wait only as long as something comes. What
      // came while this process was held up is read between timer and immediate.
      let came = false
      for (const stream of [child.stdout, child.stderr]) stream.on('data', () => (came = true))
      const quiet = setInterval(() => {
        setImmediate(() => {
          if (!came) for (const stream of [child.stdout, child.stderr]) stream.destroy()
          came = false
        })
      }, 2000)
      child.on('close', () => clearInterval(quiet))
    })
    child.on('close', (code, signal) => done(status ?? [code, signal]))
  })
}

function endGroup(child, signal) {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, constants.signals[signal])
  } catch {
    // The group has ended in the meantime.
  }
}
