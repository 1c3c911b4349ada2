import type { Pins } from './trust.js'

/** A STUN or TURN server, as `RTCIceServer` has it. */
export interface IceServer {
  /** `stun:host[:port]` or `turn:host[:port]`; in browsers `turns:` too. */
  urls: string | string[]
  username?: string
  credential?: string
}

/** What a node calls. */
export interface NodeHandlers {
  /**
   * Is given all pins whenever one was added or taken away: what a page writes into its `localStorage`, and gives as `pins`
   * when it is opened the next time.
   */
  onPinsChanged?: (pins: Pins) => unknown
}

/**
 * What can be set. Times are in milliseconds. An option that is unknown or of a wrong type is an error with its name
 * (`invalid_option`), never passed over.
 */
export interface NodeOptions extends NodeHandlers {
  /** Announce URLs of the trackers at which peers meet, `wss://…` or `ws://…`. None is built in. */
  trackers?: string[]
  /**
   * The node's key, by which others know it from run to run: a text that `generateKey` made and the program has kept. Drawn
   * for each run unless given. The node's id follows from it, and from what is drawn for each run.
   */
  key?: string
  /**
   * Which peers are let in, by their keys: `'open'`, unless given, for all, since npm's p2pt has none; `'signed'` for those
   * with a key; `{ only: […] }` for those with one of these public keys. Others are `connectionRejected`.
   */
  policy?: 'open' | 'signed' | { only: string[] }
  /**
   * Holds peers back until so many trackers, on different hosts, show their keys, for 60 s at most. It proves reach, and not
   * honesty: it finds out a tracker that shows another peer than the others do.
   */
  requireAgreement?: number
  /** Public keys by name that are pinned from the start. */
  pins?: Pins
  /**
   * The node's id, 40 hexadecimal digits, instead of the one that follows from its key. Such a node has no key, and others
   * see it as `unsigned`; it cannot have a `key` or a `policy`, nor join by a code. Two live nodes must never share one.
   */
  peerId?: string
  /** The ids of the only peers that are let in. */
  allow?: string[]
  /** STUN and TURN servers. Unless given: two public STUN servers (of Google and Twilio); `[]` for none. */
  iceServers?: IceServer[]
  /** `'relay'`: only paths through a TURN server, so that peers learn no address of this machine. `'all'` unless given. */
  iceTransportPolicy?: 'all' | 'relay'
  /** Peers kept in each swarm; 100 unless given. */
  maxPeers?: number
  /** Connections kept to each peer; 1 unless given. With 2, messages go on over the other when one fails. */
  connectionsPerPeer?: number
  /** Connections of all swarms together; 128 in browsers and 256 in Node unless given. */
  maxConnections?: number
  /** The largest message sent or received, in bytes of UTF-8; 64 MiB unless given. */
  maxMessageBytes?: number
  /** Bytes that may wait to be sent to each peer; 128 MiB unless given. Beyond that `send` fails with `queue_full`. */
  sendQueueBytes?: number
  /** Bytes that may wait to be sent to all peers together; 256 MiB unless given, of which one peer gets half at most. */
  sendMemory?: number
  /** Bytes of unread messages kept for each peer before it is held up; 1 MiB unless given. */
  inboxBytes?: number
  /** Bytes that all peers together may make the node hold; 256 MiB unless given. */
  receiveMemory?: number
  /** How long a request waits for its response; 30,000 unless given. */
  requestTimeout?: number
  /** How long a peer may take nothing at all before a send fails; 30,000 unless given. */
  sendTimeout?: number
  /** How long what was sent may take to leave when a connection is ended; 5,000 unless given. */
  flushTimeout?: number
  /** How long an offer or answer waits for STUN and TURN servers; 1,000 in browsers and 300 in Node unless given. */
  gatherTimeout?: number
  /** How long an offer waits for an answer; 120,000 unless given. */
  answerTimeout?: number
  /** How long a connection may take to open; 30,000 unless given. */
  connectTimeout?: number
  /** How long nothing may come over a connection before it counts as dead; 4,000 unless given. */
  idleTimeout?: number
}
