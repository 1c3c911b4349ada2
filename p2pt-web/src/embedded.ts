/** The same as `p2pt-web`, with the WebAssembly in the script, where a file beside it cannot be loaded. */
import init, * as wasm from './wasm/p2pt_web_wasm.js'
import bytes from './wasm/bytes.js'
import { setLoader } from './platform.js'

setLoader(async source => {
  await init({ module_or_path: source ?? Uint8Array.from(atob(bytes), char => char.charCodeAt(0)) })
  return wasm
})

export * from './all.js'
export { default } from './all.js'
