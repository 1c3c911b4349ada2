// p2pt-web beside npm p2pt, in Node, each pair of a kind in turn: prints a table of medians for BENCHMARKS.md.
// node compare-node.mjs [rounds, 3] [further arguments of measure.mjs]      P2PT_BINARY names the program p2pt
// Needs the addon in release (p2pt-web/build-addon) and a machine that does nothing else.
import { spawn } from 'node:child_process'
import { loadavg } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { median } from './core.mjs'

const STACKS = { addon: 'p2pt-web', roamhq: 'npm p2pt, roamhq', ndc: 'npm p2pt, ndc' }
const ROWS = [
  // figure, name, digits, goal for the ratio to the best of npm p2pt; those where less is better
  ['connect_ms', 'connect, ms', 1, 20],
  ['rtt_us_p50', 'round trip, p50, µs', 0, 1.5],
  ['rtt_us_p99', 'round trip, p99, µs', 0],
  ['small_per_s', 'messages of 100 bytes, per s', 0],
  ['text_1mb_mb_s', 'texts of 1 MB, MB/s', 1, 2],
  ['text_16mb_mb_s', 'texts of 16 MB, MB/s', 1, 2],
  ['raw_mb_s', 'raw frames, MB/s', 1]
]
const isTime = figure => figure.includes('_ms') || figure.includes('_us')

const [rounds = '3', ...more] = process.argv.slice(2)
const script = name => fileURLToPath(new URL(name, import.meta.url))

/** Starts a program, and returns it and its first line for which `find` returns something. */
async function start (program, argv, find) {
  const child = spawn(program, argv, { stdio: ['pipe', 'pipe', 'inherit'] })
  for await (const line of createInterface({ input: child.stdout })) {
    const found = find(line)
    if (found !== undefined) {
      child.stdout.resume()
      return { child, found }
    }
  }
  throw new Error(`${program} ${argv.join(' ')} ended without what was awaited`)
}

const json = line => line.startsWith('{') ? JSON.parse(line) : undefined
const figures = Object.fromEntries(Object.keys(STACKS).map(stack => [stack, []]))
const loads = [loadavg()[0]]

const tracker = await start(process.env.P2PT_BINARY ?? 'p2pt', ['tracker', '--listen', '127.0.0.1:0'],
  line => /^listening on (\S+)/.exec(line)?.[1])
for (let round = 0; round < Number(rounds); round++) {
  for (const stack of Object.keys(STACKS)) {
    const identifier = `compare ${stack} ${round}`
    const partner = await start('node', [script('partner.mjs'), tracker.found, identifier, '--webrtc', stack], json)
    // ndc takes ten seconds for each connection.
    const connects = stack === 'ndc' ? ['--connects', '3'] : []
    const measured = await start('node',
      [script('measure.mjs'), tracker.found, identifier, '--webrtc', stack, ...connects, ...more], json)
    figures[stack].push(measured.found)
    partner.child.kill()
    loads.push(loadavg()[0])
    console.error(`round ${round + 1}, ${stack}:`, measured.found)
  }
}
tracker.child.kill()

function cell (figure, digits, stack) {
  const values = figures[stack].map(of => of[figure]).filter(value => value !== null)
  if (values.length === 0) return '–'
  const text = value => value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  return `${text(median(values))} (${text(Math.min(...values))}–${text(Math.max(...values))})`
}

function ratio (figure) {
  const of = stack => median(figures[stack].map(of => of[figure]).filter(value => value !== null))
  const others = [of('roamhq'), of('ndc')].filter(value => value !== null)
  if (of('addon') === null || others.length === 0) return undefined
  return isTime(figure) ? Math.min(...others) / of('addon') : of('addon') / Math.max(...others)
}

console.log(`| | ${Object.values(STACKS).join(' | ')} | to the best of npm p2pt | goal |`)
console.log(`|---|${'---|'.repeat(Object.keys(STACKS).length + 2)}`)
for (const [figure, name, digits, goal] of ROWS) {
  const times = ratio(figure)
  const cells = Object.keys(STACKS).map(stack => cell(figure, digits, stack))
  const reached = goal === undefined ? '' : `≥ ${goal} × ${times >= goal ? '✓' : '✗'}`
  console.log(`| ${name} | ${cells.join(' | ')} | ${times === undefined ? '' : `${times.toPrecision(3)} ×`} | ${reached} |`)
}
console.log(`\nNode ${process.version}, medians of ${rounds} rounds (least–most), load ${Math.min(...loads).toFixed(1)} to ${Math.max(...loads).toFixed(1)}.`)
process.exit(0)
