// npm bittorrent-tracker on a free port of the loopback interface. Prints {"event":"listening","url":URL}.
import { Server } from 'bittorrent-tracker'
import { emit, readLines } from './stdio.mjs'

const server = new Server({ udp: false, http: false, ws: true, stats: false })
server.on('error', error => { throw error })
server.on('warning', error => console.error(`tracker: ${error.message}`))
server.listen(0, '127.0.0.1', () => emit({ event: 'listening', url: `ws://127.0.0.1:${server.ws.address().port}` }))
readLines(() => {}, () => process.exit(0))
