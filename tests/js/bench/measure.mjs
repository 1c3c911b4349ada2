// The measurer.  node measure.mjs <tracker URL> <identifier> [--webrtc ndc|roamhq|chromium|wasm] [--connects 15] …
// Needs a partner that is there, of any kind; prints the figures as one JSON object, those of `p2pt bench --json`.
import { bundle, mdns, memory, name, options, withPartner } from './arguments.mjs'
import { measure } from './core.mjs'
import { endWithParent, loadP2PT, platform, printAndExit } from './node.mjs'

if (bundle) {
  const { openBrowser } = await import('./browser.mjs')
  const browser = await openBrowser({ mdns, bundle })
  const giveUp = () => browser.close().finally(() => process.exit(1))
  endWithParent(giveUp)
  try {
    if (withPartner) await browser.serve({ ...options, name })
    const figures = await browser.measure({ ...options, partnerShares: withPartner })
    await browser.close()
    if (memory) {
      const { memoryOfPeer } = await import('./memory.mjs')
      figures.rss_kb_per_peer = await memoryOfPeer({ mdns, bundle, options })
    }
    printAndExit(figures)
  } catch (error) {
    console.error(error.stack)
    giveUp()
  }
} else {
  endWithParent(() => process.exit(1))
  printAndExit(await measure(await loadP2PT(), { ...options, ...platform }))
}
