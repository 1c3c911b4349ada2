// A node in each of several threads of one process: all meet each other, and each ends by itself.
import { once } from 'node:events'
import { Worker, isMainThread, parentPort } from 'node:worker_threads'
import { options, say, trackerUrl } from './common.mjs'

const COUNT = 4
if (isMainThread) {
  const workers = Array.from({ length: COUNT }, () => new Worker(new URL(import.meta.url), { argv: [trackerUrl] }))
  const codes = await Promise.all(workers.map(async worker => (await once(worker, 'exit'))[0]))
  say({ codes })
} else {
  const { join } = await import('p2pt-web')
  const swarm = await join('threads', options)
  const met = new Set()
  const heard = new Set()
  for await (const event of swarm) {
    if (event.type === 'peerConnected') {
      met.add(event.peer)
      event.peer.send('hello')
    }
    if (event.type === 'message') heard.add(event.peer)
    // What it has said itself leaves before it does.
    if (met.size === COUNT - 1 && heard.size === COUNT - 1) swarm.leave()
  }
}
