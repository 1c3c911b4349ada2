// What npm's p2pt is tested for by its author, and what apps do with it, written against its API alone: the same script is
// bundled with npm's p2pt and with this package in its place. Each scenario resolves with what it has seen.
import P2PT from 'p2pt'

const event = (emitter, name) => new Promise(resolve => emitter.once(name, (...values) => resolve(values)))

/** Instances that are destroyed at the end, however it comes. */
async function between (identifier, urls, scenario) {
  const [one, other] = urls.map(url => new P2PT([].concat(url), identifier))
  try {
    return await scenario(one, other)
  } finally {
    one.destroy()
    other.destroy()
  }
}

const bothStart = (one, other) => { one.start(); other.start() }

function text (length) {
  let text = ''
  while (text.length < length) text += Math.random().toString(36).slice(2)
  return text.slice(0, length)
}

const scenarios = {
  /** A peer gets a text as soon as it is there. */
  text: (identifier, { url, again }) => between(identifier, [url, again], async (one, other) => {
    one.on('peerconnect', peer => { one.send(peer, 'hello') })
    const said = event(other, 'msg')
    bothStart(one, other)
    const [peer, message] = await said
    return { message, isFromOne: peer.id === one._peerId }
  }),

  /** Responses to responses, in chains of promises without a `catch`. */
  chain: (identifier, { url, again }) => between(identifier, [url, again], async (one, other) => {
    const said = []
    const ended = new Promise(resolve => {
      one.on('peerconnect', peer => {
        one.send(peer, 'one').then(([peer, message]) => {
          said.push(message)
          return peer.respond('three')
        }).then(([peer, message]) => {
          said.push(message)
          return peer.respond('five')
        }).then(([, message]) => {
          said.push(message)
          resolve()
        })
      })
    })
    other.on('msg', (peer, message) => {
      said.push(message)
      peer.respond('two').then(([peer, message]) => {
        said.push(message)
        return peer.respond('four')
      }).then(([peer, message]) => {
        said.push(message)
        return peer.respond('six')
      })
    })
    bothStart(one, other)
    await ended
    return said
  }),

  /** A tracker that is reached is told, with how many are. */
  'tracker reached': (identifier, { url, again }) => between(identifier, [url, again], async one => {
    const reached = event(one, 'trackerconnect')
    one.start()
    const [tracker, stats] = await reached
    return { isIt: tracker.announceUrl === url, stats, asked: one.getTrackerStats() }
  }),

  /** A tracker that is not there is told too. */
  'tracker missing': (identifier, { missing }) => between(identifier, [missing, missing], async one => {
    const warned = event(one, 'trackerwarning')
    one.start()
    const [error, stats] = await warned
    return { names: error instanceof Error && /error/i.test(error.message) && error.message.includes(missing), stats }
  }),

  /** Peers that share no tracker meet once one is added. */
  'tracker added': (identifier, { url, second }) => between(identifier, [url, second], async (one, other) => {
    const met = Promise.all([event(one, 'peerconnect'), event(other, 'peerconnect')])
    const ready = Promise.all([event(one, 'trackerconnect'), event(other, 'trackerconnect')])
    bothStart(one, other)
    await ready
    one.addTracker(second)
    const [[theOther], [theOne]] = await met
    let twice
    try { one.addTracker(second) } catch (error) { twice = error instanceof Error }
    return { met: theOther.id === other._peerId && theOne.id === one._peerId, twice, total: one.getTrackerStats().total }
  }),

  /** Peers that have met go on talking without the tracker. */
  'tracker removed': (identifier, { url, again }) => between(identifier, [url, again], async (one, other) => {
    const connected = event(other, 'peerconnect')
    const said = event(one, 'msg')
    bothStart(one, other)
    const [peer] = await connected
    other.removeTracker(again)
    other.send(peer, 'still here')
    const [, message] = await said
    let twice
    try { other.removeTracker(again) } catch (error) { twice = error instanceof Error }
    return { message, twice }
  }),

  /** A peer that is met at two trackers is one peer, with one channel at least, and is gone when its channels are. */
  'two trackers': (identifier, { url, second }) => between(identifier, [[url, second], [url, second]], async (one, other) => {
    const seen = []
    for (const [name, p2pt] of [['one', one], ['other', other]]) {
      p2pt.on('peerconnect', peer => { seen.push(`${name} connect`) })
    }
    const gone = Promise.all([event(one, 'peerclose'), event(other, 'peerclose')])
    const met = Promise.all([event(one, 'peerconnect'), event(other, 'peerconnect')])
    bothStart(one, other)
    const [[peer]] = await met
    other.on('msg', (peer, message) => { peer.respond(message) })
    const [, echoed] = await one.send(peer, { a: 1 })
    const channels = Object.values(one.peers[peer.id])
    for (const channel of channels) channel.destroy()
    await gone
    return { seen: seen.sort(), echoed, channels: channels.length > 0, left: Object.keys(one.peers).length }
  }),

  /** Texts and JSON much larger than a frame, both ways. */
  large: (identifier, { url, again }) => between(identifier, [url, again], async (one, other) => {
    const [question, answer] = [text(100_000), { hello: text(1_000_000) }]
    let arrived
    other.on('msg', (peer, message) => {
      arrived = message === question
      peer.respond(answer)
    })
    const connected = event(one, 'peerconnect')
    bothStart(one, other)
    const [peer] = await connected
    const [, response] = await one.send(peer, question)
    return { arrived, came: response.hello === answer.hello }
  }),

  /** What a shared drawing board does: the newcomer asks for what there is, then strokes go to all, unawaited, in order. */
  board: (identifier, { url, again }) => between(identifier, [url, again], async (one, other) => {
    const strokes = [{ from: [0, 0], to: [1, 1], colour: '#000' }]
    one.on('msg', (peer, message) => { if (message.type === 'state') peer.respond({ type: 'state', strokes }) })
    const connected = event(other, 'peerconnect')
    const there = event(one, 'peerconnect')
    bothStart(one, other)
    const [[peer], [newcomer]] = await Promise.all([connected, there])
    const [, state] = await other.send(peer, { type: 'state' })
    const drawn = []
    const all = new Promise(resolve => {
      other.on('msg', (peer, message) => {
        if (message.type !== 'stroke') return
        drawn.push(message.number)
        if (drawn.length === 300) resolve()
      })
    })
    for (let number = 0; number < 300; number++) {
      one.send(newcomer, { type: 'stroke', number, from: [number, 0], to: [number, 9], colour: '#c00' })
    }
    await all
    return { state: state.strokes, inOrder: drawn.every((number, place) => number === place) }
  }),

  /** Frames beside messages, as file libraries send them. */
  frames: (identifier, { url, again }) => between(identifier, [url, again], async (one, other) => {
    const connected = event(one, 'peerconnect')
    const there = event(other, 'peerconnect')
    bothStart(one, other)
    const [[peer], [from]] = await Promise.all([connected, there])
    const atPeer = event(from, 'data')
    const [frame] = await Promise.all([event(other, 'data'), peer.send(new Uint8Array([1, 2, 255]))])
    const [bytes] = await atPeer
    return { frame: [...frame[1]], same: frame[1].length === bytes.length, view: ArrayBuffer.isView(bytes) }
  }),

  /** A waiting response does not keep a page from learning that the peer went. */
  leaving: (identifier, { url, again }) => between(identifier, [url, again], async (one, other) => {
    const met = Promise.all([event(one, 'peerconnect'), event(other, 'peerconnect')])
    bothStart(one, other)
    const [[peer]] = await met
    one.send(peer, 'never answered').then(() => {})
    const gone = event(one, 'peerclose')
    other.destroy()
    const [left] = await gone
    return { isIt: left.id === peer.id, left: Object.keys(one.peers).length }
  })
}

window.names = Object.keys(scenarios)
window.run = (name, urls) => scenarios[name](`${name} ${Math.random()}`, urls)
