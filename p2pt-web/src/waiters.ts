/** So many responses are waited for; the oldest are given up. JavaScript's p2pt waits for each message, for ever. */
const MAX_WAITING = 4096

interface Waiter<T> { resolve: (value: T) => void, reject: (error: unknown) => void }

interface Entry<Peer, T> { readonly peer: Peer, readonly id: string, readonly waiter: Waiter<T>, waits: boolean }

/**
 * The promises of responses that have not come, by peer and message id.
 *
 * A program that never answers and never awaits leaves a waiter for each message behind. Beyond 4,096 the oldest is
 * dropped: its promise stays pending for ever, and is collected with all that awaits it.
 */
export class Waiters<Peer, T> {
  readonly #waiting = new Map<Peer, Map<string, Entry<Peer, T>>>()
  /** Oldest first from `#first`, with those that are over among them until there are too many. */
  #order: Array<Entry<Peer, T>> = []
  #first = 0
  #count = 0

  get size (): number { return this.#count }

  /** Returns the waiter whose place the new one takes, if there was one for that message already. */
  add (peer: Peer, id: string, waiter: Waiter<T>): Waiter<T> | undefined {
    let ofPeer = this.#waiting.get(peer)
    if (ofPeer === undefined) this.#waiting.set(peer, ofPeer = new Map())
    const before = ofPeer.get(id)
    if (before !== undefined) this.#end(before)
    const entry = { peer, id, waiter, waits: true }
    ofPeer.set(id, entry)
    this.#order.push(entry)
    if (++this.#count > MAX_WAITING) this.#dropOldest()
    // Once in as many calls, so that each costs the same.
    if (this.#order.length > 2 * MAX_WAITING) {
      this.#order = this.#order.filter(entry => entry.waits)
      this.#first = 0
    }
    return before?.waiter
  }

  /** The waiter for a message, which waits no more. */
  take (peer: Peer, id: string): Waiter<T> | undefined {
    const ofPeer = this.#waiting.get(peer)
    const entry = ofPeer?.get(id)
    if (ofPeer === undefined || entry === undefined) return undefined
    ofPeer.delete(id)
    if (ofPeer.size === 0) this.#waiting.delete(peer)
    this.#end(entry)
    return entry.waiter
  }

  /** Takes one waiter if it still waits: a later one may have taken its place. */
  drop (peer: Peer, id: string, waiter: Waiter<T>): boolean {
    if (this.#waiting.get(peer)?.get(id)?.waiter !== waiter) return false
    this.take(peer, id)
    return true
  }

  /** All waiters for a peer, which wait no more. */
  takeAll (peer: Peer): Array<Waiter<T>> {
    const entries = [...this.#waiting.get(peer)?.values() ?? []]
    this.#waiting.delete(peer)
    for (const entry of entries) this.#end(entry)
    return entries.map(({ waiter }) => waiter)
  }

  #end (entry: Entry<Peer, T>): void {
    entry.waits = false
    this.#count--
  }

  #dropOldest (): void {
    for (;;) {
      const oldest = this.#order[this.#first++]
      if (oldest === undefined) return
      if (oldest.waits) {
        this.take(oldest.peer, oldest.id)
        return
      }
    }
  }
}
