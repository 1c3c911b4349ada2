/** So many responses are waited for; the oldest are given up. JavaScript's p2pt waits for each message, for ever. */
const MAX_WAITING = 4096

interface Waiter<T> { resolve: (value: T) => void, reject: (error: unknown) => void }

/**
 * The promises of responses that have not come, by peer and message id.
 *
 * A program that never answers and never awaits leaves a waiter for each message behind. Beyond 4,096 the oldest is
 * dropped: its promise stays pending for ever, and is collected with all that awaits it.
 */
export class Waiters<Peer, T> {
  readonly #waiting = new Map<Peer, Map<string, Waiter<T>>>()
  /** Oldest first, with those that are over among them until there are too many. */
  #order: Array<[Peer, string, Waiter<T>]> = []
  #count = 0

  get size (): number { return this.#count }

  /** Returns the waiter whose place the new one takes, if there was one for that message already. */
  add (peer: Peer, id: string, waiter: Waiter<T>): Waiter<T> | undefined {
    let ofPeer = this.#waiting.get(peer)
    if (ofPeer === undefined) this.#waiting.set(peer, ofPeer = new Map())
    const replaced = ofPeer.get(id)
    if (replaced === undefined) this.#count++
    ofPeer.set(id, waiter)
    this.#order.push([peer, id, waiter])
    if (this.#count > MAX_WAITING) this.#dropOldest()
    // Once in as many calls, so that each costs the same.
    if (this.#order.length > 2 * MAX_WAITING) this.#order = this.#order.filter(entry => this.#isWaiting(entry))
    return replaced
  }

  /** The waiter for a message, which waits no more. */
  take (peer: Peer, id: string): Waiter<T> | undefined {
    const ofPeer = this.#waiting.get(peer)
    const waiter = ofPeer?.get(id)
    if (ofPeer === undefined || waiter === undefined) return undefined
    ofPeer.delete(id)
    if (ofPeer.size === 0) this.#waiting.delete(peer)
    this.#count--
    return waiter
  }

  /** Takes one waiter if it still waits: a later one may have taken its place. */
  drop (peer: Peer, id: string, waiter: Waiter<T>): boolean {
    if (this.#waiting.get(peer)?.get(id) !== waiter) return false
    this.take(peer, id)
    return true
  }

  /** All waiters for a peer, which wait no more. */
  takeAll (peer: Peer): Array<Waiter<T>> {
    const waiters = [...this.#waiting.get(peer)?.values() ?? []]
    this.#waiting.delete(peer)
    this.#count -= waiters.length
    return waiters
  }

  #isWaiting ([peer, id, waiter]: [Peer, string, Waiter<T>]): boolean {
    return this.#waiting.get(peer)?.get(id) === waiter
  }

  #dropOldest (): void {
    const place = this.#order.findIndex(entry => this.#isWaiting(entry))
    const [oldest] = this.#order.splice(0, place + 1).slice(place)
    if (oldest !== undefined) this.take(oldest[0], oldest[1])
  }
}
