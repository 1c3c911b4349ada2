// A headless Chromium whose pages are tabs of one window, so that one of them can be hidden behind another. Playwright
// keeps every page visible, and Chromium freezes none that is.
import puppeteer from 'puppeteer-core'
import { argumentsFor, executablePath } from './chromium.mjs'
import { running, servePages } from './pages.mjs'

/** Launches a browser as chromium.mjs does, but for dark pages. */
export async function launch ({ mdns, files }) {
  const url = await servePages({ browser: 'chromium', executablePath, files })
  const browser = await puppeteer.launch({ executablePath, headless: true, args: argumentsFor({ mdns }) })
  return running({ pid: browser.process().pid, url, newContext: () => browser, close: () => browser.close(), freeze, hide })
}

const wait = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds))

/** Puts another tab before a page for as long as `meanwhile` takes. */
async function behind (page, meanwhile) {
  const other = await page.browser().newPage()
  await other.bringToFront()
  if (await page.evaluate(() => document.visibilityState) !== 'hidden') throw new Error('the page is not hidden')
  await meanwhile()
  await page.bringToFront()
  await other.close()
}

/** Hides a page for so many milliseconds, and says when it is hidden and when it is visible again. */
async function hide (page, milliseconds, emit) {
  await behind(page, () => {
    emit({ event: 'hidden' })
    return wait(milliseconds)
  })
  emit({ event: 'visible' })
}

/**
 * Stops a hidden page for so many milliseconds: no timer, no event, no promise of its runs. Says when it stands still.
 * Chromium freezes no page that is visible.
 */
function freeze (page, milliseconds, emit) {
  return behind(page, async () => {
    const session = await page.createCDPSession()
    await session.send('Page.setWebLifecycleState', { state: 'frozen' })
    emit({ event: 'frozen' })
    await wait(milliseconds)
    await session.send('Page.setWebLifecycleState', { state: 'active' })
    await session.detach()
  })
}
