// What a connected peer costs a page in memory. A fresh browser has one page with one node, the hub; its peers are nodes
// of the Rust library in a page of another browser, whichever library the hub is of. Counted is what all processes of the
// hub's browser have in RAM beside files. The first peer is not: with it come code and tables that all peers share.
import { setTimeout as sleep } from 'node:timers/promises'
import { openBrowser } from './browser.mjs'

const PEERS = 20
const POLL_MS = 100
// What connecting takes only for a moment has to go, and what starting the browser does.
const SETTLE_MS = 6000

/** KiB for each peer of a node in a page that runs `bundle`. */
export async function memoryOfPeer ({ mdns, bundle, options }) {
  const browsers = []
  const open = async bundle => {
    const browser = await openBrowser({ mdns, bundle })
    browsers.push(browser)
    return browser
  }
  try {
    const shared = { ...options, identifier: `${options.identifier} memory` }
    const hubs = await open(bundle)
    const visitors = await open('bench-wasm')
    const hub = await hubs.hub(shared)
    const meet = async (more, all) => {
      await visitors.visit(shared, hub.id, more)
      const deadline = Date.now() + options.deadlineMs
      while (await hub.peers() < all) {
        if (Date.now() > deadline) throw new Error(`memory: the hub has ${await hub.peers()} of ${all} peers`)
        await sleep(POLL_MS)
      }
      await sleep(SETTLE_MS)
      return hubs.memoryKb()
    }
    const before = await meet(1, 1)
    return (await meet(PEERS, 1 + PEERS) - before) / PEERS
  } finally {
    await Promise.all(browsers.map(browser => browser.close()))
  }
}
