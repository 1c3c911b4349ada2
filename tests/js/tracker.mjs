// npm bittorrent-tracker on a free port of the loopback interface. Prints {"event":"listening","url":URL}. With the files of
// a certificate and of its key, in DER, it is behind TLS.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { Server } from 'bittorrent-tracker'
import { emit, readLines } from './stdio.mjs'

const [certFile, keyFile] = process.argv.slice(2)
const server = new Server({ udp: false, http: false, ws: certFile ? { noServer: true } : true, stats: false })
server.on('error', error => { throw error })
server.on('warning', error => console.error(`tracker: ${error.message}`))
if (certFile) {
  const cert = new X509Certificate(readFileSync(certFile)).toString()
  const key = createPrivateKey({ key: readFileSync(keyFile), format: 'der', type: 'pkcs8' })
    .export({ format: 'pem', type: 'pkcs8' })
  const https = createServer({ cert, key })
  https.on('upgrade', (request, socket, head) => {
    server.ws.handleUpgrade(request, socket, head, client => server.ws.emit('connection', client, request))
  })
  https.listen(0, '127.0.0.1', () => emit({ event: 'listening', url: `wss://127.0.0.1:${https.address().port}` }))
} else {
  server.listen(0, '127.0.0.1', () => emit({ event: 'listening', url: `ws://127.0.0.1:${server.ws.address().port}` }))
}
readLines(() => {}, () => process.exit(0))
