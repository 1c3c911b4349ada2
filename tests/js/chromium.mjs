// A headless Chromium.
import { readFileSync } from 'node:fs'
import { chromium } from 'playwright-core'
import { running, servePages } from './pages.mjs'

export const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync']

/** With `mdns` a page hides its addresses behind .local names, as it does for real users. */
export const argumentsFor = ({ mdns }) => mdns ? ARGUMENTS : [...ARGUMENTS, '--disable-features=WebRtcHideLocalIpsWithMdns']

/** Launches a browser that is served `files`, and whose pages are dark on demand. */
export async function launch ({ mdns, files, dark }) {
  const url = await servePages({ browser: 'chromium', executablePath, files })
  const before = children()
  const browser = await chromium.launch({ executablePath, headless: true, args: argumentsFor({ mdns }) })
  // Playwright does not tell its process; it is the one new child of this one, and leads a process group of its own.
  const pid = children().find(child => !before.includes(child))
  const newContext = () => browser.newContext({ colorScheme: dark ? 'dark' : 'light' })
  return running({ pid, url, newContext, close: () => browser.close() })
}

const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').map(Number)
