// The command line shared by partner.mjs and measure.mjs; the names are those of `p2pt bench`.
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    webrtc: { type: 'string', default: 'ndc' }, // ndc (what p2pt ships with), roamhq; chromium, wasm: pages; addon: p2pt-web in p2pt's place
    mdns: { type: 'boolean', default: false }, // pages: .local names instead of plain addresses
    only: { type: 'string', multiple: true, default: [] }, // connect, rtt, small, text, raw, reverse; all unless given
    connects: { type: 'string', default: '15' },
    'round-trips': { type: 'string', default: '2000' },
    messages: { type: 'string', default: '20000' },
    texts: { type: 'string', default: '20' },
    megabytes: { type: 'string', default: '200' },
    deadline: { type: 'string', default: '120' }, // seconds, for each step
    reverse: { type: 'boolean', default: false },
    memory: { type: 'boolean', default: false }, // measure.mjs, pages: also what a connected peer takes
    'with-partner': { type: 'boolean', default: false } // measure.mjs, pages: a second page is the partner
  }
})
const stacks = ['ndc', 'roamhq', 'chromium', 'wasm', 'addon']
// The pages: npm p2pt, and the Rust library.
const bundles = { chromium: 'bench', wasm: 'bench-wasm' }
if (positionals.length !== 2) throw new Error('expected the URL of a tracker and an identifier')
if (!stacks.includes(values.webrtc)) throw new Error(`--webrtc is one of ${stacks.join(', ')}`)

const [tracker, identifier] = positionals
export const stack = values.webrtc
export const bundle = bundles[stack]
export const name = bundle ? stack : `node-${stack}`
export const mdns = values.mdns
export const memory = values.memory
export const withPartner = values['with-partner']

export const options = {
  tracker,
  identifier,
  only: values.only.flatMap(tests => tests.split(',')),
  connects: Number(values.connects),
  roundTrips: Number(values['round-trips']),
  messages: Number(values.messages),
  texts: Number(values.texts),
  megabytes: Number(values.megabytes),
  deadlineMs: Number(values.deadline) * 1000,
  reverse: values.reverse
}
