// A tiny application, which each bundler builds as it is: it says hello to each peer, and shows what peers say.
import { join } from 'p2pt-web'

const parameters = new URLSearchParams(location.search)
const swarm = await join(parameters.get('identifier'), { trackers: [parameters.get('tracker')], iceServers: [] })
document.body.dataset.id = swarm.peerId
for await (const event of swarm) {
  if (event.type === 'peerConnected') event.peer.send('hello from the page')
  if (event.type === 'message') {
    document.body.dataset.said = event.text
    event.respond({ heard: event.value })
  }
}
