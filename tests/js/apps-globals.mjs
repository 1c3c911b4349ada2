// What libraries made for Node expect to find in a page.
import { Buffer } from 'buffer/'

globalThis.global = globalThis
globalThis.Buffer = Buffer
globalThis.process = { env: {}, browser: true, version: '', nextTick: (call, ...values) => queueMicrotask(() => call(...values)) }
