import { P2ptError } from './errors.js'

type Listener = (...values: any[]) => unknown
interface Entry { listener: Listener, once: boolean, called: boolean }

/**
 * The methods of Node's `EventEmitter` that programs made with p2pt use, in any platform.
 *
 * A listener that throws does not keep others from being called: what it throws is reported as an error that was not
 * caught. A listener that is an `async` function may fail because a peer went while it waited; that is no unhandled
 * rejection, since peers go.
 */
export class EventEmitter<Events extends { [Name in keyof Events]: any[] }> {
  // No `#` field, and the same one always: a view of an object (`Object.create`) has the listeners of that object.
  private readonly _listeners = new Map<keyof Events, Entry[]>()

  private _add (name: keyof Events, listener: Listener, once: boolean, first: boolean): this {
    if (typeof listener !== 'function') throw new TypeError(`${typeof listener} cannot listen to ${String(name)}: it is no function`)
    const before = this._listeners.get(name) ?? []
    const entry = { listener, once, called: false }
    // A new array, so that an `emit` under way goes on with those it began with.
    this._listeners.set(name, first ? [entry, ...before] : [...before, entry])
    return this
  }

  on<Name extends keyof Events> (name: Name, listener: (...values: Events[Name]) => unknown): this {
    return this._add(name, listener as Listener, false, false)
  }

  addListener<Name extends keyof Events> (name: Name, listener: (...values: Events[Name]) => unknown): this {
    return this.on(name, listener)
  }

  once<Name extends keyof Events> (name: Name, listener: (...values: Events[Name]) => unknown): this {
    return this._add(name, listener as Listener, true, false)
  }

  prependListener<Name extends keyof Events> (name: Name, listener: (...values: Events[Name]) => unknown): this {
    return this._add(name, listener as Listener, false, true)
  }

  prependOnceListener<Name extends keyof Events> (name: Name, listener: (...values: Events[Name]) => unknown): this {
    return this._add(name, listener as Listener, true, true)
  }

  off<Name extends keyof Events> (name: Name, listener: (...values: Events[Name]) => unknown): this {
    const entries = this._listeners.get(name) ?? []
    // The one that was added last, as Node does.
    this._remove(name, entries.findLastIndex(entry => entry.listener === listener))
    return this
  }

  private _remove (name: keyof Events, place: number): void {
    const entries = this._listeners.get(name)
    if (entries !== undefined && place >= 0) this._listeners.set(name, entries.toSpliced(place, 1))
  }

  removeListener<Name extends keyof Events> (name: Name, listener: (...values: Events[Name]) => unknown): this {
    return this.off(name, listener)
  }

  removeAllListeners (name?: keyof Events): this {
    if (name === undefined) this._listeners.clear()
    else this._listeners.delete(name)
    return this
  }

  emit<Name extends keyof Events> (name: Name, ...values: Events[Name]): boolean {
    const entries = this._listeners.get(name) ?? []
    for (const entry of entries) {
      if (entry.once) {
        // An `emit` within this one has called it.
        if (entry.called) continue
        entry.called = true
        this._remove(name, this._listeners.get(name)?.indexOf(entry) ?? -1)
      }
      try {
        const result = entry.listener.apply(this, values)
        if (result instanceof Promise) result.catch(error => { if (!(error instanceof P2ptError)) report(error) })
      } catch (error) {
        report(error)
      }
    }
    return entries.length > 0
  }

  listenerCount (name: keyof Events): number { return this._listeners.get(name)?.length ?? 0 }

  listeners<Name extends keyof Events> (name: Name): Array<(...values: Events[Name]) => unknown> {
    return (this._listeners.get(name) ?? []).map(({ listener }) => listener as (...values: Events[Name]) => unknown)
  }

  eventNames (): Array<keyof Events> {
    return [...this._listeners].filter(([, entries]) => entries.length > 0).map(([name]) => name)
  }

  /** Does nothing: any number may listen. */
  setMaxListeners (_count: number): this { return this }
}

/** Reports what was thrown as if it had not been caught: at `window.onerror`, or as an uncaught exception. */
export function report (error: unknown): void {
  queueMicrotask(() => { throw error })
}
