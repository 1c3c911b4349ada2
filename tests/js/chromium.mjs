// A headless Chromium.
import { readFileSync } from 'node:fs'
import { chromium } from 'playwright-core'
import { running, servePages } from './pages.mjs'

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
  return running({ pid, url, newContext: () => browser.newContext(), close: () => browser.close(), freeze })
}

/** Stops a page for so many milliseconds: no timer, no event, no promise of its runs. */
async function freeze (page, milliseconds) {
  const session = await page.context().newCDPSession(page)
  await session.send('Page.setWebLifecycleState', { state: 'frozen' })
  await new Promise(resolve => setTimeout(resolve, milliseconds))
  await session.send('Page.setWebLifecycleState', { state: 'active' })
  await session.detach()
}
