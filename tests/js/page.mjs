// npm p2pt in a page: bundled by esbuild from the package's source, started and driven by browser.mjs.
import P2PT from 'p2pt'
import { lineOf, startPeer } from './core.mjs'

window.start = async options => {
  window.command = await startPeer(P2PT, {
    ...options,
    emit: event => window.emitLine(lineOf(event)),
    stopped: () => window.stopped()
  })
}
