// A node that runs, and does not keep this process alive.
import { startNode } from 'p2pt-web'
import { options, say } from './common.mjs'

const node = await startNode(options)
const swarm = await node.join('unref')
swarm.events().next()
node.unref()
say({ running: true })
process.on('exit', code => say({ exit: code }))
