// What nodes have that both speak p2pt/2, in Chromium and over the native addon in Node.
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import * as esbuild from '../node_modules/esbuild/lib/main.js'
import * as inNode from '../dist/in-node.js'
import { closeBrowser, dist, folder, openPage, serve, startTracker, within } from './harness.mjs'
import { EXPECTED, scenarios } from './session.scenarios.mjs'

after(closeBrowser)

const bundle = await esbuild.build({
  entryPoints: [path.join(folder, 'session.page.mjs')],
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

const native = path.join(folder, '../native')
const skip = existsSync(native) && readdirSync(native).length > 0 ? false : 'p2pt-web/build-addon has built none'
const all = scenarios(inNode)

for (const [name, expected] of Object.entries(EXPECTED)) {
  test(`${name}, in Chromium`, async t => {
    const base = await serve(t, folder, { texts })
    const { url } = await startTracker(t)
    const page = await openPage(t, base)
    assert.deepEqual(await within(name, page.evaluate(([name, url]) => window.run(name, url), [name, url])), expected)
  })
  test(`${name}, in Node`, { skip }, async t => {
    const { url } = await startTracker(t)
    assert.deepEqual(await within(name, all[name](url)), expected)
  })
}
