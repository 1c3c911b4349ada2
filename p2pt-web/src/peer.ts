import { cancellable, quiet, type WaitOptions } from './abort.js'
import type { BindingMessage, BindingNode, BindingSwarm } from './binding.js'
import { bytesOf, codeNumber, content, contentOrBytes, idText, MessageContent, type Bytes } from './content.js'
import { awaiting, calling } from './errors.js'
import { begin, posting, sending, urgencyNumber, type RespondOptions, type SendOptions } from './sending.js'
import type { ConnectionStats } from './stats.js'
import { PeerStream, type StreamOptions } from './stream.js'
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
   * Sends a message: a string as text, an `ArrayBuffer` or a view of one as bytes, everything else as JSON. It has its place
   * among what is sent when this returns. The promise resolves when the connection has taken it, so a program that awaits
   * it sends no faster than the peer reads; it rejects when it is certain that none will take it. It need not be awaited. A
   * signal takes it back, unless all of it was sent.
   *
   * ```ts
   * await peer.send(photo, { urgency: 'background', acknowledged: true, onProgress: ({ sent, total }) => show(sent / total) })
   * ```
   */
  send (value: unknown, options?: SendOptions): Promise<void> { return this.#send(value, undefined, options) }

  #send (value: unknown, inResponseTo?: { id: unknown }, options?: SendOptions): Promise<void> {
    const id = (): string | undefined => inResponseTo && idText('the id of a message', inResponseTo.id)
    if (options === undefined) return sending(() => this.#node.send(this.#number, ...contentOrBytes(value), id()))
    const { urgency, acknowledged } = options
    return posting(() => this.#node.post(
      this.#number, ...contentOrBytes(value), id(), urgencyNumber(urgency), acknowledged === true), options)
  }

  /** Sends a message in response to another, of which the id is known. {@link Message.respond} is the usual way. */
  respondTo (id: string, value: unknown, options?: RespondOptions): Promise<void> {
    return this.#send(value, { id }, options)
  }

  /** As {@link respondTo}, with bytes as JSON; `undefined` if the connection has taken it already. @internal */
  begin (id: string, value: unknown): Promise<void> | undefined {
    return begin(() => this.#node.send(this.#number, ...content(value), idText('the id of a message', id)))
  }

  /** Sends one frame as it is, beside the messages: bytes, or text. It is a `data` event at the other side. */
  sendFrame (frame: string | Bytes, { signal }: WaitOptions = {}): Promise<void> {
    return sending(() => typeof frame === 'string'
      ? this.#node.sendTextFrame(this.#number, frame)
      : this.#node.sendBinaryFrame(this.#number, bytesOf(frame, 'a string, an ArrayBuffer or a view of one')), signal)
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
      const [content, isJson] = contentOrBytes(value)
      const response = await cancellable(this.#node, signal,
        ticket => this.#node.request(this.#number, content, isJson, id, timeout, ticket))
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

  /**
   * Opens a stream of bytes in both directions. The other side has it as an event at once, with the metadata: a string, which
   * travels as UTF-8, or bytes, 16 KiB at most. Waits while as many are open as may be, 256 of each side.
   *
   * @throws {@link P2ptError}: `no_streams` for a peer that runs npm's p2pt or has no key, `metadata_too_large`, `peer_gone`.
   */
  async openStream (metadata: string | Bytes = '', { urgency, signal }: StreamOptions = {}): Promise<PeerStream> {
    const bytes = typeof metadata === 'string'
      ? new TextEncoder().encode(metadata)
      : bytesOf(metadata, 'a string, an ArrayBuffer or a view of one')
    const number = urgencyNumber(urgency)
    const stream = await cancellable(this.#node, signal,
      ticket => this.#node.openStream(this.#number, bytes, number, ticket))
    return new PeerStream(this, stream)
  }

  /** Lets what was sent leave, for as long as `flushTimeout`, and ends all connections to it. It may connect again. */
  disconnect (): Promise<void> { return this.leave() }

  /**
   * Does that, and lets the other side know why: it reads the code, a number of the program's, and the text, of which 1 KiB is
   * sent, in {@link PeerClosed.left}. A peer that runs npm's p2pt or has no key learns only that it ended.
   */
  leave (code = 0, text = ''): Promise<void> {
    const leaving = async (): Promise<void> => {
      await awaiting(this.#node.leave(this.#number, codeNumber(code), String(text)))
    }
    return quiet(leaving())
  }
}

/** A message of a peer, as an event or as a response. */
export class Message extends MessageContent {
  readonly type = 'message'
  readonly peer: Peer

  /** @internal */
  constructor (peer: Peer, message: BindingMessage) {
    super(message)
    this.peer = peer
  }

  /** Responds to it, as {@link Peer.send} sends. */
  respond (value: unknown, options?: RespondOptions): Promise<void> {
    return this.peer.respondTo(this.id, value, options)
  }

  /** Responds to it with a question, and waits for the response to that. */
  exchange (value: unknown, options: RequestOptions<unknown> = {}): Promise<Message> {
    return this.peer.exchangeInResponseTo(this.id, value, options)
  }
}
