// A thread with a node, which is ended when a message has come; the process stays until it is told.
import { once } from 'node:events'
import { Worker, isMainThread, parentPort } from 'node:worker_threads'
import { options, say, trackerUrl } from './common.mjs'

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url), { argv: [trackerUrl] })
  const [message] = await once(worker, 'message')
  await worker.terminate()
  say({ message })
  await once(process.stdin, 'data')
  process.exit(0)
} else {
  const { join } = await import('p2pt-web')
  const swarm = await join('threads', options)
  for await (const event of swarm) if (event.type === 'message') parentPort.postMessage(event.value)
}
