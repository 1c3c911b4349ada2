// npm p2pt in Node.  node peer.mjs <identifier> [--tracker URL]… [--webrtc ndc|roamhq|addon|wasm] [--first-id N]
// With `addon` or `wasm` the npm package of this workspace takes its place.
import { register } from 'node:module'
import { options } from './arguments.mjs'
import { startPeer } from './core.mjs'
import { emit, readLines } from './stdio.mjs'

if (options.webrtc === 'roamhq') register('./webrtc-hooks.mjs', import.meta.url)
if (options.webrtc === 'wasm') {
  process.env.P2PT_WEB_ADDON = 'none'
  process.chdir(import.meta.dirname) // where what the package looks for is installed
}
const { default: P2PT } = await import(['addon', 'wasm'].includes(options.webrtc) ? './package-node.mjs' : 'p2pt')

console.log = console.error // p2pt logs there, and standard output is for events
process.on('uncaughtException', error => emit({ event: 'error', error: `uncaught: ${error.stack}` }))
const command = await startPeer(P2PT, { ...options, emit, stopped: () => process.exit(0) })
readLines(command, () => command('{"stop":true}'))
