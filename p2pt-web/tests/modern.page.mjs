// Pages of modern.test.mjs: scenarios of the modern API, and those of the class that npm's p2pt could not pass.
import P2PT, {
  generateKey, join, newCode, newPassphrase, newRoomLink, P2ptError, publicKeyOf, startNode
} from 'p2pt-web/embedded'

/** Two nodes that have met, with their swarms; both are shut down at the end. */
async function pair (urls, act, options = {}) {
  const settings = { trackers: [urls.url], iceServers: [], ...options }
  const identifier = `modern ${Math.random()}`
  const [one, other] = await Promise.all([join(identifier, settings), join(identifier, settings)])
  try {
    const [toOther, toOne] = await Promise.all([one.waitForPeer(), other.waitForPeer()])
    return await act({ one, other, toOther, toOne })
  } finally {
    await Promise.all([one.leave(), other.leave()])
  }
}

/** The next event of a type. */
async function next (swarm, type, is = () => true) {
  for await (const event of swarm) if (event.type === type && is(event)) return event
  throw new Error(`no ${type} came`)
}

/** The code of what something throws or rejects with; the name of what is no error of the package. */
async function code (act) {
  try {
    await act()
    return 'nothing'
  } catch (error) {
    return error instanceof P2ptError ? error.code : error.name
  }
}

// Longer than a test may take, so that an abort that has no effect is seen.
const UNHURRIED = { requestTimeout: 600_000 }

const scenarios = {
  requests: urls => pair(urls, async ({ one, other, toOther }) => {
    const answering = (async () => {
      for await (const event of other) {
        if (event.type !== 'message') continue
        if (event.value.city === 'Ghent') event.respond({ degrees: 5 })
        if (event.value.chain !== undefined) {
          const response = await event.exchange({ chain: event.value.chain + 1 })
          response.respond(response.value)
        }
      }
    })()
    const controller = new AbortController()
    const aborted = code(() => toOther.request({ city: 'nowhere' }, { signal: controller.signal }))
    controller.abort()
    const first = await toOther.exchange({ chain: 1 })
    const last = await first.exchange('the end')
    const seen = {
      response: await toOther.request({ city: 'Ghent' }),
      parsed: await toOther.request({ city: 'Ghent' }, { parse: value => value.degrees * 2 }),
      notParsed: await code(() => toOther.request({ city: 'Ghent' }, { parse: () => { throw new RangeError('no') } })),
      late: await code(() => toOther.request({ city: 'nowhere' }, { timeout: 200 })),
      aborted: await aborted,
      chain: [first.value, last.value]
    }
    await other.leave()
    await answering
    seen.gone = await code(() => toOther.request('?'))
    return { ...seen, ended: await code(async () => { for await (const event of other) throw event }) }
  }, UNHURRIED),

  streams: urls => pair(urls, async ({ one, other, toOther, toOne }) => {
    const heard = []
    const listening = (async () => {
      for await (const message of toOne.messages()) {
        heard.push(message.value)
        if (message.value === 'stop') return
      }
    })()
    await toOther.send('a')
    await toOther.send({ b: 1 })
    toOther.send('stop')
    await listening
    await toOther.sendFrame('text ✓')
    toOther.sendFrame(new Uint16Array([1, 2]).subarray(1))
    toOther.sendFrame(new Uint8Array([9]).buffer)
    const frames = []
    for (let count = 0; count < 3; count++) {
      const { bytes, isText, peer } = await next(other, 'data')
      frames.push([isText ? new TextDecoder().decode(bytes) : [...bytes], isText, peer === toOne])
    }
    one.broadcast({ to: 'all' })
    const signal = AbortSignal.timeout(100)
    const message = await next(other, 'message', message => message.value.to === 'all')
    return {
      heard,
      frames,
      broadcast: message.value,
      same: message.value === message.value && message.peer === toOne && other.peers[0] === toOne,
      idle: await code(async () => { for await (const _ of one.events({ signal })); })
    }
  }),

  errors: async urls => {
    const options = { trackers: [urls.url], iceServers: [] }
    const node = await startNode(options)
    const swarm = await node.join('alone')
    const aborted = AbortSignal.abort()
    const seen = {
      option: await code(() => startNode({ maxPeers: 'many' })),
      unknown: await code(() => startNode({ maxPeer: 1 })),
      tracker: await code(() => startNode({ trackers: ['http://a.test'] })),
      id: await code(() => startNode({ peerId: '7' })),
      again: await code(() => node.join('alone')),
      hash: await code(() => node.join({ infoHash: 'x' })),
      url: await code(() => node.addTracker('x')),
      ban: await code(() => node.unban('x')),
      wait: await code(() => swarm.waitForPeer({ signal: AbortSignal.timeout(50) })),
      start: await code(() => startNode(options, { signal: aborted }))
    }
    const identifier = swarm.identifier
    await node.shutdown()
    return { ...seen, identifier, stopped: await code(() => node.join('more')), left: await code(() => swarm.leave()) }
  },

  statistics: urls => pair(urls, async ({ one, toOther }) => {
    await toOther.send('x'.repeat(1000))
    const [connection] = await toOther.stats()
    const { connected, total, trackers: [tracker] } = one.node.trackerStats()
    return {
      sent: connection.bytesSent > 1000,
      candidates: typeof connection.localCandidate,
      connected,
      total,
      status: tracker.status,
      announced: tracker.swarms[0].infoHash === one.infoHash,
      metrics: one.node.metrics().peersConnected,
      count: toOther.connectionCount,
      disposes: typeof one[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]
    }
  }),

  trust: async urls => {
    const bob = await generateKey()
    let kept
    const alice = { trackers: [urls.url], iceServers: [], onPinsChanged: pins => { kept = JSON.stringify(pins) } }
    const identifier = `trust ${Math.random()}`
    const [one, other] = await Promise.all([join(identifier, alice), join(identifier, { ...alice, key: bob })])
    const [toOther, toOne] = await Promise.all([one.waitForPeer(), other.waitForPeer()])
    const seen = {
      keys: [toOther.publicKey === await publicKeyOf(bob), toOne.publicKey === one.publicKey],
      first: toOther.trust.level,
      codes: JSON.stringify(toOther.safetyCode) === JSON.stringify(toOne.safetyCode) && toOther.safetyCode.words.length === 3
    }
    await one.node.pin('bob', toOther.publicKey)
    const { type, was, now } = await next(one, 'trustChanged')
    const carol = await publicKeyOf(await generateKey())
    seen.changes = [{ type, was: was.level, now }]
    seen.kept = kept === JSON.stringify({ bob: toOther.publicKey })
    await one.node.pin('carol', carol)
    seen.other = toOther.trustAs('carol').level
    seen.again = await code(() => one.node.pin('bob', carol))
    seen.wrong = await code(() => one.node.pin('dora', 'no key'))
    await Promise.all([other.leave(), next(one, 'peerClosed')])
    seen.after = toOther.trust
    await one.leave()
    return seen
  },

  policies: async urls => {
    const options = { trackers: [urls.url], iceServers: [] }
    const key = await generateKey()
    const identifier = `policies ${Math.random()}`
    const strict = await join(identifier, { ...options, policy: { only: [await publicKeyOf(key)] } })
    const unsigned = await join(identifier, { ...options, peerId: '07'.repeat(20) })
    const seen = { unsigned: (await next(strict, 'connectionRejected', ({ peerId }) => peerId === unsigned.peerId)).code }
    const wrong = await join(identifier, options)
    seen.wrong = (await next(strict, 'connectionRejected', ({ peerId }) => peerId === wrong.peerId)).code
    const friend = await join(identifier, { ...options, key })
    seen.friend = (await strict.waitForPeer()).id === friend.peerId
    seen.both = await code(() => startNode({ ...options, key, peerId: '07'.repeat(20) }))
    await Promise.all([strict, unsigned, wrong, friend].map(swarm => swarm.leave()))
    return seen
  },

  rooms: async urls => {
    const options = { trackers: [urls.url], iceServers: [] }
    const meet = async key => {
      const [one, other] = await Promise.all([join(key, options), join(key, options)])
      const met = (await one.waitForPeer()).id === other.peerId
      const named = /^p2pt1-/.test(one.identifier) && one.identifier === other.identifier
      await Promise.all([one.leave(), other.leave()])
      return met && named
    }
    const passphrase = await newPassphrase()
    return {
      passphrase: await meet({ secret: passphrase, identifier: 'our table' }),
      link: await meet({ secret: await newRoomLink('our table ✓') }),
      short: await code(() => join({ secret: 'short', identifier: 'our table' }, options)),
      alone: await code(() => join({ secret: passphrase }, options))
    }
  },

  codes: async urls => {
    const options = { trackers: [urls.url], iceServers: [] }
    const told = await newCode()
    const [first, second, third, last] = told.split('-')
    const shown = await join({ code: told, side: 'shows' }, options)
    const guess = [first, second, third, last === 'able' ? 'acid' : 'able'].join(' ')
    const mallory = await join({ code: guess, side: 'types' }, options)
    const { code: why, left } = await next(shown, 'connectionRejected', ({ code }) => code === 'wrong_code')
    await mallory.leave()
    const typed = await join({ code: told.toUpperCase(), side: 'types' }, options)
    const [peer, other] = await Promise.all([shown.waitForPeer(), typed.waitForPeer()])
    const seen = {
      keys: peer.publicKey === typed.publicKey && other.publicKey === shown.publicKey,
      guess: [why, left],
      none: await code(() => join({ code: told, side: 'types' }, { ...options, peerId: '07'.repeat(20) }))
    }
    await Promise.all([shown.leave(), typed.leave()])
    return seen
  },

  /** A peer that reads nothing is what a sender that awaits waits for; nothing is lost. */
  'back-pressure': urls => pair(urls, async ({ one, other, toOther }) => {
    const MESSAGES = 400
    let most = 0
    const sending = (async () => {
      for (let number = 0; number < MESSAGES; number++) {
        await toOther.send(`${number} ${'x'.repeat(100_000)}`)
        most = Math.max(most, toOther.bufferedAmount)
      }
    })()
    let expected = 0
    for await (const event of other) {
      if (event.type !== 'message') continue
      if (!event.text.startsWith(`${expected} `)) return `${expected}: ${event.text.slice(0, 20)}`
      if (++expected === MESSAGES) break
    }
    await sending
    return { all: expected === MESSAGES, most: most < 1_000_000, left: toOther.bufferedAmount }
  }),

  'a hundred thousand unawaited': async urls => {
    const MESSAGES = 100_000
    const options = { iceServers: [] }
    const identifier = `many ${Math.random()}`
    const [one, other] = [new P2PT([urls.url], identifier, options), new P2PT([urls.url], identifier, options)]
    const connected = new Promise(resolve => one.once('peerconnect', resolve))
    let expected = 0
    const all = new Promise((resolve, reject) => {
      other.on('msg', (peer, message) => {
        if (message !== expected++) reject(new Error(`${message} instead of ${expected - 1}`))
        if (expected === MESSAGES) resolve()
      })
    })
    await Promise.all([one.start(), other.start()])
    const peer = await connected
    let low = 0
    peer._channel.bufferedAmountLowThreshold = 100_000
    peer._channel.addEventListener('bufferedamountlow', () => low++)
    let sent
    for (let number = 0; number < MESSAGES; number++) sent = one.send(peer, number).sent
    const buffered = peer._channel.bufferedAmount
    await all
    await sent
    const left = peer._channel.bufferedAmount
    await Promise.all([one.destroy(), other.destroy()])
    return { buffered: buffered > 400_000, left, low, state: peer._channel.readyState }
  },

  /** Handlers that respond late, and what npm's p2pt never sends. */
  'late responses': async urls => {
    const identifier = `late ${Math.random()}`
    const [one, other] = [0, 1].map(() => new P2PT([urls.url], identifier, { iceServers: [] }))
    other.on('msg', async (peer, message, received) => {
      await new Promise(resolve => setTimeout(resolve))
      received.respond(`${message}!`)
    })
    const connected = new Promise(resolve => one.once('peerconnect', resolve))
    one.start()
    other.start()
    const there = await connected
    const asked = await Promise.all(['a', 'b', 'c'].map(message => one.send(there, message)))
    other.removeAllListeners('msg')
    other.on('msg', (peer, message) => peer.respond(`${message}!`))
    const rejected = one.send(there, undefined)
    const seen = {
      answers: asked.map(([, message]) => message),
      notSent: [await code(() => rejected), await code(() => rejected.sent)],
      odd: (await Promise.all([one.send(there, ''), one.send(there, 7), one.send(there, true)])).map(([, said]) => said)
    }
    other.removeAllListeners('msg')
    const never = one.send(there, 'no answer')
    other.destroy()
    seen.gone = await code(() => never)
    await one.destroy()
    return seen
  },

  /** What is called before `start`, while it is under way, and after `destroy`. */
  'any order': async urls => {
    const p2pt = new P2PT([], '', { iceServers: [] })
    const none = p2pt.getTrackerStats()
    const asked = await p2pt.requestMorePeers()
    p2pt.addTracker(urls.url)
    const started = p2pt.start()
    p2pt.setIdentifier('later')
    p2pt.addTracker(urls.second)
    p2pt.removeTracker(urls.url)
    const reached = new Promise(resolve => p2pt.once('trackerconnect', tracker => resolve(tracker.announceUrl === urls.second)))
    await started
    const seen = { none, asked, reached: await reached, hash: await p2pt.infoHash, stats: p2pt.getTrackerStats() }
    await p2pt.setIdentifier('even later')
    seen.identifiers = [p2pt.identifierString, p2pt.swarm.identifier]
    await p2pt.destroy()
    seen.after = [p2pt.getTrackerStats().connected, p2pt.swarm === undefined]
    const again = p2pt.start()
    p2pt.destroy()
    await again
    const warned = new Promise(resolve => { p2pt.once('trackerwarning', error => resolve(error.message)) })
    p2pt.addTracker('http://a.test')
    await p2pt.start()
    seen.warned = (await warned).startsWith('tracker error at http://a.test: ')
    await p2pt.destroy()
    return seen
  }
}

window.names = Object.keys(scenarios)
window.run = (name, urls) => scenarios[name](urls)
