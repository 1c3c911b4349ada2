import { calling, P2ptError } from './errors.js'
import { binding } from './platform.js'

/** How far a peer is known, from the least to the most. */
export type Trust =
  /** It is not the peer that is pinned under the name that was asked for: it has another key, or none. */
  | { level: 'changed', name: string, was: string, now: string | null }
  /** It has no key: it runs npm's p2pt, or a tracker in between has made it look like that. */
  | { level: 'unsigned' }
  /** It has proven a key of which nothing else is known; so many trackers show it, 0 or 1. */
  | { level: 'first_use', through: number }
  /** It has proven a key, which `through` of the `of` trackers show. That proves reach, and not honesty. */
  | { level: 'vouched', through: number, of: number }
  /** It has proven the key that is pinned under this name. */
  | { level: 'pinned', name: string }

/**
 * What both sides of a connection see alike, and differently if somebody stands between: two people compare it once, by
 * telephone (words) or on two screens (pictures), and pin each other.
 */
export interface SafetyCode {
  /** Three words. */
  words: [string, string, string]
  /** Five pictures, one character each, which say the same. */
  emoji: [string, string, string, string, string]
  /** Their names, for where pictures cannot be shown or seen. */
  emojiNames: [string, string, string, string, string]
}

/** Public keys by the names under which they are pinned. A name has one key, and a key one name. */
export type Pins = Record<string, string>

/** Draws a key for the option `key`: a text that the program keeps, and shows nobody. */
export async function generateKey (): Promise<string> { return (await binding()).generateKey() }

/**
 * The public key of a key, by which others know its node.
 *
 * @throws {@link P2ptError} with `invalid_key`.
 */
export async function publicKeyOf (key: string): Promise<string> {
  const { publicKeyOf } = await binding()
  return calling(() => publicKeyOf(secretText('a key', key)))
}

/** Makes a link to a new room of this name, `p2pt:…#…`: whoever has it can join, as `{ secret: link }`. */
export async function newRoomLink (name: string): Promise<string> {
  const { newRoomLink } = await binding()
  return newRoomLink(secretText('the name of a room', name))
}

/** Draws a passphrase of five words for a room. */
export async function newPassphrase (): Promise<string> { return (await binding()).newPassphrase() }

/** Draws a code of four words, by which two people meet: one joins `{ code, side: 'shows' }`, the other with `'types'`. */
export async function newCode (): Promise<string> { return (await binding()).newCode() }

/** A text that crosses to the binding, which would take everything for one. */
export function secretText (what: string, text: unknown): string {
  // It is not shown, since it may be a secret in a wrong place.
  if (typeof text !== 'string') throw new P2ptError('invalid_secret', `${what} is a string, and ${typeof text} was given`)
  return text
}
