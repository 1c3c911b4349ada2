// Nothing but the node keeps this process alive, until a peer has come.
import P2PT from 'p2pt-web'
import { say, trackerUrl } from './common.mjs'

const p2pt = new P2PT([trackerUrl], 'alive', { iceServers: [] })
p2pt.on('trackerconnect', () => say({ ready: true }))
p2pt.on('peerconnect', peer => {
  say({ peer: peer.id })
  p2pt.destroy()
})
p2pt.start()
process.on('exit', code => say({ exit: code, handles: process.getActiveResourcesInfo() }))
