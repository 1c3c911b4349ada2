/**
 * What an error is about. Programs tell errors apart by these; the sentence beside it is for people and may change.
 *
 * | code | what happened, and what a program does about it |
 * |---|---|
 * | `aborted` | the wait was ended by this side (an `AbortSignal` rejects with its own `reason`, as everywhere) |
 * | `already_joined` | the node is in that swarm already: use the `Swarm` there is |
 * | `already_pinned` | another key is pinned under the name, or the key under another name: `unpin` that first |
 * | `cancelled` | the message was taken back before all of it was sent |
 * | `foreign_id` | the message to which this is a response is none of this peer |
 * | `frame_rejected` | the channel takes no frame of that size or kind: send a message, which is cut into frames |
 * | `inbox_full` | the response waits behind messages that are not read: read the swarm's events |
 * | `invalid_announce_url` | a tracker's URL is none, such as one with `http:` |
 * | `invalid_id` | a peer id, an info hash or a message id is none |
 * | `invalid_json` | what was to be sent is not JSON |
 * | `invalid_key` | a key, secret or public, is none |
 * | `invalid_option` | an option is unknown or has a wrong value; the message begins with its name |
 * | `invalid_secret` | a link, a passphrase or a code is none: a passphrase has 11 characters, a code four words |
 * | `looks_like_message` | a text frame would be taken for a part of a message: send a message, or bytes |
 * | `metadata_too_large` | what a stream says of itself is longer than 16 KiB |
 * | `no_acknowledgements` | the peer runs npm's p2pt or has no key, and acknowledges nothing; the message may have reached it |
 * | `no_bytes` | the peer runs npm's p2pt or has no key, and takes no messages of bytes: use `sendFrame` |
 * | `no_key` | the node was given a `peerId` and has no key, which a code takes |
 * | `no_streams` | the peer runs npm's p2pt or has no key, and takes no streams |
 * | `node_full` | too much waits to be sent to all peers together: await what `send` returns, or raise `sendMemory` |
 * | `not_connected` | the peer is not connected yet, or the program has not started |
 * | `other` | something that has no code yet |
 * | `peer_gone` | the peer has gone: it is met again as another `Peer` if it comes back |
 * | `queue_full` | too much waits to be sent to the peer: await what `send` returns, or raise `sendQueueBytes` |
 * | `refused` | the peer has no room for the message, which it did not get |
 * | `replaced` | a later request in response to the same message took this one's place |
 * | `request_timeout` | no response came in time |
 * | `send_timeout` | the peer took nothing for as long as `sendTimeout` |
 * | `start_failed` | there is no WebRTC here, such as in a worker of a browser, or the WebAssembly did not load |
 * | `stopped` | the node was shut down, or the swarm was left |
 * | `stream_ended` | this side has ended that half of the stream |
 * | `stream_reset` | the peer has reset the stream; `streamCode` says why |
 * | `stream_stopped` | the peer reads no more of the stream; `streamCode` says why |
 * | `too_large` | the message is larger than `maxMessageBytes` |
 * | `too_many_requests` | 4,096 requests to this peer wait for their responses |
 * | `unsupported` | this platform cannot do it |
 */
// codes
export type ErrorCode =
  | 'aborted'
  | 'already_joined'
  | 'already_pinned'
  | 'cancelled'
  | 'foreign_id'
  | 'frame_rejected'
  | 'inbox_full'
  | 'invalid_announce_url'
  | 'invalid_id'
  | 'invalid_json'
  | 'invalid_key'
  | 'invalid_option'
  | 'invalid_secret'
  | 'looks_like_message'
  | 'metadata_too_large'
  | 'no_acknowledgements'
  | 'no_bytes'
  | 'no_key'
  | 'no_streams'
  | 'node_full'
  | 'not_connected'
  | 'other'
  | 'peer_gone'
  | 'queue_full'
  | 'refused'
  | 'replaced'
  | 'request_timeout'
  | 'send_timeout'
  | 'start_failed'
  | 'stopped'
  | 'stream_ended'
  | 'stream_reset'
  | 'stream_stopped'
  | 'too_large'
  | 'too_many_requests'
  | 'unsupported'
// codes

/** Every error of this package. */
export class P2ptError extends Error {
  override readonly name = 'P2ptError'
  /** What it is about. */
  readonly code: ErrorCode
  /** With `stream_reset` and `stream_stopped`: the number that the peer gave. */
  readonly streamCode: number | undefined

  constructor (code: ErrorCode, message: string, options?: ErrorOptions & { streamCode?: number }) {
    super(message, options)
    this.code = code
    this.streamCode = options?.streamCode
  }
}

const CROSSED = /^([a-z_]+)(?:\((\d+)\))?: ([\s\S]*)$/

/** An error of a binding as a {@link P2ptError}: its message is a code, for some a number in parentheses, a colon and a sentence. */
export function fromBinding (error: unknown): unknown {
  if (error instanceof P2ptError) return error
  const [, code, number, message] = CROSSED.exec(error instanceof Error ? error.message : String(error)) ?? []
  // What is no error of the core is one of the platform, such as that the instance has panicked.
  if (code === undefined || message === undefined) return error
  return new P2ptError(code as ErrorCode, message, number === undefined ? {} : { streamCode: Number(number) })
}

/** Calls a binding, and throws what it throws as a {@link P2ptError}. */
export function calling<T> (call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw fromBinding(error)
  }
}

/** Awaits a binding, and rejects with a {@link P2ptError}. */
export function awaiting<T> (promise: Promise<T>): Promise<T> {
  return promise.catch(error => { throw fromBinding(error) })
}
