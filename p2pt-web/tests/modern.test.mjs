// The modern API, and what the class does beyond npm's p2pt, in Chromium.
import assert from 'node:assert/strict'
import path from 'node:path'
import { after, test } from 'node:test'
import * as esbuild from '../node_modules/esbuild/lib/main.js'
import { closeBrowser, dist, folder, GUARD, openPage, serve, startTracker, within } from './harness.mjs'

after(closeBrowser)

const EXPECTED = {
  requests: {
    response: { degrees: 5 },
    parsed: 10,
    notParsed: 'RangeError',
    late: 'request_timeout',
    aborted: 'AbortError',
    chain: [{ chain: 2 }, 'the end'],
    gone: 'peer_gone',
    ended: 'nothing'
  },
  streams: {
    heard: ['a', { b: 1 }, 'stop'],
    frames: [['text ✓', true, true], [[2, 0], false, true], [[9], false, true]],
    broadcast: { to: 'all' },
    same: true,
    idle: 'TimeoutError'
  },
  errors: {
    option: 'invalid_option',
    unknown: 'invalid_option',
    tracker: 'invalid_announce_url',
    id: 'invalid_id',
    again: 'already_joined',
    hash: 'invalid_id',
    url: 'invalid_announce_url',
    ban: 'invalid_id',
    wait: 'TimeoutError',
    start: 'AbortError',
    identifier: 'alone',
    stopped: 'stopped',
    left: 'stopped'
  },
  statistics: {
    sent: true,
    candidates: 'string',
    connected: 1,
    total: 1,
    status: 'connected',
    announced: true,
    metrics: 1,
    count: 1,
    disposes: 'function'
  },
  trust: {
    keys: [true, true],
    first: 'first_use',
    codes: true,
    changes: [{ type: 'trustChanged', was: 'first_use', now: { level: 'pinned', name: 'bob' } }],
    kept: true,
    other: 'changed',
    again: 'already_pinned',
    wrong: 'invalid_key',
    after: { level: 'pinned', name: 'bob' }
  },
  policies: { unsigned: 'unsigned', wrong: 'wrong_key', friend: true, both: 'invalid_option' },
  rooms: { passphrase: true, link: true, short: 'invalid_secret', alone: 'invalid_secret' },
  codes: { keys: true, guess: ['wrong_code', 2], none: 'no_key' },
  'back-pressure': { all: true, most: true, left: 0 },
  'a hundred thousand unawaited': { buffered: true, left: 0, low: 1, state: 'closed' },
  'late responses': {
    answers: ['a!', 'b!', 'c!'],
    notSent: ['invalid_json', 'invalid_json'],
    odd: ['!', '7!', 'true!'],
    gone: 'peer_gone'
  },
  'any order': {
    none: { connected: 0, total: 0 },
    asked: {},
    reached: true,
    // SHA-1 of `later`.
    hash: '3f14ecc8cc777b55f1f51ad82992e4c80a4b4c8f',
    stats: { connected: 1, total: 1 },
    identifiers: ['even later', 'even later'],
    after: [0, true],
    warned: true
  }
}

const bundle = await esbuild.build({
  entryPoints: [path.join(folder, 'modern.page.mjs')],
  bundle: true,
  format: 'iife',
  write: false,
  alias: { 'p2pt-web/embedded': path.join(dist, 'embedded.js') },
  logOverride: { 'empty-import-meta': 'silent' }
})
const texts = {
  '/': '<!doctype html><link rel="icon" href="data:,"><script src="page.js"></script>',
  '/page.js': bundle.outputFiles[0].text
}

for (const [name, expected] of Object.entries(EXPECTED)) {
  test(name, async t => {
    const base = await serve(t, folder, { texts })
    const [{ url }, { url: second }] = [await startTracker(t), await startTracker(t)]
    const page = await openPage(t, base)
    assert.ok(await page.evaluate(name => window.names.includes(name), name))
    const run = page.evaluate(([name, urls]) => window.run(name, urls), [name, { url, second }])
    // A hundred thousand messages take 30 s where several suites share two cores.
    const seen = await within(name, run, 3 * GUARD)
    assert.deepEqual(seen, expected)
  })
}
