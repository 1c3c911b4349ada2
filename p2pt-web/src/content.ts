import type { BindingContent, BindingMessage } from './binding.js'
import { P2ptError } from './errors.js'

/** What bytes may be given as. */
export type Bytes = ArrayBufferLike | ArrayBufferView

/** A message's content as it travels: a string as text, everything else as JSON. */
export function content (value: unknown): [text: string, isJson: boolean] {
  if (typeof value === 'string') return [value, false]
  let json: string | undefined
  try {
    json = JSON.stringify(value)
  } catch (error) {
    throw new P2ptError('invalid_json', `it cannot be written as JSON: ${String(error)}`, { cause: error })
  }
  if (json === undefined) throw new P2ptError('invalid_json', `${typeof value} cannot be written as JSON`)
  return [json, true]
}

/** The same, with an `ArrayBuffer` and a view of one as bytes. */
export function contentOrBytes (value: unknown): [content: BindingContent, isJson: boolean] {
  const bytes = asBytes(value)
  return bytes === undefined ? content(value) : [bytes, false]
}

/** A text that crosses to the binding, which takes everything for one: to WebAssembly that would be wild memory. */
export function idText (what: string, id: unknown): string {
  if (typeof id !== 'string') throw new P2ptError('invalid_id', `${what} is a string, and ${typeof id} was given`)
  return id
}

/** The code with which a program ends something. */
export function codeNumber (code: unknown): number {
  if (Number.isSafeInteger(code) && code as number >= 0) return code as number
  throw new P2ptError('invalid_option', `code: ${String(code)} is no whole number from 0 to 2⁵³ − 1`)
}

function kindOf (value: unknown): string { return Object.prototype.toString.call(value).slice(8, -1) }

function asBytes (value: unknown): Uint8Array | undefined {
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  // By its tag, since a buffer of another frame of the page is no instance; of everything else `Uint8Array` makes something.
  const kind = kindOf(value)
  return kind === 'ArrayBuffer' || kind === 'SharedArrayBuffer' ? new Uint8Array(value as ArrayBufferLike) : undefined
}

/** What was given as bytes; `what` is said of what is none. */
export function bytesOf (value: unknown, what: string): Uint8Array {
  const bytes = asBytes(value)
  if (bytes !== undefined) return bytes
  const kind = kindOf(value)
  const advice = kind === 'Blob' ? 'use `await blob.arrayBuffer()`' : `it is ${what}`
  throw new P2ptError('frame_rejected', `${kind} is none: ${advice}`)
}

const UNREAD = Symbol('not parsed yet')

/** What a message says. */
export class MessageContent {
  /** The content as it travels: a text, or JSON in text; empty if the message is bytes. */
  readonly text: string
  /** The bytes, if it was sent as bytes. */
  readonly bytes: Uint8Array | undefined
  /** Whether it was sent as JSON. */
  readonly isJson: boolean
  /** The message's id as JSON; that of a response is the id of what it responds to. */
  readonly id: string
  #value: unknown

  /** @internal */
  constructor ([content, isJson, id]: BindingMessage) {
    const isText = typeof content === 'string'
    this.text = isText ? content : ''
    this.bytes = isText ? undefined : content
    this.isJson = isJson
    this.id = id
    // The core has checked it, so that this cannot fail; it is parsed when it is asked for.
    this.#value = isJson ? UNREAD : content
  }

  /** What was sent: a string, bytes as `Uint8Array`, or what the JSON says. The same object at each call. */
  get value (): unknown {
    if (this.#value === UNREAD) this.#value = JSON.parse(this.text)
    return this.#value
  }
}
