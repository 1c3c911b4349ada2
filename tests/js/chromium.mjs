// A headless Chromium.
import { readFileSync } from 'node:fs'
import { chromium } from 'playwright-core'
import { servePages } from './pages.mjs'

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync']

/**
 * Launches a browser whose pages run the script `bundle`, which lies beside this file; with `mdns` a page hides its
 * addresses behind .local names, as it does for real users.
 */
export async function launch ({ mdns, bundle }) {
  const url = await servePages({ browser: 'chromium', executablePath, bundle })
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
      await page.goto(url)
      return page
    },
    /** Whoever asks, resolves when it has ended and left nothing behind. */
    close: () => (closed ??= browser.close())
  }
}
