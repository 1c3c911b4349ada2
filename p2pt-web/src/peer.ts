import { abortable, cancellable, quiet, type WaitOptions } from './abort.js'
import type { BindingMessage, BindingNode, BindingSwarm } from './binding.js'
import { awaiting, calling, fromBinding, P2ptError } from './errors.js'
import type { ConnectionStats } from './stats.js'
import { secretText, type SafetyCode, type Trust } from './trust.js'

/** What is known of who a peer is. */
export interface PeerKnown { trust: Trust, safetyCode: SafetyCode | null }

/** How a request waits for its response. */
export interface RequestOptions<T> extends WaitOptions {
  /** Milliseconds until the request fails with `request_timeout`; the node's `requestTimeout` unless given. */
  timeout?: number | undefined
  /** Checks the response and gives it its type. What it throws is what the request rejects with. */
  parse?: (value: unknown) => T
}

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

/** A text that crosses to the binding, which takes everything for one: to WebAssembly that would be wild memory. */
export function idText (what: string, id: unknown): string {
  if (typeof id !== 'string') throw new P2ptError('invalid_id', `${what} is a string, and ${typeof id} was given`)
  return id
}

/** Begins to send, and never throws. `undefined`: the connection has taken it. */
function begin (send: () => Promise<void> | undefined): Promise<void> | undefined {
  try {
    const sent = send()
    return sent === undefined ? undefined : quiet(awaiting(sent))
  } catch (error) {
    return quiet(Promise.reject(fromBinding(error)))
  }
}

/** Begins to send, unless that was aborted already. It never throws, and its promise need not be awaited. */
export function sending (send: () => Promise<void> | undefined, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return quiet(Promise.reject(signal.reason))
  const sent = begin(send) ?? Promise.resolve()
  return signal === undefined ? sent : quiet(abortable(sent, signal))
}

/**
 * A peer: another member of a swarm, while it is connected. It is handed out by events, by {@link Swarm.peers} and by
 * {@link Swarm.waitForPeer}, always as the same object. A peer that goes and comes back is another one with the same id.
 *
 * What is sent to a peer leaves in the order of the calls, awaited or not: messages, frames and requests alike.
 */
export class Peer {
  /** The id it has announced, 40 hexadecimal digits. Without a public key, from which it follows, it is a mere claim. */
  readonly id: string
  /**
   * Its public key, 52 letters and digits, by which it is the same peer from run to run, and which it has proven.
   * `undefined` for one that runs npm's p2pt.
   */
  readonly publicKey: string | undefined
  readonly #node: BindingNode
  readonly #number: number
  /** Kept, since the number means nothing without it. @internal */
  readonly _swarm: BindingSwarm
  /** As it was last, for when the peer is gone. */
  #known: PeerKnown

  /** @internal */
  constructor (node: BindingNode, swarm: BindingSwarm, number: number, id: string, publicKey: string | undefined) {
    this.#node = node
    this._swarm = swarm
    this.#number = number
    this.id = id
    this.publicKey = publicKey
    this.#known = { trust: publicKey === undefined ? { level: 'unsigned' } : { level: 'first_use', through: 0 }, safetyCode: null }
  }

  /** @internal */
  _know (known: Partial<PeerKnown>): void {
    this.#known = { trust: known.trust ?? this.#known.trust, safetyCode: known.safetyCode ?? this.#known.safetyCode }
  }

  #ask (): PeerKnown {
    const known = this.#node.known(this.#number)
    if (known !== undefined) this._know(JSON.parse(known))
    return this.#known
  }

  /** How far it is known; a `trustChanged` event tells when that rises or falls. */
  get trust (): Trust { return this.#ask().trust }

  /** How far it is known as the one that is pinned under a name: `changed` if it is another one. */
  trustAs (name: string): Trust {
    const trust = this.#node.trustAs(this.#number, secretText('a name', name))
    return trust === undefined ? this.#known.trust : JSON.parse(trust)
  }

  /** What both sides see alike, for two people to compare; `undefined` for a peer without a key. */
  get safetyCode (): SafetyCode | undefined { return this.#ask().safetyCode ?? undefined }

  /** Whether it can be talked to. */
  get connected (): boolean { return this.connectionCount > 0 }

  /** How many connections to it are open: one, unless `connectionsPerPeer` asks for more. */
  get connectionCount (): number { return this.#node.connectionCount(this.#number) }

  /** Bytes that were sent and have not left this node yet: what a program that sends much keeps small. */
  get bufferedAmount (): number { return this.#node.buffered(this.#number) }

  /**
   * Sends a message: a string as text, everything else as JSON. It has its place among what is sent when this returns.
   * The promise resolves when the connection has taken it, so a program that awaits it sends no faster than the peer
   * reads; it rejects when it is certain that none will take it. It need not be awaited. A signal that was aborted
   * before keeps it from being sent; later it ends the wait, and takes nothing back.
   */
  send (value: unknown, { signal }: WaitOptions = {}): Promise<void> {
    return sending(() => this.#node.send(this.#number, ...content(value), undefined), signal)
  }

  /** Sends a message in response to another, of which the id is known. {@link Message.respond} is the usual way. */
  respondTo (id: string, value: unknown, { signal }: WaitOptions = {}): Promise<void> {
    return sending(() => this.#node.send(this.#number, ...content(value), idText('the id of a message', id)), signal)
  }

  /** As {@link respondTo}; `undefined` if the connection has taken it already. @internal */
  begin (id: string, value: unknown): Promise<void> | undefined {
    return begin(() => this.#node.send(this.#number, ...content(value), idText('the id of a message', id)))
  }

  /** Sends one frame as it is, beside the messages: bytes, or text. It is a `data` event at the other side. */
  sendFrame (frame: string | ArrayBufferLike | ArrayBufferView, { signal }: WaitOptions = {}): Promise<void> {
    return sending(() => typeof frame === 'string'
      ? this.#node.sendTextFrame(this.#number, frame)
      : this.#node.sendBinaryFrame(this.#number, bytesOf(frame)), signal)
  }

  /**
   * Sends a message and waits for the response, which is the value that the peer's `respond` was given.
   *
   * ```ts
   * const { degrees } = await peer.request<{ degrees: number }>({ city: 'Ghent' }, { timeout: 5000 })
   * ```
   */
  async request<T = unknown> (value: unknown, options: RequestOptions<T> = {}): Promise<T> {
    const response = await this.exchange(value, options)
    return options.parse === undefined ? response.value as T : options.parse(response.value)
  }

  /** The same, with the response as a message, to which can be responded in turn. */
  exchange (value: unknown, options: RequestOptions<unknown> = {}): Promise<Message> {
    return this.#request(value, options, undefined)
  }

  /** @internal */
  exchangeInResponseTo (id: string, value: unknown, options: RequestOptions<unknown>): Promise<Message> {
    return this.#request(value, options, id)
  }

  #request (value: unknown, { timeout, signal }: RequestOptions<unknown>, id: string | undefined): Promise<Message> {
    const asked = async (): Promise<Message> => {
      const [text, isJson] = content(value)
      const response = await cancellable(this.#node, signal,
        ticket => this.#node.request(this.#number, text, isJson, id, timeout, ticket))
      return new Message(this, response)
    }
    return quiet(asked())
  }

  /**
   * The messages of this peer alone, which are no events of the swarm while this is iterated. When the iteration ends, or a
   * signal ends it, those that were not handed out are events again: none is lost.
   */
  async * messages ({ signal }: WaitOptions = {}): AsyncGenerator<Message, void, void> {
    signal?.throwIfAborted()
    const messages = calling(() => this.#node.messages(this.#number))
    // The call under way ends by that, with the message if it has taken one: so that is handed out before the signal counts.
    const abort = (): void => { messages.close() }
    signal?.addEventListener('abort', abort, { once: true })
    try {
      for (;;) {
        const next = await awaiting(messages.next())
        if (next === undefined) break
        yield new Message(this, next)
        if (signal?.aborted) break
      }
      signal?.throwIfAborted()
    } finally {
      signal?.removeEventListener('abort', abort)
      messages.close()
    }
  }

  /** Its open connections, the one that messages take first. */
  async stats (): Promise<ConnectionStats[]> {
    return JSON.parse(await awaiting(this.#node.stats(this.#number)))
  }

  /** Lets what was sent leave, for as long as `flushTimeout`, and ends all connections to it. It may connect again. */
  disconnect (): Promise<void> {
    return quiet(awaiting(this.#node.disconnect(this.#number)))
  }
}

/** A message of a peer, as an event or as a response. */
export class Message {
  readonly type = 'message'
  readonly peer: Peer
  /** The content as it came: a text, or JSON in text. */
  readonly text: string
  /** Whether it was sent as JSON. */
  readonly isJson: boolean
  /** Its id as JSON, which responses carry too. */
  readonly id: string
  #value: unknown

  /** @internal */
  constructor (peer: Peer, [text, isJson, id]: BindingMessage) {
    this.peer = peer
    this.text = text
    this.isJson = isJson
    this.id = id
    // The core has checked it, so that this cannot fail; it is parsed when it is asked for.
    this.#value = isJson ? UNREAD : text
  }

  /** What was sent: a string, or what the JSON says. The same object at each call. */
  get value (): unknown {
    if (this.#value === UNREAD) this.#value = JSON.parse(this.text)
    return this.#value
  }

  /** Responds to it, as {@link Peer.send} sends. */
  respond (value: unknown, options: WaitOptions = {}): Promise<void> {
    return this.peer.respondTo(this.id, value, options)
  }

  /** Responds to it with a question, and waits for the response to that. */
  exchange (value: unknown, options: RequestOptions<unknown> = {}): Promise<Message> {
    return this.peer.exchangeInResponseTo(this.id, value, options)
  }
}

const UNREAD = Symbol('not parsed yet')

function bytesOf (frame: ArrayBufferLike | ArrayBufferView): Uint8Array {
  if (ArrayBuffer.isView(frame)) return new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength)
  // By its tag, since a buffer of another frame of the page is no instance; of everything else `Uint8Array` makes something.
  const kind = Object.prototype.toString.call(frame).slice(8, -1)
  if (kind === 'ArrayBuffer' || kind === 'SharedArrayBuffer') return new Uint8Array(frame)
  const advice = kind === 'Blob' ? 'send `await blob.arrayBuffer()`' : 'it is a string, an ArrayBuffer or a view of one'
  throw new P2ptError('frame_rejected', `${kind} is no frame: ${advice}`)
}
