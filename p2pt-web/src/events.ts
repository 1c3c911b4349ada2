import type { MessageContent } from './content.js'
import type { ErrorCode } from './errors.js'
import type { Message, Peer } from './peer.js'
import type { PeerStream } from './stream.js'
import type { Trust } from './trust.js'

/** A peer can be talked to. */
export interface PeerConnected { type: 'peerConnected', peer: Peer }

/** The last connection to a peer is gone, and everything it sent has been read. */
export interface PeerClosed {
  type: 'peerClosed'
  peer: Peer
  /** Which side ended it, or what did. */
  code: 'local' | 'remote' | 'timeout' | 'overflow' | 'shut_down' | 'failed'
  /** The same in a sentence. */
  reason: string
  /** Bytes whose arrival the other side never confirmed: what may have been lost. */
  unacknowledgedBytes: number
  /** Messages and frames that waited for room when it ended, which is also what their promises say. */
  unsentMessages: number
  unsentBytes: number
  /** With what the peer has left ({@link Peer.leave}): a number and a text of its own. `null` if it did not say. */
  left: { code: number, text: string } | null
  /**
   * The messages that the peer has not acknowledged, in the order of sending, and those that were not sent; no requests, since
   * each has its own error. Of those that were sent it is not known whether they have come: a program that sends them again
   * may double them. Of a peer that acknowledges nothing, only those that were not sent.
   */
  readonly returned: MessageContent[]
}

/** A connected peer is known better or less than before: further trackers show its key, or it was pinned or unpinned. */
export interface TrustChanged { type: 'trustChanged', peer: Peer, was: Trust, now: Trust }

/** A frame that is no part of a message: what the other side sent with `sendFrame`, or JavaScript's `peer.send`. */
export interface DataFrame {
  type: 'data'
  peer: Peer
  bytes: Uint8Array
  /** Whether it was sent as text; `bytes` are its UTF-8 then. */
  isText: boolean
}

/** What was broadcast was not sent to a peer, though it is there. */
export interface SendFailed {
  type: 'sendFailed'
  peer: Peer
  /** The id of the message, as JSON; `null` for a frame. */
  id: string | null
  code: ErrorCode
  message: string
  /** How many more of this peer just after this one were dropped, because 32 were not read. */
  missed: number
}

/** A peer has sent what is no message; it is lost. */
export interface InvalidFrame { type: 'invalidFrame', peer: Peer, message: string }

/** A tracker is reached, and has answered an announce on its present connection for the first time. */
export interface TrackerConnected { type: 'trackerConnected', tracker: string, connected: number, total: number }

/** A tracker gives trouble. Peers are sought on, there and elsewhere. */
export interface TrackerWarning {
  type: 'trackerWarning'
  tracker: string
  code: 'connect_failed' | 'disconnected' | 'timeout' | 'peer_id_in_use' | 'other'
  message: string
  /** How many warnings of the kind were not kept since the last one that was read. */
  missed: number
}

/** An attempt to connect to a peer, of which no more is known than what a tracker said, has failed. */
export interface ConnectionFailed {
  type: 'connectionFailed'
  peerId: string
  tracker: string
  message: string
  /** What people can do about it. */
  advice: string | null
  missed: number
}

/**
 * Why a peer was not let in.
 *
 * | code | why |
 * |---|---|
 * | `full`, `busy` | there are as many peers, or attempts to connect, as may be |
 * | `duplicate` | it is connected already, which is normal |
 * | `filtered`, `banned` | `allow` does not have its id, or `ban` has |
 * | `not_the_same_peer` | another peer is connected under its id |
 * | `unsigned` | it has no key, and the `policy` asks for one, or its id belongs to a key that was met |
 * | `wrong_key` | the `policy` does not have its key |
 * | `bad_signature`, `replayed`, `not_confirmed` | what came is not what the owner of the key has sent: `isForgery` |
 * | `wrong_room` | it does not have the room's secret |
 * | `wrong_code` | it did not prove the code; the person who gave the code out is to be told that it was guessed at |
 * | `code_void` | the code is of no use any more |
 * | `refused` | a handshake has not accepted it |
 * | `not_vouched` | fewer trackers show its key than `requireAgreement` asks for |
 * | `other` | something that has no code yet |
 */
export type RejectedCode =
  | 'full' | 'duplicate' | 'busy' | 'filtered' | 'banned' | 'not_the_same_peer' | 'unsigned' | 'bad_signature' | 'replayed'
  | 'wrong_key' | 'wrong_room' | 'not_confirmed' | 'wrong_code' | 'code_void' | 'refused' | 'not_vouched' | 'other'

/** A peer that a tracker introduced was not let in. With `duplicate` that is normal, and worth no line in a log. */
export interface ConnectionRejected {
  type: 'connectionRejected'
  peerId: string
  tracker: string
  code: RejectedCode
  message: string
  /** Whether the tracker, or something between it and the peer, may have forged what it brought: honest ones cause none. */
  isForgery: boolean
  /** With `wrong_code`: attempts that may still fail before the code is void. */
  left?: number
  /** With `not_vouched`: how many trackers show its key. */
  seen?: number
  /** With `not_vouched`: how many should. */
  wanted?: number
  missed: number
}

/** Peers could not be invited; it is tried again at the next announce. */
export interface OfferFailed { type: 'offerFailed', message: string, advice: string | null }

/** A STUN or TURN server is of no use. */
export interface ServerWarning { type: 'serverWarning', message: string, advice: string }

/** Something that has no type of its own yet. */
export interface OtherEvent { type: 'other', message: string }

/**
 * Something that has happened in a swarm. For each peer: `peerConnected`, its messages and streams in order, `peerClosed`. A
 * stream that a program does not want is one to `reset` and `stop`.
 */
export type SwarmEvent =
  | PeerConnected | PeerClosed | TrustChanged | Message | PeerStream | DataFrame | SendFailed | InvalidFrame | TrackerConnected | TrackerWarning
  | ConnectionFailed | ConnectionRejected | OfferFailed | ServerWarning | OtherEvent
