// npm p2pt in a page: bundled by esbuild from the package's source, started and driven by browser.mjs.
import P2PT from 'p2pt'
import { lineOf, startPeer } from './core.mjs'

// One after the other: functions that WebDriver BiDi exposes are not called in order.
let said = Promise.resolve()
const say = line => { said = said.then(() => window.emitLine(line)) }

window.start = async options => {
  window.command = await startPeer(P2PT, {
    ...options,
    emit: event => say(lineOf(event)),
    stopped: () => said.then(() => window.stopped())
  })
}
