// The scenarios of npm's p2pt, with it and with this package in its place: only the import differs.
import assert from 'node:assert/strict'
import path from 'node:path'
import { after, test } from 'node:test'
import * as esbuild from '../node_modules/esbuild/lib/main.js'
import { closeBrowser, dist, folder, openPage, serve, startTracker, within } from './harness.mjs'

after(closeBrowser)

const EXPECTED = {
  text: { message: 'hello', isFromOne: true },
  chain: ['one', 'two', 'three', 'four', 'five', 'six'],
  'tracker reached': { isIt: true, stats: { connected: 1, total: 1 }, asked: { connected: 1, total: 1 } },
  'tracker missing': { names: true, stats: { connected: 0, total: 1 } },
  'tracker added': { met: true, twice: true, total: 2 },
  'tracker removed': { message: 'still here', twice: true },
  'two trackers': { seen: ['one connect', 'other connect'], echoed: { a: 1 }, channels: true, left: 0 },
  large: { arrived: true, came: true },
  board: { state: [{ from: [0, 0], to: [1, 1], colour: '#000' }], inOrder: true },
  frames: { frame: [1, 2, 255], same: true, view: true },
  leaving: { isIt: true, left: 0 }
}

const LIBRARIES = {
  'p2pt-web': path.join(dist, 'embedded.js'),
  // That the scenarios are npm p2pt's own: it passes them too.
  'npm p2pt': path.join(folder, '../../tests/js/node_modules/p2pt/src/p2pt.js')
}

// What npm's p2pt fails of its own: it throws about timers of a tracker that was removed or destroyed, or files one that
// was added in a place where it does not find it.
const NPM_FAILS = new Set(['tracker added', 'tracker removed', 'two trackers'])

for (const [library, file] of Object.entries(LIBRARIES)) {
  test(library, async t => {
    const bundle = await esbuild.build({
      entryPoints: [path.join(folder, 'scenarios.mjs')],
      bundle: true,
      format: 'iife',
      write: false,
      alias: { p2pt: file },
      nodePaths: [path.join(folder, '../../tests/js/node_modules')],
      logOverride: { 'empty-import-meta': 'silent' }
    })
    const texts = { '/': '<!doctype html><link rel="icon" href="data:,"><script src="page.js"></script>', '/page.js': bundle.outputFiles[0].text }
    const base = await serve(t, folder, { texts })
    const [{ url }, { url: second }, missing] = [await startTracker(t), await startTracker(t), 'ws://127.0.0.1:404']
    for (const [name, expected] of Object.entries(EXPECTED)) {
      if (library === 'npm p2pt' && NPM_FAILS.has(name)) continue
      await t.test(name, async t => {
        // A page that fails to reach a tracker says so in the console.
        const page = await openPage(t, base, { mayFail: name === 'tracker missing' })
        // npm's p2pt shares a socket among instances that have the same URL, unless it is written another way.
        const urls = { url, again: `${url}/`, second, missing }
        const seen = await within(name, page.evaluate(([name, urls]) => window.run(name, urls), [name, urls]))
        assert.deepEqual(seen, expected)
      })
    }
  })
}

test('every scenario is run', async t => {
  const { readFile } = await import('node:fs/promises')
  const source = await readFile(path.join(folder, 'scenarios.mjs'), 'utf8')
  const names = [...source.matchAll(/^ {2}(?:'([^']+)'|(\w+)): \(identifier/gm)].map(([, quoted, plain]) => quoted ?? plain)
  assert.deepEqual(names.sort(), Object.keys(EXPECTED).sort())
})
