// Worker threads with a node each; this thread itself never loads the addon.
import { once } from 'node:events'
import { Worker, isMainThread, parentPort } from 'node:worker_threads'
import { given, options, say, trackerUrl } from './common.mjs'

if (isMainThread) {
  const [rounds] = given
  for (let round = 0; round < rounds; round++) {
    const workers = [0, 1].map(() => new Worker(new URL(import.meta.url), { argv: [trackerUrl, round] }))
    await Promise.all(workers.map(worker => once(worker, 'message')))
    // While both run, with events on their way.
    await Promise.all(workers.map(worker => worker.terminate()))
    say({ terminated: round })
  }
} else {
  const { startNode } = await import('p2pt-web')
  const node = await startNode(options)
  const swarm = await node.join('workers')
  parentPort.postMessage(node.peerId)
  for await (const event of swarm) if (event.type === 'peerConnected') event.peer.send('hello from a thread')
}
