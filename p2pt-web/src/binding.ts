/**
 * What the bindings to the Rust library look like: `p2pt-web/wasm` in browsers, `p2pt-web/node` in Node. Their methods are
 * those of the crate `p2pt-web/core`, whose documentation says what each does; all behaviour beyond them is in TypeScript,
 * once for both.
 *
 * - Peers are numbers.
 * - An error is an `Error` whose message is a code, a colon and a sentence (`queue_full: …`); see `fromBinding`.
 * - A ticket is a number that this side draws for a wait, by which the wait can be cancelled.
 */
export interface Binding {
  /** Starts a node with {@link NodeOptions} in JSON. */
  startNode (options: string): Promise<BindingNode>
  /** The info hash of an identifier, 40 hexadecimal digits. */
  infoHashOf (identifier: string): string
  generateKey (): string
  publicKeyOf (key: string): string
  newRoomLink (identifier: string): string
  newPassphrase (): string
  newCode (): string
}

/** How a swarm is named: the crate's `Node::join` has what `key` and `secret` are with each kind. */
export type BindingKey = [key: string, kind: BindingKeyKind, secret: string | undefined]
export type BindingKeyKind = 'identifier' | 'infoHash' | 'sealed' | 'hidden' | 'shows' | 'types'

export interface BindingNode {
  peerId (): string
  publicKey (): string | undefined
  join (...key: BindingKey): Promise<BindingSwarm>
  /** The URL as events and {@link trackers} have it. */
  addTracker (url: string): Promise<string>
  removeTracker (url: string): Promise<boolean>
  /** JSON of {@link TrackerStats}. */
  trackers (): string
  /** JSON of {@link Metrics}. */
  metrics (): string
  ban (id: string): Promise<void>
  unban (id: string): boolean
  pin (name: string, key: string): Promise<void>
  /** The key that was pinned. */
  unpin (name: string): Promise<string | undefined>
  /** JSON of {@link Pins}. */
  pins (): string
  /** JSON of {@link PeerKnown}; `undefined` if it is gone. */
  known (peer: number): string | undefined
  /** JSON of {@link Trust}; `undefined` if it is gone. */
  trustAs (peer: number, name: string): string | undefined
  shutdown (): Promise<void>
  cancel (ticket: number): void
  /**
   * The message's place is taken when this returns; the promise resolves when a channel has taken it. `undefined`: it has
   * already.
   */
  send (peer: number, content: BindingContent, isJson: boolean, id: string | undefined): Promise<void> | undefined
  /** The same, to be watched and taken back, and perhaps acknowledged. A response has no urgency. */
  post (
    peer: number, content: BindingContent, isJson: boolean, id: string | undefined, urgency: number | undefined,
    acknowledged: boolean
  ): BindingOutgoing
  sendTextFrame (peer: number, text: string): Promise<void> | undefined
  sendBinaryFrame (peer: number, bytes: Uint8Array): Promise<void> | undefined
  request (
    peer: number, content: BindingContent, isJson: boolean, id: string | undefined, timeout: number | undefined,
    ticket: number | undefined
  ): Promise<BindingMessage>
  buffered (peer: number): number
  connectionCount (peer: number): number
  /** JSON of an array of {@link ConnectionStats}. */
  stats (peer: number): Promise<string>
  leave (peer: number, code: number, text: string): Promise<void>
  openStream (
    peer: number, metadata: Uint8Array, urgency: number | undefined, ticket: number | undefined
  ): Promise<BindingStream>
  messages (peer: number): BindingMessages
  /** Whether the node keeps the process alive, which it does at first; only where there is a process. */
  keepAlive? (keepAlive: boolean): void
}

/** Text, JSON in text, or bytes. */
export type BindingContent = string | Uint8Array

/** The content, whether it is JSON, and the message's id as JSON. */
export type BindingMessage = [content: BindingContent, isJson: boolean, id: string]

/**
 * A message of a peer; a frame of a peer, and whether it is text; a stream of a peer; the line of a peer that has gone, and
 * what it had not acknowledged; or another event as a line of JSON.
 */
export type BindingEvent =
  | [peer: number, content: BindingContent, isJson: boolean, id: string]
  | [peer: number, bytes: Uint8Array, isText: boolean]
  | [peer: number, stream: BindingStream]
  | [line: string, returned: BindingReturned]
  | string

export interface BindingSwarm {
  infoHash (): string
  identifier (): string | undefined
  /** The next events, in order; none after the last one. */
  next (): Promise<BindingEvent[]>
  /** JSON: `[[number, id, public key or null], …]`. */
  peers (): string
  /** JSON: `[number, id, public key or null]`. */
  waitForPeer (ticket: number | undefined): Promise<string>
  /** JSON: `[[number, id, public key or null, error], …]` of those peers for which there was no room. */
  broadcast (content: BindingContent, isJson: boolean): string
  requestMorePeers (): Promise<void>
  setIdentifier (...key: BindingKey): Promise<void>
  leave (): Promise<void>
}

export interface BindingMessages {
  /** `undefined` after the last one. */
  next (): Promise<BindingMessage | undefined>
  close (): void
}

export interface BindingOutgoing {
  /** Called once. */
  done (): Promise<void>
  progress (): [sent: number, acknowledged: number, total: number]
  /** Says whether it was taken back. */
  cancel (): boolean
}

export interface BindingReturned {
  messages (): BindingMessage[]
}

/** One call of `read` at a time, and one of `write` or `close`. */
export interface BindingStream {
  metadata (): Uint8Array
  urgency (): number
  /** `undefined` at the end. */
  read (): Promise<Uint8Array | undefined>
  write (bytes: Uint8Array): Promise<void>
  close (): Promise<void>
  stop (code: number): void
  reset (code: number): void
}
