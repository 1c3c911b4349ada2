import { EventEmitter } from './emitter.js'
import { P2ptError } from './errors.js'
import type { Message, Peer } from './peer.js'
import type { P2PT } from './p2pt.js'
import type { SentMessage } from './quiet.js'
import type { SafetyCode, Trust } from './trust.js'

/** The events of a {@link P2ptPeer}, as those of simple-peer. */
export interface PeerEvents {
  data: [bytes: Uint8Array]
  close: []
  disconnect: []
  error: [error: Error]
}

/**
 * A peer as p2pt hands it out: the part of simple-peer that programs use. There is one object for each peer, however many
 * connections there are.
 */
export class P2ptPeer<Msg = any> extends EventEmitter<PeerEvents> {
  /** The id it has announced, 40 hexadecimal digits. */
  readonly id: string
  /** The place among `p2pt.peers[id]`. */
  readonly channelName: string
  /** What programs ask that mind how much they send. */
  readonly _channel: PeerChannel
  /** @internal */
  readonly _peer: Peer
  private readonly _p2pt: P2PT<Msg>
  // An object, so that a view of the peer has it in common with it.
  private readonly _ended = { byProgram: false }

  /** @internal */
  constructor (p2pt: P2PT<Msg>, peer: Peer) {
    super()
    this._p2pt = p2pt
    this._peer = peer
    this.id = peer.id
    this.channelName = peer.id
    this._channel = new PeerChannel(peer)
  }

  /** Its public key, by which it is the same peer from run to run; `undefined` for one that runs npm's p2pt. */
  get publicKey (): string | undefined { return this._peer.publicKey }
  /** How far it is known. */
  get trust (): Trust { return this._peer.trust }
  /** What both sides see alike, for two people to compare; `undefined` for a peer without a key. */
  get safetyCode (): SafetyCode | undefined { return this._peer.safetyCode }
  /** Whether it can be talked to. */
  get connected (): boolean { return this._peer.connected }
  /** Whether it was destroyed or has gone. A peer that was destroyed says nothing more; `peerclose` comes when it is gone. */
  get destroyed (): boolean { return this._ended.byProgram || !this._peer.connected }
  /** @internal */
  get _isDestroyed (): boolean { return this._ended.byProgram }
  get bufferSize (): number { return this._peer.bufferedAmount }

  /**
   * Responds to the last message of the peer. A program that responds later than in the handler of `msg` itself responds
   * with the third argument of that event, since the next message takes this one's place; so does p2pt.
   */
  respond: (message: Msg) => SentMessage<[P2ptPeer<Msg>, any]> = message => {
    throw new P2ptError('not_connected', `the peer has sent nothing to respond to: ${String(message)}`)
  }

  /** @internal */
  _answer (message: Message): void {
    this.respond = response => this._p2pt._send(this, response, message.id)
  }

  /** Sends one frame as it is, which is a `data` event at the other side. The promise need not be awaited. */
  send (frame: string | ArrayBufferLike | ArrayBufferView): Promise<void> {
    const sent = this._peer.sendFrame(frame)
    this._channel._watch(sent)
    return sent
  }

  /** Ends the connection; what was sent leaves first. */
  destroy (): void {
    if (this._ended.byProgram) return
    this._ended.byProgram = true
    void this._peer.disconnect()
  }
}

/** As much of an `RTCDataChannel` as programs look at. */
export class PeerChannel extends EventTarget {
  /** `bufferedamountlow` is dispatched when what is buffered falls to this many bytes. */
  bufferedAmountLowThreshold = 0
  onbufferedamountlow: ((event: Event) => unknown) | null = null
  readonly #peer: Peer
  #above = false

  /** @internal */
  constructor (peer: Peer) {
    super()
    this.#peer = peer
  }

  /** Bytes that were sent and have not left yet. */
  get bufferedAmount (): number { return this.#peer.bufferedAmount }
  get readyState (): 'open' | 'closed' { return this.#peer.connected ? 'open' : 'closed' }
  get label (): string { return this.#peer.id }

  /** Looks at what is buffered now, and when this has left. @internal */
  _watch (sent: Promise<void>): void {
    this.#above ||= this.bufferedAmount > this.bufferedAmountLowThreshold
    const look = (): void => { this.#look() }
    sent.then(look, look)
  }

  #look (): void {
    if (!this.#above || this.bufferedAmount > this.bufferedAmountLowThreshold) return
    this.#above = false
    const event = new Event('bufferedamountlow')
    this.dispatchEvent(event)
    this.onbufferedamountlow?.(event)
  }
}
