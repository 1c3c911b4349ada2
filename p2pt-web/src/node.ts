import { abortable, cancellable, type WaitOptions } from './abort.js'
import type { BindingEvent, BindingNode, BindingSwarm } from './binding.js'
import { awaiting, calling, fromBinding, P2ptError } from './errors.js'
import type { SwarmEvent } from './events.js'
import type { NodeOptions } from './options.js'
import { content, idText, Message, Peer } from './peer.js'
import { binding } from './platform.js'
import type { Metrics, TrackerStats } from './stats.js'

/** What a swarm is joined by: an identifier that its members share, or the SHA-1 of one, 40 hexadecimal digits. */
export type SwarmKey = string | { infoHash: string }

// Firefox ESR and Safari have no such symbol yet; TypeScript's `await using` takes the registered one there.
const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose') as typeof Symbol.asyncDispose

/**
 * Starts a node.
 *
 * @throws {@link P2ptError}: `invalid_option`, `invalid_announce_url`, `invalid_id`, `start_failed`.
 */
export async function startNode (options: NodeOptions = {}, { signal }: WaitOptions = {}): Promise<Node> {
  const { startNode } = await abortable(binding(), signal)
  const node = new Node(await awaiting(startNode(written(options))))
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

  /** @internal */
  constructor (node: BindingNode) {
    this.#node = node
  }

  /** Its id, 40 hexadecimal digits. */
  get peerId (): string { return this.#node.peerId() }

  /**
   * Joins a swarm; meeting its members begins at once.
   *
   * @throws {@link P2ptError}: `already_joined`, `stopped`, `invalid_id`.
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
  /** 40 hexadecimal digits, which is what trackers see of the identifier. */
  get infoHash (): string { return this.#swarm.infoHash() }
  /** What the members share, unless the swarm was joined by its info hash. */
  get identifier (): string | undefined { return this.#swarm.identifier() }

  /** The peers that are connected now. */
  get peers (): Peer[] {
    const peers: Array<[number, string]> = JSON.parse(this.#swarm.peers())
    return peers.map(([number, id]) => this.#peer(number, id))
  }

  /** A connected peer by its id. */
  peer (id: string): Peer | undefined { return this.peers.find(peer => peer.id === id) }

  /** Waits until a peer is connected, and hands out one. It is an event all the same. */
  async waitForPeer ({ signal }: WaitOptions = {}): Promise<Peer> {
    const peer = await cancellable(this.#node, signal, ticket => this.#swarm.waitForPeer(ticket))
    const [number, id]: [number, string] = JSON.parse(peer)
    return this.#peer(number, id)
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

  #peer (number: number, id: string): Peer {
    let peer = this.#peers.get(number)
    if (peer === undefined) {
      peer = new Peer(this.#node, this.#swarm, number, id)
      this.#peers.set(number, peer)
    }
    return peer
  }

  #event (crossed: BindingEvent): SwarmEvent {
    if (typeof crossed !== 'string') {
      const peer = this.#peer(crossed[0], '')
      return crossed.length === 4
        ? new Message(peer, [crossed[1], crossed[2], crossed[3]])
        : { type: 'data', peer, bytes: crossed[1], isText: crossed[2] }
    }
    const event = JSON.parse(crossed)
    if (typeof event.peer === 'number') {
      const number: number = event.peer
      const connected = event.type === 'peerConnected'
      event.peer = this.#peer(number, connected ? event.id : '')
      if (connected) delete event.id
      if (event.type === 'peerClosed') this.#peers.delete(number)
    }
    return event
  }

  /**
   * Sends a message to all peers that are connected, and returns for which of them there was no room, and why. It is held
   * in memory once, however many they are. What fails later is a `sendFailed` event.
   */
  broadcast (value: unknown): Array<{ peer: Peer, error: unknown }> {
    const refused: Array<[number, string, string]> = JSON.parse(calling(() => this.#swarm.broadcast(...content(value))))
    return refused.map(([number, id, error]) => ({ peer: this.#peer(number, id), error: fromBinding(error) }))
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

function parts (key: SwarmKey): [key: string, isInfoHash: boolean] {
  if (typeof key === 'string') return [key, false]
  if (typeof key?.infoHash === 'string') return [key.infoHash, true]
  throw new P2ptError('invalid_id', 'a swarm is joined by its identifier, a string, or by an object with its `infoHash`')
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
