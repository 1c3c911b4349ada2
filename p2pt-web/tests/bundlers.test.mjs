// The package in a tiny application, built by each bundler without plug-ins and configuration, and by none: each meets the
// program `p2pt pipe`, and hears and says something.
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import * as esbuild from '../node_modules/esbuild/lib/main.js'
import { build as vite } from 'vite'
import webpack from 'webpack'
import { closeBrowser, dist, folder, openPage, serve, startPipe, startTracker } from './harness.mjs'

after(closeBrowser)

/** A folder with the application, and the package where npm would put it. */
function application (t) {
  const root = mkdtempSync(path.join(tmpdir(), 'p2pt-web-'))
  t.after(() => rmSync(root, { recursive: true }))
  mkdirSync(path.join(root, 'node_modules'))
  symlinkSync(path.join(folder, '..'), path.join(root, 'node_modules/p2pt-web'))
  cpSync(path.join(folder, 'app.mjs'), path.join(root, 'app.mjs'))
  writeFileSync(path.join(root, 'package.json'), '{"type":"module"}')
  writeFileSync(path.join(root, 'index.html'), '<!doctype html><link rel="icon" href="data:,"><body><script type="module" src="/app.mjs"></script>')
  return root
}

const pageFor = script => ({ '/': `<!doctype html><link rel="icon" href="data:,"><body>${script}` })

/** The application at a URL meets a native peer, which talks with it. */
async function works (t, url) {
  const tracker = await startTracker(t)
  const identifier = `bundled ${Math.random()}`
  const native = startPipe(t, identifier, tracker.url)
  const page = await openPage(t, `${url}/?${new URLSearchParams({ identifier, tracker: tracker.url })}`)
  const { peer, message } = await native.event('message')
  assert.equal(message, 'hello from the page')
  assert.equal(await page.evaluate(() => document.body.dataset.id), peer)
  native.command({ send: { peer, message: 'hello from the program', tag: 'a' } })
  assert.deepEqual((await native.event('response')).message, { heard: 'hello from the program' })
  assert.equal(await page.evaluate(() => document.body.dataset.said), 'hello from the program')
}

test('vite', async t => {
  const root = application(t)
  await vite({ root, logLevel: 'warn', configFile: false })
  await works(t, await serve(t, path.join(root, 'dist')))
})

test('webpack', async t => {
  const root = application(t)
  const stats = await new Promise((resolve, reject) => {
    webpack({ context: root, entry: './app.mjs', mode: 'production', output: { path: path.join(root, 'dist') } },
      (error, stats) => error ? reject(error) : resolve(stats))
  })
  assert.equal(stats.hasErrors(), false, stats.toString())
  await works(t, await serve(t, path.join(root, 'dist'), { texts: pageFor('<script src="main.js"></script>') }))
})

test('esbuild, with the WebAssembly copied beside its output', async t => {
  const root = application(t)
  await esbuild.build({ absWorkingDir: root, entryPoints: ['app.mjs'], bundle: true, format: 'esm', outdir: 'dist' })
  cpSync(path.join(dist, 'wasm/p2pt_web_wasm_bg.wasm'), path.join(root, 'dist/p2pt_web_wasm_bg.wasm'))
  const texts = pageFor('<script type="module" src="app.js"></script>')
  await works(t, await serve(t, path.join(root, 'dist'), { texts }))
})

test('esbuild, with the WebAssembly embedded', async t => {
  const root = application(t)
  const alias = { 'p2pt-web': 'p2pt-web/embedded' }
  await esbuild.build({ absWorkingDir: root, entryPoints: ['app.mjs'], bundle: true, format: 'esm', outdir: 'dist', alias })
  assert.deepEqual(readdirSync(path.join(root, 'dist')), ['app.js'])
  const texts = pageFor('<script type="module" src="app.js"></script>')
  await works(t, await serve(t, path.join(root, 'dist'), { texts }))
})

test('a plain URL, without a bundler', async t => {
  const root = application(t)
  const map = JSON.stringify({ imports: { 'p2pt-web': '/node_modules/p2pt-web/dist/index.js' } })
  const script = `<script type="importmap">${map}</script><script type="module" src="/app.mjs"></script>`
  await works(t, await serve(t, root, { texts: pageFor(script) }))
})

// What a page with a strict policy needs: its own scripts, WebAssembly, and the tracker.
const POLICY = "default-src 'none'; script-src 'self' SOURCES; connect-src 'self' ws://127.0.0.1:*; img-src data:"
const policy = sources => ({ 'content-security-policy': POLICY.replace('SOURCES', sources) })

test('a script tag, under a content security policy', async t => {
  const script = `const parameters = new URLSearchParams(location.search)
    const p2pt = new P2PT([parameters.get('tracker')], parameters.get('identifier'), { iceServers: [] })
    p2pt.on('peerconnect', peer => p2pt.send(peer, 'hello from the page'))
    p2pt.on('msg', (peer, said) => { document.body.dataset.said = said; peer.respond({ heard: said }) })
    p2pt.start().then(() => { document.body.dataset.id = p2pt._peerId })`
  const texts = { ...pageFor('<script src="p2pt.iife.js"></script><script src="page.js"></script>'), '/page.js': script }
  await works(t, await serve(t, dist, { texts, headers: policy("'wasm-unsafe-eval'") }))
})

test('a content security policy without wasm-unsafe-eval is an error that says so', async t => {
  const script = `const p2pt = new P2PT([], 'x')
    p2pt.start().catch(error => { document.body.dataset.error = error.code + ': ' + error.message })`
  const texts = { ...pageFor('<script src="p2pt.iife.js"></script><script src="page.js"></script>'), '/page.js': script }
  const page = await openPage(t, await serve(t, dist, { texts, headers: policy('') }), { mayFail: true })
  const error = await page.waitForFunction(() => document.body.dataset.error)
  assert.match(await error.jsonValue(), /^start_failed: .*(Content Security Policy|unsafe-eval)/s)
})
