// The partner of those who measure.
// node partner.mjs <tracker URL> <identifier> [--webrtc ndc|roamhq|chromium] [--mdns]
// Prints {"event":"ready","name":NAME} when the tracker knows it, and serves until its input ends or it is stopped.
import { mdns, name, options, stack } from './arguments.mjs'
import { serve } from './core.mjs'
import { endWithParent, loadP2PT, platform } from './node.mjs'

const ready = () => process.stdout.write(JSON.stringify({ event: 'ready', name }) + '\n')

if (stack === 'chromium') {
  const { openBrowser } = await import('./browser.mjs')
  const browser = await openBrowser({ mdns })
  endWithParent(() => browser.close().finally(() => process.exit(0)))
  await browser.serve({ ...options, name })
  ready()
} else {
  endWithParent(() => process.exit(0))
  await serve(await loadP2PT(), { ...options, ...platform, name, ready })
}
