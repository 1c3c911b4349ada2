// npm p2pt in headless Chromium.  node browser.mjs <identifier> [--tracker URL]… [--no-mdns] [--first-id N]
// One command more than peer.mjs: {"crash":true} kills the browser, as a crash would.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { chromium } from 'playwright-core'
import { options } from './arguments.mjs'
import { readLines } from './stdio.mjs'

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
const bundle = new URL('./page.iife.js', import.meta.url)
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync']
// By default a page hides its addresses behind .local names, as it does for real users.
if (!options.mdns) args.push('--disable-features=WebRtcHideLocalIpsWithMdns')

if (!existsSync(executablePath)) throw new Error(`no Chromium at ${executablePath}: install it or set CHROMIUM`)
if (!existsSync(bundle)) throw new Error('page.iife.js is missing: run setup.sh')

// Chromium leaves files behind when it is killed.
const temporary = mkdtempSync(path.join(tmpdir(), 'p2pt-chromium-'))
process.env.TMPDIR = temporary
process.on('exit', () => rmSync(temporary, { recursive: true, force: true, maxRetries: 5 }))

const server = http.createServer((request, response) => {
  const script = request.url === '/page.js'
  response.setHeader('content-type', script ? 'text/javascript' : 'text/html')
  response.end(script ? readFileSync(bundle) : '<!doctype html><title>p2pt</title><script src="/page.js"></script>')
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))

const browser = await chromium.launch({ executablePath, headless: true, args })
// Playwright does not tell its process; it is the one child of this one, and leads a process group of its own.
const [browserPid] = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').map(Number)
const page = await browser.newPage()
page.on('pageerror', error => console.error(`page: ${error.stack}`))
page.on('console', message => console.error(`page: ${message.text()}`))

let ending = false
async function end () {
  ending = true
  await browser.close()
  process.exit(0)
}
await page.exposeFunction('emitLine', line => { process.stdout.write(line + '\n') })
await page.exposeFunction('stopped', () => { setImmediate(end) })
await page.goto(`http://127.0.0.1:${server.address().port}/`)
await page.evaluate(options => window.start(options), options)

async function command (line) {
  if (ending) return
  if (line === '{"crash":true}') {
    process.kill(-browserPid, 'SIGKILL')
    process.exit(1)
  }
  try {
    await page.evaluate(line => window.command(line), line)
  } catch (error) {
    if (!ending) throw error
  }
}
readLines(command, () => command('{"stop":true}'))
