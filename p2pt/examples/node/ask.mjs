// Asks every peer how warm it is where it is: `node ask.mjs [TRACKER]`, twice.
import { join } from './p2pt.mjs'

const swarm = await join('weather', { trackers: process.argv.slice(2) })
for await (const event of swarm) {
  if (event.event === 'peer_connected') {
    // Not awaited: this loop is what brings the response.
    swarm.request(event.peer, { city: 'Ghent' }).then(
      ({ degrees }) => console.log(`${event.peer} says ${degrees}`),
      error => console.log(`${event.peer} did not answer: ${error.message}`))
  } else if (event.event === 'message') {
    // Peers may say anything.
    const city = event.message?.city
    if (typeof city === 'string') swarm.respond(event, { degrees: city.length })
  } else if (event.event === 'tracker_warning' || event.event === 'error') {
    console.error(event.error)
  }
}
