// npm p2pt in a page: bundled by esbuild from the package's source, started by browser.mjs.
import P2PT from 'p2pt'
import { measure, serve } from './core.mjs'

const now = () => performance.now() * 1000
const warn = text => console.log(text)

window.serve = options => new Promise((resolve, reject) => {
  // A page does not learn what it costs.
  serve(P2PT, { ...options, now, cpuUs: () => null, warn, ready: () => resolve() }).catch(reject)
})
window.measure = options => measure(P2PT, { ...options, now, cpuUs: () => window.browserCpuUs(), warn })
window.hub = ({ tracker, identifier }) => new Promise((resolve, reject) => {
  const p2pt = new P2PT([tracker], identifier)
  window.peers = () => Object.keys(p2pt.peers).length
  p2pt.once('trackerconnect', () => resolve(p2pt._peerId))
  p2pt.start().catch(reject)
})
