// A headless Firefox, driven over WebDriver BiDi.
import puppeteer from 'puppeteer-core'
import { servePages } from './pages.mjs'

const executablePath = process.env.FIREFOX ?? '/usr/bin/firefox-esr'

/** As that of chromium.mjs. */
export async function launch ({ mdns, bundle }) {
  const url = await servePages({ browser: 'firefox', executablePath, bundle })
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath,
    headless: true,
    extraPrefsFirefox: {
      'media.peerconnection.ice.obfuscate_host_addresses': mdns,
      // Nothing is fetched that a test does not ask for.
      'app.update.disabledForTesting': true,
      'network.connectivity-service.enabled': false
    }
  })

  let closed
  return {
    pid: browser.process().pid,
    async open (functions) {
      const page = await (await browser.createBrowserContext()).newPage()
      page.on('pageerror', error => console.error(`page: ${error.stack}`))
      page.on('console', message => console.error(`page: ${message.text()}`))
      for (const [name, call] of Object.entries(functions)) await page.exposeFunction(name, call)
      await page.goto(url)
      return page
    },
    close: () => (closed ??= browser.close())
  }
}
