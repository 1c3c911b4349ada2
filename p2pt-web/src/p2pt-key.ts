/**
 * Keys for peers of npm's p2pt, unmodified: one file without any import, for programs that cannot change to `p2pt-web` or
 * that want to know each other before they do.
 *
 * ```js
 * import P2PT from 'p2pt'
 * import { newKey, useKeys } from 'p2pt-web/p2pt-key'
 *
 * const key = localStorage.getItem('key') ?? newKey()
 * localStorage.setItem('key', key)
 * const p2pt = new P2PT(trackers, 'my-app')
 * const keys = await useKeys(p2pt, { key, onTrust: (id, trust) => console.log(id, trust) }) // before `start`
 * p2pt.on('msg', (peer, message) => { if (keys.trust(peer.id).level === 'vouched') … })
 * p2pt.start()
 * ```
 *
 * npm's p2pt connects to a peer once more through each tracker. Over each of these links both sides say their public keys and
 * sign them, with the fingerprints of both certificates of the link, so that somebody who stands in a link can show no key
 * but one of its own. A peer is `vouched` when all of its links have shown one key, and they came through as many trackers as
 * are asked for. That proves reach, and not honesty: a tracker that shows another peer than the others do is found out, a
 * stranger who announces at all of them is not. Public keys are those of `p2pt-web` and of the program `p2pt`.
 *
 * Both sides use this file. Others see its one message for each link as a message of the program, `{ p2ptKey: 1, … }`.
 *
 * @module
 */

/** How far a peer is known. */
export type LinkTrust =
  /** One of its links has not shown a key, yet or at all: with this peer somebody else may be reading. */
  | { level: 'unsigned' }
  /** Its links have shown one key, and they came through fewer trackers than are asked for. */
  | { level: 'first_use', publicKey: string, through: number }
  /** Its links have shown one key, and came through as many trackers as are asked for, or more. */
  | { level: 'vouched', publicKey: string, through: number }
  /** Its links have shown several keys: somebody takes its id, or a tracker stands between. Which tracker showed which key. */
  | { level: 'conflict', keys: Array<{ publicKey: string, tracker: string }> }

export interface KeyOptions {
  /** What {@link newKey} made, or `generateKey` of `p2pt-web`, and the program has kept. Drawn unless given. */
  key?: string
  /** Through how many trackers a key is to be shown; 2 unless given. */
  agreement?: number
  /** Is called when what is known of a peer changes. */
  onTrust?: (id: string, trust: LinkTrust) => unknown
}

/** What {@link useKeys} makes. */
export interface Keys {
  /** The public key of this side, 52 letters and digits. */
  readonly publicKey: string
  /** How far the peer with this id is known. */
  trust (id: string): LinkTrust
}

/** As much of npm's p2pt as is used here. */
export interface NpmP2pt {
  _peerId: string
  infoHash?: Promise<string> | string
  trackers: Record<string, any>
  emit (name: string, ...values: any[]): boolean
}

interface Link { id: string, tracker: string, publicKey: string | undefined, isOpen: boolean }

const LETTERS = 'abcdefghijklmnopqrstuvwxyz234567'
const SECRET = 'p2pt-secret-'
/** What stands before a seed of Ed25519 in PKCS #8. */
const PKCS8 = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20]
/** The id of each message of this file; those that p2pt draws are numbers, so that it is the response to none. */
const MESSAGE_ID = 'p2pt-key'

function base32 (bytes: Uint8Array): string {
  let text = ''
  let held = 0
  let holds = 0
  for (const byte of bytes) {
    held = held << 8 | byte
    for (holds += 8; holds >= 5;) text += LETTERS[held >> (holds -= 5) & 31]
    held &= 31
  }
  return holds > 0 ? text + LETTERS[held << 5 - holds & 31] : text
}

/** The 32 bytes of 52 letters, which have no other spelling; `undefined` for any other text. */
function fromBase32 (text: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (typeof text !== 'string' || text.length !== 52) return undefined
  const bytes = new Uint8Array(32)
  let held = 0
  let holds = 0
  let place = 0
  for (const letter of text) {
    const value = LETTERS.indexOf(letter)
    if (value < 0) return undefined
    held = (held << 5 | value) & 0xfff
    if ((holds += 5) >= 8) bytes[place++] = held >> (holds -= 8) & 255
  }
  return (held & (1 << holds) - 1) === 0 ? bytes : undefined
}

function fromHex (text: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (typeof text !== 'string' || !/^[0-9a-f]{128}$/.test(text)) return undefined
  return Uint8Array.from(text.match(/../g)!, byte => parseInt(byte, 16))
}

const hex = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), byte => byte.toString(16).padStart(2, '0')).join('')

/** A label and fields, each with its length before it, so that no two lists of fields are the same bytes. */
function fields (...texts: string[]): Uint8Array<ArrayBuffer> {
  const parts = texts.map(text => new TextEncoder().encode(text))
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + 4 + part.length, 0))
  let place = 0
  for (const part of parts) {
    new DataView(bytes.buffer).setUint32(place, part.length)
    bytes.set(part, place + 4)
    place += 4 + part.length
  }
  return bytes
}

/** The fingerprint of the one certificate that a description admits; with several it is not certain which one is used. */
function fingerprint (description: { sdp?: string } | null | undefined): string | undefined {
  const all = new Set((description?.sdp ?? '').match(/^a=fingerprint:.*$/gm)?.map(line => line.trim().toLowerCase()))
  const [one] = all
  return all.size === 1 && one?.startsWith('a=fingerprint:sha-256 ') === true ? one.slice('a=fingerprint:sha-256 '.length) : undefined
}

/** A new key as text, which is to be kept secret. */
export function newKey (): string { return SECRET + base32(crypto.getRandomValues(new Uint8Array(32))) }

async function keyPair (text: string): Promise<{ sign: CryptoKey, publicKey: string }> {
  const seed = text.startsWith(SECRET) ? fromBase32(text.slice(SECRET.length)) : undefined
  if (seed === undefined) throw new TypeError('that is no key: `newKey` makes one')
  const sign = await crypto.subtle.importKey('pkcs8', new Uint8Array([...PKCS8, ...seed]), 'Ed25519', true, ['sign'])
  const { x } = await crypto.subtle.exportKey('jwk', sign)
  const bytes = atob(x!.replaceAll('-', '+').replaceAll('_', '/'))
  return { sign, publicKey: base32(Uint8Array.from(bytes, char => char.charCodeAt(0))) }
}

/** Has a p2pt that was not started yet say its key over each of its links, and ask for those of others. */
export async function useKeys (p2pt: NpmP2pt, { key = newKey(), agreement = 2, onTrust }: KeyOptions = {}): Promise<Keys> {
  const { sign, publicKey } = await keyPair(key)
  const links = new Map<any, Link>()
  const said = new Map<string, string>()

  function trust (id: string): LinkTrust {
    const open = [...links.values()].filter(link => link.id === id && link.isOpen)
    const keys = open.flatMap(({ publicKey, tracker }) => publicKey === undefined ? [] : [{ publicKey, tracker }])
    const one = keys[0]?.publicKey
    if (keys.some(({ publicKey }) => publicKey !== one)) return { level: 'conflict', keys }
    if (one === undefined || keys.length < open.length) return { level: 'unsigned' }
    const through = new Set(keys.map(({ tracker }) => new URL(tracker).hostname + ':' + new URL(tracker).port)).size
    return { level: through >= agreement ? 'vouched' : 'first_use', publicKey: one, through }
  }

  function changed (id: string): void {
    const now = trust(id)
    const text = JSON.stringify(now)
    if (said.get(id) === text) return
    said.set(id, text)
    if (![...links.values()].some(link => link.id === id && link.isOpen)) said.delete(id)
    onTrust?.(id, now)
  }

  /** What one side of a link signs: who says it to whom, where, and over which certificates. */
  async function statement (from: string, to: string, by: string | undefined, at: string | undefined): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return by === undefined || at === undefined ? undefined : fields('p2pt/link-key/1', String(await p2pt.infoHash), from, to, by, at)
  }

  async function say (channel: any): Promise<void> {
    const { localDescription, remoteDescription } = channel._pc
    const text = await statement(p2pt._peerId, channel.id, fingerprint(localDescription), fingerprint(remoteDescription))
    if (text === undefined) return
    const signature = hex(await crypto.subtle.sign('Ed25519', sign, text))
    const msg = JSON.stringify({ p2ptKey: 1, key: publicKey, signature })
    if (channel.connected) channel.send('^' + JSON.stringify({ id: MESSAGE_ID, msg, o: 1, c: 0, last: true }))
  }

  async function hear (channel: any, message: any): Promise<void> {
    const link = links.get(channel)
    const bytes = fromBase32(message.key)
    const signature = fromHex(message.signature)
    const { localDescription, remoteDescription } = channel._pc ?? {}
    const text = await statement(channel.id, p2pt._peerId, fingerprint(remoteDescription), fingerprint(localDescription))
    // A link has one key: a second message changes nothing.
    if (link === undefined || bytes === undefined || signature === undefined || text === undefined || link.publicKey !== undefined) return
    const verify = await crypto.subtle.importKey('raw', bytes, 'Ed25519', false, ['verify'])
    if (!await crypto.subtle.verify('Ed25519', verify, signature, text)) return
    link.publicKey ??= message.key
    changed(link.id)
  }

  /** A new link, before it is open. */
  function linked (channel: any, tracker: string): void {
    // Known by now, since what the other side says may come before the event that the link is open.
    const link: Link = { id: channel.id, tracker, publicKey: undefined, isOpen: false }
    links.set(channel, link)
    const end = (): void => {
      if (links.delete(channel)) changed(link.id)
    }
    channel.on('connect', () => {
      link.isOpen = true
      changed(link.id)
      say(channel).catch(() => {})
    })
    for (const name of ['close', 'disconnect', 'error']) channel.on(name, end)
  }

  const emit = p2pt.emit
  p2pt.emit = function (name, ...values) {
    if (name === 'msg' && values[1]?.p2ptKey === 1) {
      hear(values[0], values[1]).catch(() => {})
      return true
    }
    return emit.call(this, name, ...values)
  }

  // A tracker hands its peers to its client; a view of the client for each tracker is how it is known which one it was.
  const withTracker = (tracker: any): any => {
    const client = Object.create(p2pt)
    client.emit = (name: string, ...values: any[]) => {
      const heard = p2pt.emit(name, ...values)
      if (name === 'peer') linked(values[0], tracker.announceUrl)
      return heard
    }
    tracker.client = client
    return tracker
  }
  p2pt.trackers = new Proxy(p2pt.trackers, {
    set: (trackers, place: string, tracker) => {
      trackers[place] = withTracker(tracker)
      return true
    }
  })
  return { publicKey, trust }
}
