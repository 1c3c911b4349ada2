/**
 * p2pt for JavaScript, in browsers: the class {@link P2PT}, which takes the place of npm's p2pt, and beside it
 * {@link join} and {@link startNode} with async iterators, deadlines and typed errors. The WebAssembly is a file beside
 * this one; in `p2pt-web/embedded` it is a part of the script.
 *
 * @module
 */
import init, * as wasm from './wasm/p2pt_web_wasm.js'
import { setLoader } from './platform.js'

setLoader(async source => {
  await init(source === undefined ? undefined : { module_or_path: source })
  return wasm
})

export * from './all.js'
export { default } from './all.js'
