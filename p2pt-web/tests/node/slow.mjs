// Reads no events, and says how much memory it has when it is asked.
import { join } from 'p2pt-web'
import { options, say } from './common.mjs'

const swarm = await join('slow', options)
await swarm.waitForPeer()
global.gc()
say({ rss: process.memoryUsage.rss() })
process.stdin.once('data', () => {
  global.gc()
  say({ rss: process.memoryUsage.rss() })
  process.exit(0)
})
