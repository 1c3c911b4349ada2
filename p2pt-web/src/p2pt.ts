import { EventEmitter, report } from './emitter.js'
import { P2ptError } from './errors.js'
import type { ConnectionRejected, PeerClosed, SwarmEvent, TrustChanged } from './events.js'
import { startNode, type Node, type Swarm, type SwarmKey } from './node.js'
import type { IceServer, NodeOptions } from './options.js'
import type { Message, Peer } from './peer.js'
import { P2ptPeer } from './p2pt-peer.js'
import { binding } from './platform.js'
import { quiet } from './abort.js'
import { SentMessage } from './quiet.js'
import { generateKey, type Pins } from './trust.js'
import { Waiters } from './waiters.js'

/** What `getTrackerStats` says. */
export interface TrackerCounts { connected: number, total: number }

/** A tracker, as the event `trackerconnect` has it. */
export interface Tracker {
  /** Its URL as the program wrote it. */
  announceUrl: string
}

/** What the constructor of {@link P2PT} takes beside the trackers and the identifier. */
export interface P2PTOptions extends NodeOptions {
  /** A room's link `p2pt:…#…`, beside which the identifier means nothing; or its passphrase, with its name as identifier. */
  secret?: string
  /** Whether only the name of that room is hidden, so that npm's p2pt can join it that is told `swarm.identifier`. */
  hidden?: boolean
  /** A code of four words, by which two meet, with this program's `side` of it. */
  code?: string
  side?: 'shows' | 'types'
}

/** The events of {@link P2PT}. */
export interface P2PTEvents<Msg> {
  /** A peer can be talked to. */
  peerconnect: [peer: P2ptPeer<Msg>]
  /** A peer has gone. */
  peerclose: [peer: P2ptPeer<Msg>, closed: PeerClosed]
  /** A message has come that is no response to one of `send`. The third argument responds to this message at any time. */
  msg: [peer: P2ptPeer<Msg>, message: any, received: Message]
  /** A frame has come that is no part of a message. */
  data: [peer: P2ptPeer<Msg>, bytes: Uint8Array]
  /** A connected peer is known better or less than before. */
  trustchange: [peer: P2ptPeer<Msg>, changed: TrustChanged]
  /** A peer was not let in, for another reason than that it is connected already. */
  peerrejected: [rejected: ConnectionRejected]
  /** A pin was added or taken away: all that there are now. */
  pinschange: [pins: Pins]
  /** A tracker is reached. */
  trackerconnect: [tracker: Tracker, stats: TrackerCounts]
  /** A tracker, or a STUN or TURN server, gives trouble. Peers are sought on. */
  trackerwarning: [error: Error, stats: TrackerCounts]
}

/** The tuple that a response comes in. */
export type PeerResponse<Msg> = [peer: P2ptPeer<Msg>, message: any]

// The ids of npm's p2pt lie below; with one of those a message of ours could be taken for the response to a message that
// a JavaScript peer once sent.
const LEAST_ID = 200_000
const randomId = (): number => LEAST_ID + Math.floor(Math.random() * (Number.MAX_SAFE_INTEGER - LEAST_ID))

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(hex.match(/../g) ?? [], byte => parseInt(byte, 16))
const binaryOf = (hex: string): string => String.fromCharCode(...bytesOf(hex))

/**
 * The class of npm's p2pt 1.6.2, over the Rust library: a program changes its import and nothing else. What differs is
 * listed in the README.
 *
 * `Msg` is what the program sends; what it gets is `any`, since a peer may send anything.
 */
export class P2PT<Msg = any> extends EventEmitter<P2PTEvents<Msg>> {
  /** The trackers as they were given. Changed by {@link addTracker} and {@link removeTracker}, read by {@link start}. */
  announceURLs: string[]
  identifierString = ''
  /** The SHA-1 of the identifier, 40 hexadecimal digits, once the library is loaded. */
  infoHash: Promise<string> | undefined
  /** By place in `announceURLs`. */
  trackers: Record<string, Tracker> = {}
  /** The peers that are connected, by id; in each its connection, by name. */
  peers: Record<string, Record<string, P2ptPeer<Msg>>> = {}
  /** The STUN and TURN servers for {@link start}. While the list is the empty one it begins with, public ones are used. */
  _rtcConfig: { iceServers?: IceServer[], iceTransportPolicy?: 'all' | 'relay' }
  /**
   * This side's peer id: 20 bytes, the same in hexadecimal, and as a string of 20 characters. It follows from the key, and is
   * empty until {@link start} has resolved, unless it was given as an option.
   */
  _peerIdBuffer: Uint8Array = new Uint8Array()
  _peerId = ''
  _peerIdBinary = ''
  _infoHashBuffer: Uint8Array | undefined
  _infoHashBinary: string | undefined

  readonly #options: NodeOptions
  readonly #secrets: Pick<P2PTOptions, 'secret' | 'hidden' | 'code' | 'side'>
  /** The key of every run of this object. */
  #key: string | undefined
  readonly #noServers: IceServer[] = []
  readonly #known = new Map<Peer, P2ptPeer<Msg>>()
  readonly #waiters = new Waiters<Peer, PeerResponse<Msg>>()
  /** The trackers' URLs as the library has them, by those that were given. */
  readonly #urls = new Map<string, string>()
  #starting: Promise<Node> | undefined
  #node: Node | undefined
  #swarm: Swarm | undefined
  /** From a `start` to the `destroy` after it. What the swarm of an earlier run still has to say is how its peers go. */
  #run = { over: false }
  /** What hands out the events of `#swarm`. */
  #listening: Promise<void> = Promise.resolve()
  /** What changes the node, one after the other. */
  #commands: Promise<unknown> = Promise.resolve()

  /**
   * @param announceURLs the announce URLs of trackers, `wss://…` or `ws://…`
   * @param identifierString what the peers share that are to meet
   * @param options what else can be set, which npm's p2pt has no argument for
   */
  constructor (announceURLs: Array<string | URL> = [], identifierString: string | number = '', options: P2PTOptions = {}) {
    super()
    const { iceServers, trackers, secret, hidden, code, side, ...others } = options
    this.announceURLs = [...announceURLs, ...trackers ?? []].map(String)
    this._rtcConfig = { iceServers: iceServers ?? this.#noServers }
    this.#options = others
    this.#secrets = { ...secret !== undefined && { secret }, ...hidden !== undefined && { hidden },
      ...code !== undefined && { code }, ...side !== undefined && { side } }
    this.#key = options.key
    if (options.peerId !== undefined) this.#setPeerId(options.peerId)
    if (identifierString !== '') void this.setIdentifier(identifierString)
  }

  /** Sets the identifier; once started, peers stay connected, and those under the new one are met beside them. */
  setIdentifier (identifier: string | number): Promise<void> {
    const identifierString = String(identifier)
    const run = this.#run
    this.identifierString = identifierString
    // That of a room follows from its secret, which the library alone can compute.
    if (!this.#isSecret) this.infoHash = quiet(binding().then(({ infoHashOf }) => infoHashOf(identifierString)))
    const set = this.#command(async node => {
      if (this.#swarm === undefined) return await this.#join(node, run)
      await this.#swarm.setIdentifier(this.#swarmKey)
      if (this.#isSecret) this.infoHash = Promise.resolve(this.#swarm.infoHash)
    })
    return quiet(Promise.all([this.infoHash, set]).then(() => this.#setInfoHash()))
  }

  #setPeerId (peerId: string): void {
    this._peerId = peerId
    this._peerIdBuffer = bytesOf(peerId)
    this._peerIdBinary = binaryOf(peerId)
  }

  /** Whether the swarm has another name than the identifier. */
  get #isSecret (): boolean { return this.#secrets.secret !== undefined || this.#secrets.code !== undefined }

  get #swarmKey (): SwarmKey {
    const { secret, hidden, code, side } = this.#secrets
    if (code !== undefined) return { code, side: side as 'shows' | 'types' }
    if (secret === undefined) return this.identifierString
    return { secret, identifier: this.identifierString, ...hidden !== undefined && { hidden } }
  }

  async #setInfoHash (): Promise<void> {
    const hash = await this.infoHash
    if (hash === undefined) return
    this._infoHashBuffer = bytesOf(hash)
    this._infoHashBinary = binaryOf(hash)
  }

  /**
   * Begins to seek peers. The promise resolves when that has begun; what keeps it from beginning is also a
   * `trackerwarning`, and is printed where nothing listens to those, since programs do not await this.
   */
  start (): Promise<void> {
    if (this.#starting === undefined) {
      const run = { over: false }
      this.#run = run
      const starting = this.#startNode(run)
      this.#starting = starting
      starting.catch(error => {
        if (this.#starting === starting) this.#starting = undefined
        if (error instanceof P2ptError && error.code === 'aborted') return
        if (!this.emit('trackerwarning', error, this.getTrackerStats())) console.error(error)
      })
    }
    return quiet(this.#starting.then(() => {}))
  }

  async #startNode (run: { over: boolean }): Promise<Node> {
    // A node before this one ends first, since an id that was given is the same.
    await this.#commands.catch(() => {})
    const { iceServers, iceTransportPolicy } = this._rtcConfig
    const isUnset = iceServers === this.#noServers && iceServers.length === 0
    const node = await startNode({
      ...this.#options,
      ...this.#options.peerId === undefined && { key: this.#key ??= await generateKey() },
      ...iceServers !== undefined && !isUnset && { iceServers },
      ...iceTransportPolicy !== undefined && { iceTransportPolicy },
      onPinsChanged: pins => {
        this.emit('pinschange', pins)
        this.#options.onPinsChanged?.(pins)
      }
    })
    this.#node = node
    this.#setPeerId(node.peerId)
    this.announceURLs.forEach((announceUrl, place) => { this.trackers[place] = { announceUrl } })
    await Promise.all(this.announceURLs.map(url => this.#addTracker(node, url)))
    if (this.identifierString !== '' || this.#isSecret) await this.#join(node, run)
    return node
  }

  async #join (node: Node, run: { over: boolean }): Promise<void> {
    const swarm = await node.join(this.#swarmKey)
    this.#swarm = swarm
    if (this.#isSecret) {
      this.infoHash = Promise.resolve(swarm.infoHash)
      await this.#setInfoHash()
    }
    this.#listening = this.#listen(swarm, run)
  }

  async #listen (swarm: Swarm, run: { over: boolean }): Promise<void> {
    for (;;) {
      const batch = await swarm.nextBatch()
      if (batch.length === 0) return
      for (const event of batch) {
        // What handlers have destroyed says nothing more, but for how its peers go.
        if (run.over && event.type !== 'peerClosed') continue
        try {
          this.#handle(event)
        } catch (error) {
          // Such as that this engine cannot read a JSON that is one. No peer is to make this deaf.
          report(error)
        }
      }
    }
  }

  /** The peer of an event, unless the program has destroyed it. */
  #heard (peer: Peer): P2ptPeer<Msg> | undefined {
    const known = this.#known.get(peer)
    return known?._isDestroyed === true ? undefined : known
  }

  #handle (event: SwarmEvent): void {
    switch (event.type) {
      case 'message':
        return this.#message(event)
      case 'data': {
        const peer = this.#heard(event.peer)
        if (peer === undefined) return
        this.emit('data', peer, event.bytes)
        peer.emit('data', event.bytes)
        return
      }
      case 'peerConnected': {
        const peer = new P2ptPeer(this, event.peer)
        this.#known.set(event.peer, peer)
        this.peers[peer.id] = { [peer.channelName]: peer }
        this.emit('peerconnect', peer)
        return
      }
      case 'peerClosed':
        return this.#closed(event)
      case 'trustChanged': {
        const peer = this.#heard(event.peer)
        if (peer !== undefined) this.emit('trustchange', peer, event)
        return
      }
      case 'stream':
        // npm's p2pt has none, so the peer learns at once that nothing comes of it.
        event.reset()
        event.stop()
        return
      case 'connectionRejected':
        if (event.code !== 'duplicate') this.emit('peerrejected', event)
        return
      case 'trackerConnected': {
        const announceUrl = this.#given(event.tracker)
        const tracker = Object.values(this.trackers).find(tracker => tracker?.announceUrl === announceUrl)
        this.emit('trackerconnect', tracker ?? { announceUrl }, this.getTrackerStats())
        return
      }
      case 'trackerWarning':
        return this.#warn(`tracker error at ${this.#given(event.tracker)}: ${event.message}`)
      case 'offerFailed':
      case 'serverWarning':
        return this.#warn(`error: ${event.message}${event.advice === null ? '' : `; ${event.advice}`}`)
      default:
    }
  }

  #message (message: Message): void {
    const peer = this.#heard(message.peer)
    if (peer === undefined) return
    peer._answer(message)
    const waiter = this.#waiters.take(message.peer, message.id)
    if (waiter === undefined) {
      this.emit('msg', peer, message.value, message)
      return
    }
    // A handler of the response may run after the next message has been given to `peer`, and responds to this one.
    const view = Object.create(peer)
    view.respond = peer.respond
    waiter.resolve([view, message.value])
  }

  #closed (event: PeerClosed): void {
    const peer = this.#known.get(event.peer)
    if (peer === undefined) return
    this.#known.delete(event.peer)
    if (this.peers[peer.id]?.[peer.channelName] === peer) delete this.peers[peer.id]
    const error = new P2ptError('peer_gone', `the peer went before it responded: ${event.reason}`)
    for (const waiter of this.#waiters.takeAll(event.peer)) waiter.reject(error)
    this.emit('peerclose', peer, event)
    peer.emit('disconnect')
    peer.emit('close')
  }

  #warn (message: string): void {
    this.emit('trackerwarning', new P2ptError('other', message), this.getTrackerStats())
  }

  /** A tracker's URL as the program wrote it. */
  #given (tracker: string): string {
    for (const [given, url] of this.#urls) if (url === tracker) return given
    return tracker
  }

  /**
   * Sends a message: a string as text, everything else as JSON. Messages to a peer leave in the order of the calls, awaited
   * or not.
   *
   * The promise resolves with the response, if the peer responds, and rejects if the message is not sent or the peer goes
   * first. It need not be awaited. Of 4,096 responses that are waited for, the oldest is given up for the next.
   *
   * @param msgID the id of the message to which this is the response; `peer.respond` gives it
   */
  send (peer: P2ptPeer<Msg>, msg: Msg, msgID: number | string = ''): SentMessage<PeerResponse<Msg>> {
    return this._send(peer, msg, JSON.stringify(msgID === '' ? randomId() : msgID))
  }

  /** Sends a message under an id as it came: JavaScript would write some numbers and objects in another way. @internal */
  _send (peer: P2ptPeer<Msg>, msg: Msg, id: string): SentMessage<PeerResponse<Msg>> {
    let settle!: { resolve: (response: PeerResponse<Msg>) => void, reject: (error: unknown) => void }
    const response = SentMessage.of<PeerResponse<Msg>>((resolve, reject) => { settle = { resolve, reject } })
    const to = this.#target(peer)
    const replaced = this.#waiters.add(to, id, settle)
    replaced?.reject(new P2ptError('replaced', 'a later response to the same message took the place of this one'))
    const sent = to.begin(id, msg)
    if (sent === undefined) return response
    response.sent = sent
    peer._channel?._watch(sent)
    sent.catch(error => {
      this.#waiters.drop(to, id, settle)
      settle.reject(error)
    })
    return response
  }

  /** The peer that is meant: by an object of a peer that has gone, the one that has come back under its id. */
  #target (peer: P2ptPeer<Msg>): Peer {
    if (peer._peer.connected) return peer._peer
    return Object.values(this.peers[peer.id] ?? {}).find(other => other.connected)?._peer ?? peer._peer
  }

  /** Adds a tracker. Throws if there is one of that URL. */
  addTracker (url: string | URL): void {
    const announceURL = String(url)
    if (this.announceURLs.includes(announceURL)) {
      throw new P2ptError('invalid_announce_url', `there is a tracker ${announceURL} already`)
    }
    const place = this.announceURLs.push(announceURL) - 1
    this.trackers[place] = { announceUrl: announceURL }
    void this.#command(node => this.#addTracker(node, announceURL))
  }

  async #addTracker (node: Node, announceURL: string): Promise<void> {
    try {
      this.#urls.set(announceURL, await node.addTracker(announceURL))
    } catch (error) {
      this.#warn(`tracker error at ${announceURL}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  /** Removes a tracker; the peers that were met there stay. Throws if there is none of that URL. */
  removeTracker (url: string | URL): void {
    const announceURL = String(url)
    const place = this.announceURLs.indexOf(announceURL)
    if (place < 0) throw new P2ptError('invalid_announce_url', `there is no tracker ${announceURL}`)
    this.announceURLs.splice(place, 1)
    this.trackers = Object.fromEntries(this.announceURLs.map((announceUrl, place) => [place, { announceUrl }]))
    void this.#command(async node => {
      const ours = this.#urls.get(announceURL)
      this.#urls.delete(announceURL)
      // Another way to write the same URL may still be there.
      if (ours !== undefined && ![...this.#urls.values()].includes(ours)) await node.removeTracker(ours)
    })
  }

  /** Announces to all trackers now. The promise has the peers that are connected, as npm's p2pt has it. */
  requestMorePeers (): Promise<Record<string, Record<string, P2ptPeer<Msg>>>> {
    const asked = this.#command(async () => { await this.#swarm?.requestMorePeers() })
    return quiet(asked.then(() => this.peers))
  }

  /** How many trackers are reached, and how many there are. */
  getTrackerStats (): TrackerCounts {
    const total = this.announceURLs.length
    if (this.#node === undefined) return { connected: 0, total }
    const { connected, trackers } = this.#node.trackerStats()
    // The node takes a moment to leave a tracker that was removed.
    const kept = new Set(this.announceURLs.map(url => this.#urls.get(url)))
    const left = trackers.filter(({ url, swarms }) => !kept.has(url) && swarms.some(({ announced }) => announced))
    return { connected: Math.max(connected - left.length, 0), total }
  }

  /** Ends everything: peers and trackers are told. The promise resolves when that is done, and need not be awaited. */
  destroy (): Promise<void> {
    const starting = this.#starting
    this.#starting = undefined
    this.#run.over = true
    // It is ending, or has ended.
    if (starting === undefined) return quiet(this.#commands.then(() => {}))
    const done = starting.then(node => node.shutdown(), () => {}).then(() => this.#listening).then(() => {
      this.#node = undefined
      this.#swarm = undefined
      this.#urls.clear()
    })
    this.#commands = done
    return quiet(done)
  }

  /** The public key of this side, by which others know it, once it has started; `undefined` if it was given a `peerId`. */
  get publicKey (): string | undefined { return this.#node?.publicKey }

  /** Pins a peer's public key under a name, as {@link Node.pin} does. */
  pin (name: string, publicKey: string): Promise<void> { return quiet(this.#started.then(node => node.pin(name, publicKey))) }

  /** Takes the pin of a name away; the public key that it had. */
  unpin (name: string): Promise<string | undefined> { return quiet(this.#started.then(node => node.unpin(name))) }

  get #started (): Promise<Node> {
    return this.#starting ?? Promise.reject(new P2ptError('not_connected', 'it is to be started first'))
  }

  /** The node beneath, of the modern API: for statistics, and all that p2pt has no call for. */
  get node (): Node | undefined { return this.#node }

  /** The swarm beneath. Its events are taken by this object. */
  get swarm (): Swarm | undefined { return this.#swarm }

  /** Does something with the node once it has started, after what was to be done before; nothing unless it is to start. */
  #command (act: (node: Node) => Promise<void>): Promise<void> {
    const starting = this.#starting
    if (starting === undefined) return Promise.resolve()
    const done = this.#commands.catch(() => {}).then(() => starting).then(node => {
      // It may have been destroyed meanwhile.
      return this.#starting === starting ? act(node) : undefined
    })
    this.#commands = done
    return quiet(done)
  }
}

