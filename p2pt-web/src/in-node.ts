/**
 * The entry for Node: the native addon where there is one for this machine, and else the WebAssembly over a WebRTC that
 * the application brings. It is bundled into one CommonJS module, which both `require` and `import` load, so that there is
 * one class {@link P2PT} in a process.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Binding } from './binding.js'
import { bindingOf, type Addon } from './native.js'
import { setLoader, type WasmSource } from './platform.js'

// The bundle lies in `dist`.
const PACKAGE = join(__dirname, '..')

/** What a machine's addon is called: by the platform, the processor and the C library, as napi calls them. */
function addonName (): string {
  let target = `${process.platform}-${process.arch}`
  if (process.platform === 'win32') target += '-msvc'
  // Of the C libraries of Linux, glibc alone says its version.
  if (process.platform === 'linux') target += process.report?.getReport().header.glibcVersionRuntime ? '-gnu' : '-musl'
  return `p2pt_node.${target}.node`
}

/** The addon for this machine, unless none was built. `P2PT_WEB_ADDON` has the path of another one, or `none`. */
function addon (): Addon | undefined {
  const named = process.env['P2PT_WEB_ADDON']
  if (named === 'none') return undefined
  const path = named ?? join(PACKAGE, 'native', addonName())
  if (named === undefined && !existsSync(path)) return undefined
  try {
    return createRequire(path)(path)
  } catch (error) {
    // One that was asked for by name has to be there.
    if (named !== undefined) throw error
    process.emitWarning(`p2pt-web: the addon ${path} is not used: ${String(error)}`, { code: 'P2PT_WEB_ADDON' })
    return undefined
  }
}

/** Where WebRTC comes from in Node, the first one that is installed: as the package's own dependency or the program's. */
const WEBRTC = ['@roamhq/wrtc', 'node-datachannel/polyfill']

async function installed (name: string): Promise<any> {
  for (const from of [PACKAGE, process.cwd()]) {
    let path: string
    try {
      path = createRequire(join(from, 'package.json')).resolve(name)
    } catch {
      continue
    }
    return await import(pathToFileURL(path).href)
  }
  return undefined
}

/** Gives the WebAssembly what it finds in browsers. What the program has made global is left alone. */
async function browserGlobals (): Promise<void> {
  const globals = globalThis as Record<string, unknown>
  for (const name of WEBRTC) {
    if (globals['RTCPeerConnection'] !== undefined) break
    const module = await installed(name)
    for (const [name, value] of Object.entries({ ...module, ...module?.default })) {
      if (name.startsWith('RTC')) globals[name] ??= value
    }
  }
  withCertificates(globals)
  if (globals['WebSocket'] === undefined) {
    const ws = await installed('ws')
    if (ws !== undefined) globals['WebSocket'] = ws.WebSocket ?? ws.default
  }
  const missing = []
  if (globals['RTCPeerConnection'] === undefined) missing.push(`WebRTC (npm install ${WEBRTC[0]}, or node-datachannel)`)
  if (globals['WebSocket'] === undefined) missing.push('WebSocket (npm install ws, or Node 22)')
  if (missing.length > 0) {
    throw new Error(`there is no addon ${addonName()} here, and for the WebAssembly there is no ${missing.join(' and no ')}`)
  }
}

/** Those of Node make a certificate for each connection, and none beforehand, which the WebAssembly asks for. */
function withCertificates (globals: Record<string, any>): void {
  const Connection = globals['RTCPeerConnection']
  if (Connection === undefined || Connection.generateCertificate !== undefined) return
  globals['RTCPeerConnection'] = class extends Connection {
    static async generateCertificate (): Promise<object> { return { expires: Infinity } }

    constructor ({ certificates, ...configuration }: { certificates?: unknown } = {}) { super(configuration) }
  }
}

async function webAssembly (source?: WasmSource): Promise<Binding> {
  await browserGlobals()
  const wasm = await import('./wasm/p2pt_web_wasm.js')
  await wasm.default({ module_or_path: source ?? readFileSync(join(__dirname, 'wasm', 'p2pt_web_wasm_bg.wasm')) })
  return wasm
}

let native: Binding | undefined

setLoader(async source => {
  if (source !== undefined) return await webAssembly(source)
  const found = native === undefined ? addon() : undefined
  if (found !== undefined) native = bindingOf(found)
  return native ?? await webAssembly()
})

export * from './all.js'
export { default } from './all.js'
