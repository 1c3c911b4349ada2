import { abortable, quiet, type WaitOptions } from './abort.js'
import type { BindingOutgoing } from './binding.js'
import { awaiting, calling, fromBinding, P2ptError } from './errors.js'

/**
 * What goes first to a peer: 0, `'urgent'`, to 7, `'background'`, and 3 unless given. What is more urgent overtakes what is
 * less, also in the midst of a large message; order holds among what is equally urgent. To a peer that runs npm's p2pt
 * everything is.
 */
export type Urgency = 'urgent' | 'background' | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7

/** How far a message has come, in bytes. */
export interface SendProgress {
  /** What the connection has taken of it. */
  sent: number
  /** What the peer has of it, as far as that is known. */
  acknowledged: number
  total: number
}

/** How a response is sent. */
export interface RespondOptions extends WaitOptions {
  /**
   * Takes the message back, unless all of it was sent, and ends the wait, which rejects with the signal's `reason`. A peer
   * that has a part of it drops that.
   */
  signal?: AbortSignal | undefined
  /**
   * Waits until the other side has it: until it is among the other node's events, or about to be. Where the promise rejects
   * with `peer_gone`, it is not known whether it has, and the message is among {@link PeerClosed.returned}. A peer that runs
   * npm's p2pt acknowledges nothing (`no_acknowledgements`).
   */
  acknowledged?: boolean | undefined
  /** Is called when more of it has left, or has come, at most every 50 ms, and when that is all. */
  onProgress?: ((progress: SendProgress) => unknown) | undefined
}

/** How a message is sent. */
export interface SendOptions extends RespondOptions {
  urgency?: Urgency | undefined
}

/** As often as browsers report the progress of an upload, in milliseconds. */
const PROGRESS_INTERVAL = 50

const NAMED: Record<string, number> = { urgent: 0, background: 7 }

/** An urgency as it crosses. */
export function urgencyNumber (urgency: unknown): number | undefined {
  if (urgency === undefined) return undefined
  const number = typeof urgency === 'string' ? NAMED[urgency] : urgency
  if (Number.isInteger(number) && number as number >= 0 && number as number <= 7) return number as number
  throw new P2ptError('invalid_option', `urgency: ${String(urgency)} is none of 0 to 7, 'urgent' and 'background'`)
}

/** Begins to send, and never throws. `undefined`: the connection has taken it. */
export function begin (send: () => Promise<void> | undefined): Promise<void> | undefined {
  try {
    const sent = send()
    return sent === undefined ? undefined : quiet(awaiting(sent))
  } catch (error) {
    return quiet(Promise.reject(fromBinding(error)))
  }
}

/** Begins to send, unless that was aborted already. It never throws, and its promise need not be awaited. */
export function sending (send: () => Promise<void> | undefined, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return quiet(Promise.reject(signal.reason))
  const sent = begin(send) ?? Promise.resolve()
  return signal === undefined ? sent : quiet(abortable(sent, signal))
}

/** The same with what can be watched and taken back. */
export function posting (post: () => BindingOutgoing, options: RespondOptions): Promise<void> {
  return quiet(posted(post, options))
}

async function posted (post: () => BindingOutgoing, { signal, onProgress }: RespondOptions): Promise<void> {
  signal?.throwIfAborted()
  const outgoing = calling(post)
  let last = ''
  const look = (): void => {
    const [sent, acknowledged, total] = outgoing.progress()
    const now = `${sent} ${acknowledged}`
    if (now === last) return
    last = now
    onProgress?.({ sent, acknowledged, total })
  }
  const looking = onProgress && setInterval(look, PROGRESS_INTERVAL)
  const cancel = (): void => { outgoing.cancel() }
  signal?.addEventListener('abort', cancel, { once: true })
  try {
    await abortable(awaiting(outgoing.done()), signal)
    if (onProgress) look()
  } finally {
    signal?.removeEventListener('abort', cancel)
    clearInterval(looking)
  }
}
