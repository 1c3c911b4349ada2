import type {
  Binding, BindingEvent, BindingMessages, BindingNode, BindingOutgoing, BindingStream, BindingSwarm
} from './binding.js'

/**
 * What the addon `p2pt-web/node` exports. A method with a `call` returns nothing: its result is among those that
 * {@link AddonBridge.take} returns later.
 */
export interface Addon {
  infoHashOf: Binding['infoHashOf']
  generateKey: Binding['generateKey']
  publicKeyOf: Binding['publicKeyOf']
  newRoomLink: Binding['newRoomLink']
  newPassphrase: Binding['newPassphrase']
  newCode: Binding['newCode']
  /** `wake` is called when there is something to be taken. It keeps no process alive. */
  Bridge: new (wake: () => void) => AddonBridge
}

interface AddonBridge {
  take (): Array<[call: number, value: unknown, error: string | null]>
  startNode (call: number, options: string): void
}

/** The methods of a binding as those of the addon: with the number of a call first, and no promise. */
type Numbered<T> = {
  [Name in keyof T]: T[Name] extends (...given: infer Given) => Promise<unknown>
    ? (call: number, ...given: Given) => void
    : T[Name]
}

type Send = 'send' | 'sendTextFrame' | 'sendBinaryFrame'

type AddonNode = Omit<Numbered<BindingNode>, 'messages' | 'post' | 'keepAlive' | Send> & {
  messages: (peer: number) => Numbered<BindingMessages>
  post: (...given: Parameters<BindingNode['post']>) => Numbered<BindingOutgoing>
} & {
  /** Returns whether it is sent; there is no result then. */
  [Name in Send]: (call: number, ...given: Parameters<BindingNode[Name]>) => boolean
}

type AddonStream = Numbered<BindingStream>
type AddonEvent = Exclude<BindingEvent, [number, BindingStream]> | [peer: number, stream: AddonStream]

interface Waiting { resolve: (value: any) => void, reject: (error: Error) => void }

/** The longest time that a timer has: 24.8 days. */
const LONG = 0x7fffffff

/** Makes a binding of the addon: promises of its numbered calls. An environment (a thread) needs one. */
export function bindingOf ({ Bridge, ...helpers }: Addon): Binding {
  const waiting = new Map<number, Waiting>()
  let last = 0
  const bridge = new Bridge(() => {
    for (const [call, value, error] of bridge.take()) {
      const { resolve, reject } = waiting.get(call)!
      waiting.delete(call)
      if (error === null) resolve(value)
      else reject(new Error(error))
    }
  })

  /** A number that no call has. */
  function draw (): number {
    do last = (last + 1) >>> 0; while (waiting.has(last))
    return last
  }

  const result = <T>(call: number): Promise<T> =>
    new Promise((resolve, reject) => { waiting.set(call, { resolve, reject }) })

  /** Makes a call, and waits for its result: with no promise but that of the result, since this is done for each message. */
  function numbered<T> (make: (call: number) => void): Promise<T> {
    const call = draw()
    try {
      make(call)
    } catch (error) {
      // What throws has not begun.
      return Promise.reject(error)
    }
    return result<T>(call)
  }

  // Nothing of the addon keeps the process alive; this does while there is a reason.
  const alive = setInterval(() => {}, LONG) as unknown as { ref: () => void, unref: () => void }
  alive.unref()
  let reasons = 0
  const begin = (): void => { if (reasons++ === 0) alive.ref() }
  const end = (): void => { if (--reasons === 0) alive.unref() }

  /** Waits for a call's result, and keeps the process alive meanwhile. */
  async function held<T> (result: Promise<T>): Promise<T> {
    begin()
    try {
      return await result
    } finally {
      end()
    }
  }

  function nodeOf (node: AddonNode): BindingNode {
    // A node that runs keeps the process alive, as an open socket does; one that was shut down, only what it still answers.
    let runs = true
    let keeps = true
    begin()
    const keep = (keepAlive: boolean): void => {
      if (keepAlive === keeps) return
      keeps = keepAlive
      if (keepAlive) begin()
      else end()
    }
    const call = <T>(make: (call: number) => void): Promise<T> => runs ? numbered(make) : held(numbered(make))

    const sending = (make: (call: number) => boolean): Promise<void> | undefined => {
      const call = draw()
      if (make(call)) return undefined
      return runs ? result(call) : held(result(call))
    }

    const streamOf = (stream: AddonStream): BindingStream => ({
      metadata: () => stream.metadata(),
      urgency: () => stream.urgency(),
      read: async () => await call<any>(number => { stream.read(number) }) ?? undefined,
      write: bytes => call(number => { stream.write(number, bytes) }),
      close: () => call(number => { stream.close(number) }),
      stop: code => { stream.stop(code) },
      reset: code => { stream.reset(code) }
    })

    const eventOf = (event: AddonEvent): BindingEvent =>
      event.length === 2 && typeof event[0] === 'number' ? [event[0], streamOf(event[1] as AddonStream)] : event as BindingEvent

    const swarmOf = (swarm: Numbered<BindingSwarm>): BindingSwarm => ({
      infoHash: () => swarm.infoHash(),
      identifier: () => swarm.identifier() ?? undefined,
      next: async () => (await call<AddonEvent[]>(number => { swarm.next(number) })).map(eventOf),
      peers: () => swarm.peers(),
      waitForPeer: ticket => call(number => { swarm.waitForPeer(number, ticket) }),
      broadcast: (content, isJson) => swarm.broadcast(content, isJson),
      requestMorePeers: () => call(number => { swarm.requestMorePeers(number) }),
      setIdentifier: (...key) => call(number => { swarm.setIdentifier(number, ...key) }),
      leave: () => call(number => { swarm.leave(number) })
    })

    return {
      peerId: () => node.peerId(),
      publicKey: () => node.publicKey() ?? undefined,
      join: async (...key) => swarmOf(await call(number => { node.join(number, ...key) })),
      addTracker: url => call(number => { node.addTracker(number, url) }),
      removeTracker: url => call(number => { node.removeTracker(number, url) }),
      trackers: () => node.trackers(),
      metrics: () => node.metrics(),
      ban: id => call(number => { node.ban(number, id) }),
      unban: id => node.unban(id),
      pin: (name, key) => call(number => { node.pin(number, name, key) }),
      unpin: async name => await call<any>(number => { node.unpin(number, name) }) ?? undefined,
      pins: () => node.pins(),
      known: peer => node.known(peer) ?? undefined,
      trustAs: (peer, name) => node.trustAs(peer, name) ?? undefined,
      shutdown: async () => {
        await held(numbered(number => { node.shutdown(number) }))
        runs = false
        keep(false)
      },
      cancel: ticket => { node.cancel(ticket) },
      send: (peer, content, isJson, id) => sending(number => node.send(number, peer, content, isJson, id)),
      post: (...given) => {
        const outgoing = node.post(...given)
        return {
          done: () => call(number => { outgoing.done(number) }),
          progress: () => outgoing.progress(),
          cancel: () => outgoing.cancel()
        }
      },
      sendTextFrame: (peer, text) => sending(number => node.sendTextFrame(number, peer, text)),
      sendBinaryFrame: (peer, bytes) => sending(number => node.sendBinaryFrame(number, peer, bytes)),
      request: (peer, ...given) => call(number => { node.request(number, peer, ...given) }),
      buffered: peer => node.buffered(peer),
      connectionCount: peer => node.connectionCount(peer),
      stats: peer => call(number => { node.stats(number, peer) }),
      leave: (peer, code, text) => call(number => { node.leave(number, peer, code, text) }),
      openStream: async (peer, ...given) =>
        streamOf(await call(number => { node.openStream(number, peer, ...given) })),
      messages: peer => {
        const messages = node.messages(peer)
        return {
          next: async () => await call<any>(number => { messages.next(number) }) ?? undefined,
          close: () => { messages.close() }
        }
      },
      keepAlive: keepAlive => { if (runs) keep(keepAlive) }
    }
  }

  return {
    ...helpers,
    startNode: async options => nodeOf(await held(numbered(number => { bridge.startNode(number, options) })))
  }
}
