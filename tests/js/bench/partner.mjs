// The partner of those who measure.
// node partner.mjs <tracker URL> <identifier> [--webrtc ndc|roamhq|chromium|wasm] [--mdns]
// Prints {"event":"ready","name":NAME} when the tracker knows it, and serves until its input ends or it is stopped.
import { bundle, mdns, name, options } from './arguments.mjs'
import { serve } from './core.mjs'
import { endWithParent, loadP2PT, platform } from './node.mjs'

const ready = () => process.stdout.write(JSON.stringify({ event: 'ready', name }) + '\n')

if (bundle) {
  const { openBrowser } = await import('./browser.mjs')
  const browser = await openBrowser({ mdns, bundle })
  endWithParent(() => browser.close().finally(() => process.exit(0)))
  await browser.serve({ ...options, name })
  ready()
} else {
  endWithParent(() => process.exit(0))
  await serve(await loadP2PT(), { ...options, ...platform, name, ready })
}
