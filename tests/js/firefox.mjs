// A headless Firefox, driven over WebDriver BiDi.
import puppeteer from 'puppeteer-core'
import { running, servePages } from './pages.mjs'

const executablePath = process.env.FIREFOX ?? '/usr/bin/firefox-esr'

/** As that of chromium.mjs. */
export async function launch ({ mdns, files, dark }) {
  const url = await servePages({ browser: 'firefox', executablePath, files })
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath,
    headless: true,
    extraPrefsFirefox: {
      'media.peerconnection.ice.obfuscate_host_addresses': mdns,
      'layout.css.prefers-color-scheme.content-override': dark ? 0 : 1,
      // Nothing is fetched that a test does not ask for.
      'app.update.disabledForTesting': true,
      'network.connectivity-service.enabled': false
    }
  })
  return running({ pid: browser.process().pid, url, newContext: () => browser.createBrowserContext(), close: () => browser.close() })
}
