// Sends as much as a peer takes, up to 100 MB, and says how much that was and why it ended.
import { join } from 'p2pt-web'
import { options, say } from './common.mjs'

const swarm = await join('slow', { ...options, sendTimeout: 3000 })
const peer = await swarm.waitForPeer()
let taken = 0
try {
  for (; taken < 100; taken++) await peer.send('x'.repeat(1_000_000))
  say({ taken })
} catch ({ code }) {
  say({ taken, code })
}
process.exit(0)
