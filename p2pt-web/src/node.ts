import { abortable, cancellable, type WaitOptions } from './abort.js'
import type { BindingEvent, BindingKey, BindingNode, BindingReturned, BindingStream, BindingSwarm } from './binding.js'
import { contentOrBytes, idText, MessageContent } from './content.js'
import { awaiting, calling, fromBinding, P2ptError } from './errors.js'
import type { PeerClosed, SwarmEvent } from './events.js'
import type { NodeHandlers, NodeOptions } from './options.js'
import { Message, Peer } from './peer.js'
import { binding } from './platform.js'
import type { Metrics, TrackerStats } from './stats.js'
import { PeerStream } from './stream.js'
import { secretText, type Pins } from './trust.js'

/**
 * What a swarm is joined by.
 *
 * | | |
 * |---|---|
 * | `'my-app'` | an identifier, which its members share and trackers can guess |
 * | `{ infoHash }` | the SHA-1 of one, 40 hexadecimal digits |
 * | `{ secret: link }` | a room, by its link `p2pt:…#…` (`newRoomLink`): nobody without it finds or joins it, and trackers read no description |
 * | `{ secret: passphrase, identifier }` | a room, by a name and a passphrase (`newPassphrase`). Stretching it takes a page's thread some hundred milliseconds |
 * | `{ …, hidden: true }` | only the name of such a room is hidden: npm's p2pt joins it that is given `swarm.identifier` |
 * | `{ code, side }` | two people meet by a code of four words (`newCode`), which one `'shows'` and the other `'types'`, within ten minutes |
 */
export type SwarmKey =
  | string
  | { infoHash: string }
  | { secret: string, identifier?: string, hidden?: boolean }
  | { code: string, side: 'shows' | 'types' }

// Firefox ESR and Safari have no such symbol yet; TypeScript's `await using` takes the registered one there.
const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose') as typeof Symbol.asyncDispose

/**
 * Starts a node.
 *
 * @throws {@link P2ptError}: `invalid_option`, `invalid_announce_url`, `invalid_id`, `invalid_key`, `start_failed`.
 */
export async function startNode (options: NodeOptions = {}, { signal }: WaitOptions = {}): Promise<Node> {
  const { startNode } = await abortable(binding(), signal)
  const { onPinsChanged, ...others } = options
  const node = new Node(await awaiting(startNode(written(others))), { ...onPinsChanged && { onPinsChanged } })
  if (signal?.aborted) {
    await node.shutdown()
    throw signal.reason
  }
  return node
}

/**
 * Starts a node and joins a swarm with it: all that a program with one swarm needs. The node is shut down when the swarm
 * is left.
 *
 * ```ts
 * const swarm = await join('my-app', { trackers: ['wss://tracker.openwebtorrent.com'] })
 * for await (const event of swarm) {
 *   if (event.type === 'peerConnected') event.peer.send('hello')
 *   if (event.type === 'message') console.log(event.peer.id, event.value)
 * }
 * ```
 */
export async function join (key: SwarmKey, options: NodeOptions = {}, wait: WaitOptions = {}): Promise<Swarm> {
  const node = await startNode(options, wait)
  try {
    return await node.joinForGood(key, wait)
  } catch (error) {
    await node.shutdown()
    throw error
  }
}

/** A node: one peer id, one connection to each tracker, and any number of swarms. */
export class Node {
  readonly #node: BindingNode
  readonly #handlers: NodeHandlers

  /** @internal */
  constructor (node: BindingNode, handlers: NodeHandlers) {
    this.#node = node
    this.#handlers = handlers
  }

  /** Its id, 40 hexadecimal digits. */
  get peerId (): string { return this.#node.peerId() }

  /** Its public key, 52 letters and digits, by which others know it; `undefined` if it was given a `peerId`. */
  get publicKey (): string | undefined { return this.#node.publicKey() }

  /**
   * Joins a swarm; meeting its members begins at once.
   *
   * @throws {@link P2ptError}: `already_joined`, `stopped`, `invalid_id`, `invalid_secret`, `no_key`.
   */
  join (key: SwarmKey, wait: WaitOptions = {}): Promise<Swarm> { return this.#join(key, wait, false) }

  /** Joins the one swarm of this node, which is shut down when that is left. @internal */
  joinForGood (key: SwarmKey, wait: WaitOptions): Promise<Swarm> { return this.#join(key, wait, true) }

  async #join (key: SwarmKey, { signal }: WaitOptions, ownsNode: boolean): Promise<Swarm> {
    signal?.throwIfAborted()
    const swarm = await awaiting(this.#node.join(...parts(key)))
    return new Swarm(this, this.#node, swarm, ownsNode)
  }

  /**
   * Adds a tracker, for all swarms, and returns its URL as events have it. Adding one again changes nothing.
   *
   * @throws {@link P2ptError}: `invalid_announce_url`, `stopped`.
   */
  addTracker (url: string | URL): Promise<string> { return awaiting(this.#node.addTracker(String(url))) }

  /** Leaves a tracker; peers that were met there stay. Says whether the node had it. */
  removeTracker (url: string | URL): Promise<boolean> { return awaiting(this.#node.removeTracker(String(url))) }

  /** The trackers as they are now. */
  trackerStats (): TrackerStats { return JSON.parse(this.#node.trackers()) }

  /** What the node has counted. */
  metrics (): Metrics { return JSON.parse(this.#node.metrics()) }

  /** Keeps a peer away, in all swarms, for as long as the node lives. A peer that means harm comes back under a new id. */
  async ban (id: string): Promise<void> { await awaiting(this.#node.ban(idText('the id of a peer', id))) }

  /** Lifts a ban; says whether there was one. */
  unban (id: string): boolean { return calling(() => this.#node.unban(idText('the id of a peer', id))) }

  /** What is pinned. */
  get pins (): Pins { return JSON.parse(this.#node.pins()) }

  /**
   * Pins a peer's public key under a name, once two people have compared their safety codes: peers with that key are
   * `pinned` from now on. That it is so already is no error.
   *
   * @throws {@link P2ptError}: `already_pinned`, `invalid_key`; `invalid_option` for a name that is empty or longer than 256
   * bytes; `stopped`.
   */
  async pin (name: string, publicKey: string): Promise<void> {
    await awaiting(this.#node.pin(secretText('a name', name), secretText('a public key', publicKey)))
    this.#handlers.onPinsChanged?.(this.pins)
  }

  /** Takes the pin of a name away; the public key that it had. */
  async unpin (name: string): Promise<string | undefined> {
    const was = await awaiting(this.#node.unpin(secretText('a name', name)))
    if (was !== undefined) this.#handlers.onPinsChanged?.(this.pins)
    return was
  }

  /**
   * Lets the process end while the node runs, as `unref` of a socket of Node does; a node keeps it alive otherwise, until it
   * is shut down. What is sent at that time is lost, and peers take seconds to notice. Does nothing in a browser.
   */
  unref (): this {
    this.#node.keepAlive?.(false)
    return this
  }

  /** Takes {@link unref} back. */
  ref (): this {
    this.#node.keepAlive?.(true)
    return this
  }

  /** Ends the node in order: what was sent leaves, trackers and peers are told, events end. Takes a few seconds at most. */
  shutdown (): Promise<void> { return awaiting(this.#node.shutdown()) }

  [asyncDispose] (): Promise<void> { return this.shutdown() }
}

/** A swarm that a node has joined: the peers under one identifier. */
export class Swarm implements AsyncIterable<SwarmEvent> {
  /** The node that has joined it. */
  readonly node: Node
  readonly #node: BindingNode
  readonly #swarm: BindingSwarm
  /** By number. Not those of all swarms of a node, so that they go with this one if its events are not read. */
  readonly #peers = new Map<number, Peer>()
  readonly #ownsNode: boolean
  /** Events that have crossed and were not handed out, the first of them at `#place`. */
  #batch: SwarmEvent[] = []
  #place = 0
  #crossing: Promise<boolean> | undefined

  /** @internal */
  constructor (node: Node, bindingNode: BindingNode, swarm: BindingSwarm, ownsNode: boolean) {
    this.node = node
    this.#node = bindingNode
    this.#swarm = swarm
    this.#ownsNode = ownsNode
  }

  /** The id of this node. */
  get peerId (): string { return this.node.peerId }
  /** The public key of this node. */
  get publicKey (): string | undefined { return this.node.publicKey }
  /** 40 hexadecimal digits, which is what trackers see of the identifier. */
  get infoHash (): string { return this.#swarm.infoHash() }
  /** What the members share, unless the swarm was joined by its info hash; in a room the name that follows from its secret. */
  get identifier (): string | undefined { return this.#swarm.identifier() }

  /** The peers that are connected now. */
  get peers (): Peer[] {
    const peers: Who[] = JSON.parse(this.#swarm.peers())
    return peers.map(who => this.#peer(...who))
  }

  /** A connected peer by its id. */
  peer (id: string): Peer | undefined { return this.peers.find(peer => peer.id === id) }

  /** Waits until a peer is connected, and hands out one. It is an event all the same. */
  async waitForPeer ({ signal }: WaitOptions = {}): Promise<Peer> {
    const peer = await cancellable(this.#node, signal, ticket => this.#swarm.waitForPeer(ticket))
    const who: Who = JSON.parse(peer)
    return this.#peer(...who)
  }

  /**
   * The events of the swarm, in order. It ends when the swarm was left or the node shut down; a program that stops reading
   * holds up the peers that send. There is one stream of events: two that read it at the same time share it.
   */
  async * events ({ signal }: WaitOptions = {}): AsyncGenerator<SwarmEvent, void, void> {
    for (;;) {
      signal?.throwIfAborted()
      const event = this.#batch[this.#place]
      if (event !== undefined) {
        this.#place++
        yield event
      } else if (!await abortable(this.#cross(), signal)) {
        return
      }
    }
  }

  [Symbol.asyncIterator] (): AsyncGenerator<SwarmEvent, void, void> { return this.events() }

  /** All events that are there, once there are any; none after the last. @internal */
  async nextBatch (): Promise<SwarmEvent[]> {
    if (this.#place === this.#batch.length) await this.#cross()
    const batch = this.#place === 0 ? this.#batch : this.#batch.slice(this.#place)
    this.#batch = []
    this.#place = 0
    return batch
  }

  /** Gets the next events. One call at a time is under way, which all readers share; says whether any have come. */
  #cross (): Promise<boolean> {
    this.#crossing ??= this.#swarm.next().then(batch => {
      this.#crossing = undefined
      this.#batch = batch.map(event => this.#event(event))
      this.#place = 0
      return batch.length > 0
    }, error => { throw fromBinding(error) })
    return this.#crossing
  }

  #peer (number: number, id: string, publicKey: string | null): Peer {
    let peer = this.#peers.get(number)
    if (peer === undefined) {
      peer = new Peer(this.#node, this.#swarm, number, id, publicKey ?? undefined)
      this.#peers.set(number, peer)
    }
    return peer
  }

  #event (crossed: BindingEvent): SwarmEvent {
    if (typeof crossed === 'string') return this.#said(crossed)
    switch (crossed.length) {
      case 4: return new Message(this.#known(crossed[0]), [crossed[1], crossed[2], crossed[3]])
      case 3: return { type: 'data', peer: this.#known(crossed[0]), bytes: crossed[1], isText: crossed[2] }
      default: return typeof crossed[0] === 'string'
        ? this.#said(crossed[0], crossed[1] as BindingReturned)
        : new PeerStream(this.#known(crossed[0]), crossed[1] as BindingStream)
    }
  }

  /** The peer of a number that was introduced before. */
  #known (number: number): Peer { return this.#peer(number, '', null) }

  /** What a line of JSON says; of a peer that has gone with what it had not acknowledged. */
  #said (line: string, returned?: BindingReturned): SwarmEvent {
    const event = JSON.parse(line)
    if (typeof event.peer === 'number') {
      const number: number = event.peer
      const connected = event.type === 'peerConnected'
      const peer = connected ? this.#peer(number, event.id, event.publicKey) : this.#known(number)
      event.peer = peer
      if (connected) {
        peer._know(event)
        for (const name of ['id', 'publicKey', 'trust', 'safetyCode']) delete event[name]
      }
      if (event.type === 'trustChanged') peer._know({ trust: event.now })
      if (event.type === 'peerClosed') {
        this.#peers.delete(number)
        withReturned(event, returned)
      }
    }
    return event
  }

  /**
   * Sends a message, as {@link Peer.send} takes it, to all peers that are connected, and returns for which of them there was no room, and why. It is held
   * in memory once, however many they are. What fails later is a `sendFailed` event.
   */
  broadcast (value: unknown): Array<{ peer: Peer, error: unknown }> {
    const refused: Array<[...Who, string]> = JSON.parse(calling(() => this.#swarm.broadcast(...contentOrBytes(value))))
    return refused.map(([number, id, key, error]) => ({ peer: this.#peer(number, id, key), error: fromBinding(error) }))
  }

  /** Announces to all trackers now, rather than within their intervals. */
  requestMorePeers (): Promise<void> { return awaiting(this.#swarm.requestMorePeers()) }

  /** Announces under another identifier from now on. Connected peers stay. */
  async setIdentifier (key: SwarmKey): Promise<void> { await awaiting(this.#swarm.setIdentifier(...parts(key))) }

  /** Leaves in order: what was sent leaves, trackers and peers are told, events end. */
  leave (): Promise<void> {
    return this.#ownsNode ? this.node.shutdown() : awaiting(this.#swarm.leave())
  }

  [asyncDispose] (): Promise<void> { return this.leave() }
}

/** Gives the event of a peer that has gone its messages that were not acknowledged, which cross when they are asked for. */
function withReturned (event: PeerClosed, binding?: BindingReturned): void {
  let returned: MessageContent[] | undefined
  Object.defineProperty(event, 'returned', {
    enumerable: true,
    get: () => returned ??= (binding?.messages() ?? []).map(message => new MessageContent(message))
  })
}

/** What a peer is introduced by. */
type Who = [number: number, id: string, publicKey: string | null]

const LINK = /^\s*p2pt:/

function parts (key: SwarmKey): BindingKey {
  if (typeof key === 'string') return [key, 'identifier', undefined]
  const { infoHash, secret, identifier, hidden, code, side } = (key ?? {}) as Record<string, unknown>
  if (typeof infoHash === 'string') return [infoHash, 'infoHash', undefined]
  if (secret !== undefined) {
    const text = secretText('the secret of a room', secret)
    const kind = hidden === true ? 'hidden' : 'sealed'
    if (LINK.test(text)) return [text, kind, undefined]
    if (typeof identifier === 'string' && identifier !== '') return [identifier, kind, text]
    throw new P2ptError('invalid_secret', 'it is no link to a room, and a passphrase takes the `identifier` of the room beside it')
  }
  if (code !== undefined) {
    if (side === 'shows' || side === 'types') return [secretText('a code', code), side, undefined]
    throw new P2ptError('invalid_secret', 'a code has a `side`: one of the two \'shows\' it, and the other \'types\' it')
  }
  throw new P2ptError('invalid_id', 'a swarm is joined by its identifier, a string, or by an object with its `infoHash`, a `secret` or a `code`')
}

/** Options in JSON, which would pass over functions and write `null` for numbers that are none. */
function written (options: NodeOptions): string {
  return JSON.stringify(options, (name, value) => {
    const kind = typeof value
    if (kind === 'bigint' || kind === 'function' || kind === 'symbol' || kind === 'number' && !Number.isFinite(value)) {
      throw new P2ptError('invalid_option', `${name}: ${String(value)} is no value of an option`)
    }
    return value
  })
}
