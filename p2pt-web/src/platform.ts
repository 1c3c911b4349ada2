import type { Binding } from './binding.js'
import { P2ptError } from './errors.js'

/** What the WebAssembly can be loaded from: a URL, a response, its bytes, or a module that was compiled already. */
export type WasmSource = string | URL | Response | Promise<Response> | BufferSource | WebAssembly.Module

/** How a platform finds the binding; it is given a source only where there is WebAssembly to be loaded. */
export type Loader = (source?: WasmSource) => Promise<Binding>

let loader: Loader | undefined
let loading: Promise<Binding> | undefined

/** Called once by the entry of each platform. */
export function setLoader (of: Loader): void {
  loader ??= of
}

/**
 * Loads the Rust library. Everything that needs it does so by itself; a program calls it to load early, or to say where
 * the WebAssembly is, before anything else has begun to load it. A load that failed is tried again by the next call.
 *
 * @throws {@link P2ptError} with `start_failed`.
 */
export async function load (source?: WasmSource): Promise<void> {
  await binding(source)
}

export function binding (source?: WasmSource): Promise<Binding> {
  if (loading === undefined) {
    loading = begin(source)
    loading.catch(() => { loading = undefined })
  }
  return loading
}

async function begin (source?: WasmSource): Promise<Binding> {
  if (loader === undefined) throw new P2ptError('unsupported', 'this platform has no p2pt')
  try {
    return await loader(source)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new P2ptError('start_failed', `p2pt was not loaded: ${reason}`, { cause: error })
  }
}
