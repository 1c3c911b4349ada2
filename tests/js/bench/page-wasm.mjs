// The Rust library in a page: tests/page-bench, compiled to WebAssembly and bundled with its bytes by tests/wasm/pages,
// started by browser.mjs as page.mjs is.
import init, { hub, measure, serve, visit } from '../wasm/p2pt_bench_page.js'
import bytes from '../wasm/p2pt_bench_page_bg.wasm'

const ready = init({ module_or_path: bytes })
const say = text => console.log(text)
const started = start => async (options, ...more) => {
  await ready
  return start(JSON.stringify(options), ...more)
}

window.serve = started(serve)
window.measure = started(async options => JSON.parse(await measure(options, () => window.browserCpuUs(), say)))
window.visit = started(visit)
window.hub = started(async options => {
  const node = await hub(options)
  window.peers = () => node.peers()
  return node.peerId()
})
