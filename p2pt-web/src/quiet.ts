import { P2ptError } from './errors.js'

const ignore = (): void => {}
const then = Promise.prototype.then

/** Marks `next` as handled at the time at which `source` rejects with an error of this package, which it passes on. */
function quietWith (source: Promise<unknown>, next: Promise<unknown>): void {
  then.call(source, undefined, error => { if (error instanceof P2ptError) then.call(next, undefined, ignore) })
}

/**
 * A promise of which an error of this package need not be handled, however far it is passed on. The promises of npm's p2pt
 * never reject, so programs made with it have `send(…).then(…)` without a `catch`; that a peer goes must not end a Node
 * process then. A program that awaits or catches gets the error all the same, and what its own functions throw is
 * reported as ever.
 */
export class QuietPromise<T> extends Promise<T> {
  /** Marks this one too. The constructor does not, since the engine calls it for each promise that is derived. */
  protected quiet (): void { quietWith(this, this) }

  override then<A = T, B = never> (
    fulfilled?: ((value: T) => A | PromiseLike<A>) | null, rejected?: ((reason: any) => B | PromiseLike<B>) | null
  ): Promise<A | B> {
    let next: Promise<A | B> | undefined
    // What is returned is waited for, so its error is passed on too.
    const passingOn = typeof fulfilled !== 'function' ? fulfilled : (value: T): A | PromiseLike<A> => {
      const result = fulfilled(value)
      if (result instanceof QuietPromise && next !== undefined) quietWith(result, next)
      return result
    }
    next = super.then(passingOn, rejected)
    if (typeof rejected !== 'function') quietWith(this, next)
    return next
  }

  override finally (done?: (() => void) | null): Promise<T> {
    const next = super.finally(done)
    quietWith(this, next)
    return next
  }
}

const SENT = Promise.resolve()

/** What `send` returns: a promise of the response, and beside it what became of the message. */
export class SentMessage<T> extends QuietPromise<T> {
  /**
   * Resolves when the connection has taken the message: await it to send no faster than the peer reads. Rejects when the
   * message was not sent, for the same reason as the promise of the response.
   */
  sent: Promise<void> = SENT

  /** @internal */
  static of<T> (executor: ConstructorParameters<typeof Promise<T>>[0]): SentMessage<T> {
    const promise: SentMessage<T> = new SentMessage((resolve, reject) => {
      executor(resolve, error => {
        reject(error)
        // No sooner, since nearly all that is sent is: it is in time for what looks for unhandled ones.
        promise.quiet()
      })
    })
    return promise
  }
}
