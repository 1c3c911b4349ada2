/** A STUN or TURN server, as `RTCIceServer` has it. */
export interface IceServer {
  /** `stun:host[:port]` or `turn:host[:port]`; in browsers `turns:` too. */
  urls: string | string[]
  username?: string
  credential?: string
}

/**
 * What can be set. Times are in milliseconds. An option that is unknown or of a wrong type is an error with its name
 * (`invalid_option`), never passed over.
 */
export interface NodeOptions {
  /** Announce URLs of the trackers at which peers meet, `wss://…` or `ws://…`. None is built in. */
  trackers?: string[]
  /** The node's id, 40 hexadecimal digits. Drawn at random unless given; two live nodes must never share one. */
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
