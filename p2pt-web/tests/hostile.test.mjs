// What peers that mean harm and programs that are careless can do to a page, in Chromium.
import assert from 'node:assert/strict'
import path from 'node:path'
import { after, test } from 'node:test'
import * as esbuild from '../node_modules/esbuild/lib/main.js'
import { closeBrowser, dist, folder, GUARD, openPage, serve, startTracker, within } from './harness.mjs'

after(closeBrowser)

const EXPECTED = {
  'odd messages': { heard: ['__proto__,constructor', 'the end'], ids: [], answered: [], admin: undefined, peers: 1 },
  nested: 'after it',
  flood: { answer: 'yes', among: true, waits: true },
  'inside handlers': ['going', 'peer_gone', 'peer_gone', 'peerclose', 0, 0],
  turns: ['last', true, 'last']
}

const bundle = await esbuild.build({
  entryPoints: [path.join(folder, 'hostile.page.mjs')],
  bundle: true,
  format: 'iife',
  write: false,
  alias: {
    'p2pt-web/embedded': path.join(dist, 'embedded.js'),
    p2pt: path.join(folder, '../../tests/js/node_modules/p2pt/src/p2pt.js')
  },
  nodePaths: [path.join(folder, '../../tests/js/node_modules')],
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
    const seen = await within(name, page.evaluate(([name, urls]) => window.run(name, urls), [name, { url, second }]))
    assert.deepEqual(seen, expected)
    assert.deepEqual(page.errors, [])
  })
}

test('what is over is collected, and its WebAssembly memory is used again', async t => {
  const base = await serve(t, folder, { texts })
  const { url } = await startTracker(t)
  const page = await openPage(t, base)
  const protocol = await page.context().newCDPSession(page)
  const alive = async (kind, count) => {
    await within(kind, page.evaluate(([url, kind, count]) => window.lives[kind](url, count), [url, kind, count]), 3 * GUARD)
    // What finalizers let go of is collected by the next one.
    for (let time = 0; time < 3; time++) await protocol.send('HeapProfiler.collectGarbage')
    return await page.evaluate(() => window.lives.alive())
  }
  const memory = () => page.evaluate(() => window.lives.memory())
  assert.equal(await alive('nodes', 50), 0)
  const before = await memory()
  assert.equal(await alive('nodes', 50), 0)
  assert.equal(await alive('pairs', 10), 0)
  assert.equal(await alive('swarms', 10), 0)
  assert.ok(await memory() < before + 512 * 1024, `${await memory()} bytes after ${before}`)
})
