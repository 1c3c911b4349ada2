// A headless Chromium, and a server on loopback for the pages in it.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { chromium } from 'playwright-core'

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync']

/**
 * Launches a browser whose pages run the script `bundle`, which lies beside this file; with `mdns` a page hides its
 * addresses behind .local names, as it does for real users.
 */
export async function launch ({ mdns, bundle }) {
  const script = new URL(bundle, import.meta.url)
  if (!existsSync(executablePath)) throw new Error(`no Chromium at ${executablePath}: install it or set CHROMIUM`)
  if (!existsSync(script)) throw new Error(`${bundle} is missing: run setup.sh`)

  // Chromium leaves files behind when it is killed.
  const temporary = mkdtempSync(path.join(tmpdir(), 'p2pt-chromium-'))
  process.env.TMPDIR = temporary
  process.on('exit', () => rmSync(temporary, { recursive: true, force: true, maxRetries: 5 }))

  const server = http.createServer((request, response) => {
    // A page that is isolated from others has a clock of microseconds.
    response.setHeader('cross-origin-opener-policy', 'same-origin')
    response.setHeader('cross-origin-embedder-policy', 'require-corp')
    const isScript = request.url === '/page.js'
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html')
    response.end(isScript ? readFileSync(script) : '<!doctype html><title>p2pt</title><script src="/page.js"></script>')
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))

  const args = mdns ? ARGUMENTS : [...ARGUMENTS, '--disable-features=WebRtcHideLocalIpsWithMdns']
  const browser = await chromium.launch({ executablePath, headless: true, args })
  // Playwright does not tell its process; it is the one child of this one, and leads a process group of its own.
  const [pid] = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').map(Number)

  let closed
  return {
    pid,
    /** Opens a page that knows these functions, in a context of its own, so that no two share a process. */
    async open (functions) {
      const page = await (await browser.newContext()).newPage()
      page.on('pageerror', error => console.error(`page: ${error.stack}`))
      page.on('console', message => console.error(`page: ${message.text()}`))
      for (const [name, call] of Object.entries(functions)) await page.exposeFunction(name, call)
      await page.goto(`http://127.0.0.1:${server.address().port}/`)
      return page
    },
    /** Whoever asks, resolves when it has ended and left nothing behind. */
    close: () => (closed ??= browser.close())
  }
}
