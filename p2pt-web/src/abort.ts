import type { BindingNode } from './binding.js'
import { awaiting } from './errors.js'

/** What ends a wait. */
export interface WaitOptions {
  /** Ends the wait, which then rejects with the signal's `reason`. */
  signal?: AbortSignal | undefined
}

const ignore = (): void => {}

/** Marks a promise as one that may be left unawaited: its rejection is no unhandled one. */
export function quiet<T> (promise: Promise<T>): Promise<T> {
  promise.catch(ignore)
  return promise
}

/** Waits for a promise, or until a signal ends the wait. What the promise stands for goes on. */
export function abortable<T> (promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const abort = (): void => { reject(signal.reason) }
    if (signal.aborted) {
      promise.catch(ignore)
      return abort()
    }
    signal.addEventListener('abort', abort, { once: true })
    const done = (): void => { signal.removeEventListener('abort', abort) }
    promise.then(value => { done(); resolve(value) }, error => { done(); reject(error) })
  })
}

let lastTicket = 0

/** Waits for a binding, which is told when a signal ends the wait. */
export async function cancellable<T> (
  node: BindingNode, signal: AbortSignal | undefined, wait: (ticket: number | undefined) => Promise<T>
): Promise<T> {
  if (signal === undefined) return await awaiting(wait(undefined))
  signal.throwIfAborted()
  lastTicket = lastTicket % 0xffffffff + 1
  const ticket = lastTicket
  const abort = (): void => { node.cancel(ticket) }
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await awaiting(wait(ticket))
  } catch (error) {
    // Whichever came first, the wait has ended without a result.
    throw signal.aborted ? signal.reason : error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
