// Connects and parts so many times, and says what the process holds after a tenth of them and after all.
import { readdirSync } from 'node:fs'
import { join, startNode } from 'p2pt-web'
import { given, options, say } from './common.mjs'

const connects = Number(given[0])
// A node answers 300 offers a minute in one swarm, so another one follows before.
const IN_ONE_SWARM = 200

async function startHost (identifier) {
  const host = await join(identifier, options)
  ;(async () => { for await (const event of host) if (event.type === 'message') event.respond(event.value) })()
  return host
}

async function connect (identifier) {
  const node = await startNode(options)
  const swarm = await node.join(identifier)
  const peer = await swarm.waitForPeer()
  if (await peer.request('ping') !== 'ping') throw new Error('no echo')
  await node.shutdown()
}

function held () {
  global.gc()
  const open = readdirSync('/proc/self/fd').length
  return { rss: process.memoryUsage.rss(), heap: process.memoryUsage().heapUsed, open, handles: process.getActiveResourcesInfo().length }
}

// Standard output is a handle too, from the first time that it is used.
say({ begins: true })
const begun = performance.now()
let host
let identifier
for (let done = 0; done < connects;) {
  if (done % IN_ONE_SWARM === 0) {
    await host?.leave()
    identifier = `connects ${done}`
    host = await startHost(identifier)
  }
  await connect(identifier)
  done++
  if (done === connects / 10) say({ connects: done, ...held() })
}
say({ connects, ms: (performance.now() - begun) / connects, ...held() })
await host.leave()
