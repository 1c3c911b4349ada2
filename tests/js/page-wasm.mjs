// The Rust library in a page: tests/page, compiled to WebAssembly and bundled with its bytes by tests/wasm/pages.
import init, { start } from './wasm/p2pt_test_page.js'
import bytes from './wasm/p2pt_test_page_bg.wasm'

// One after the other: functions that WebDriver BiDi exposes are not called in order.
let said = Promise.resolve()
const say = line => { said = said.then(() => window.emitLine(line)) }

window.start = async ({ identifier, trackers }) => {
  await init({ module_or_path: bytes })
  const peer = await start(JSON.stringify({ identifier, trackers }), say, () => said.then(() => window.stopped()))
  window.command = line => peer.command(line)
}
