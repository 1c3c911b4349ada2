// Connects and parts so many times, and says what the process holds before and after.
import { readdirSync } from 'node:fs'
import { join, startNode } from 'p2pt-web'
import { given, options, say } from './common.mjs'

const [connects] = given
const host = await join('connects', options)
;(async () => { for await (const event of host) if (event.type === 'message') event.respond(event.value) })()

async function connect () {
  const node = await startNode(options)
  const swarm = await node.join('connects')
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
const warm = Math.ceil(connects / 2)
for (let done = 0; done < connects; done++) {
  if (done === warm) say({ connects: done, ...held() })
  await connect()
}
say({ connects: Number(connects), ...held() })
await host.leave()
