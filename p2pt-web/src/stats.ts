/** A connection to a peer. */
export interface ConnectionStats {
  /** The kind of address this side sends from: `host`, `srflx`, `prflx`, or `relay` where a TURN server is between. */
  localCandidate: string | null
  /** That of the other side. */
  remoteCandidate: string | null
  /** The last measured round trip, in milliseconds. */
  roundTrip: number | null
  bytesSent: number
  bytesReceived: number
}

/** A node's trackers. */
export interface TrackerStats {
  /** How many have answered an announce on their present connection. */
  connected: number
  total: number
  trackers: TrackerState[]
}

/** A tracker as it is now. */
export interface TrackerState {
  url: string
  status: 'idle' | 'connecting' | 'connected' | 'waiting' | 'closing' | 'stopped'
  /** Milliseconds until the next attempt, while `waiting`. */
  retryIn?: number
  /** What went wrong last. */
  lastError?: string
  swarms: TrackerSwarmState[]
}

/** What is known of a swarm at a tracker. */
export interface TrackerSwarmState {
  infoHash: string
  /** Whether the tracker has confirmed that this node is a member. */
  announced: boolean
  /** All members as last reported, usually with this node among them. */
  members: number | null
  /** Offers that wait to be announced or answered. */
  offers: number
  /** How long the tracker took for its last reply, in milliseconds. */
  replyTime: number | null
}

/** What a node has counted since its start, and holds now: numbers by name, which are those of Rust's `NodeMetrics`. */
export type Metrics = Record<string, number>
