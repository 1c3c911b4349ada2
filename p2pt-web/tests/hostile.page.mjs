// Pages of hostile.test.mjs: a peer that means harm, programs that call anything from anywhere, and many lives in one page.
import NpmP2PT from 'p2pt'
import P2PT, { join, startNode } from 'p2pt-web/embedded'

// The memory of the WebAssembly, which the package keeps to itself.
let memory
const { instantiate } = WebAssembly
WebAssembly.instantiate = async (...values) => {
  const made = await instantiate.apply(WebAssembly, values)
  memory = (made.instance ?? made).exports.memory
  return made
}

const event = (emitter, name) => new Promise(resolve => emitter.once(name, (...values) => resolve(values)))

/** The peer of an id, once it is met. */
async function met (swarm, id) {
  for await (const event of swarm) if (event.type === 'peerConnected' && event.peer.id === id) return event.peer
  throw new Error(`${id} was not met`)
}

/** Frames of JavaScript's p2pt, by hand: what begins with `^` is a part of a message. */
const frame = fields => `^${JSON.stringify({ c: 0, last: true, ...fields })}`
const raw = (id, msg, more = '') => `^{"id":${id},"msg":${JSON.stringify(msg)},"c":0,"last":true${more}}`

/** Ids that a program in JavaScript does not write as they came. */
const IDS = ['0', 'null', '""', '{}', '7.0', '-0', '18446744073709551615', '1e400', '"\\u00e9"', '{"b":1,"1":2}',
  '{"__proto__":{"x":1}}', '"__proto__"', '"constructor"', '"toString"', '[]', 'true']

const scenarios = {
  /** Everything valid arrives, in order, and is answered under its own id; everything else costs nothing. */
  'odd messages': async urls => {
    const identifier = `hostile ${Math.random()}`
    const victim = new P2PT([urls.url], identifier, { iceServers: [] })
    const attacker = new NpmP2PT([`${urls.url}/`], identifier)
    // It would write what has the id `__proto__` into the prototype of all objects of this page.
    attacker._chunkHandler = () => false
    const heard = []
    victim.on('msg', (peer, message) => {
      heard.push(typeof message === 'string' ? message : Object.keys(message).join())
      peer.respond(message)
    })
    const answered = []
    const done = new Promise(resolve => attacker.on('data', (peer, data) => {
      const [, id] = /^\^\{"id":(.*?),"(?:msg|c|last|o)":/.exec(new TextDecoder().decode(data)) ?? []
      answered.push(id)
      if (id === '"the end"') resolve()
    }))
    const there = event(attacker, 'peerconnect')
    victim.start()
    attacker.start()
    const [peer] = await there
    for (const id of IDS) peer.send(raw(id, id))
    const wrong = [
      '^', '^{', '^[]', '^null', '^{}', '^{"id":1}', frame({ id: 1, msg: 7 }), frame({ id: 1, msg: '{', o: 1 }),
      frame({ id: 1, msg: 'x', c: -1 }), frame({ id: 1, msg: 'x', c: 1e9 }), raw('[', 'x'), raw('"x"', 'x', ',"c":{}'),
      raw(`"${'x'.repeat(1000)}"`, 'x')
    ]
    for (const text of wrong) peer.send(text)
    peer.send(new Uint8Array([94, 123, 255, 254]))
    peer.send(raw('1', '{"__proto__":{"admin":true},"constructor":1}', ',"o":1'))
    peer.send(raw('"the end"', 'the end'))
    await done
    const seen = {
      heard: heard.filter(message => !IDS.includes(message)),
      ids: IDS.filter(id => !heard.includes(id)),
      answered: IDS.filter(id => !answered.includes(id)),
      admin: {}.admin,
      peers: Object.keys(victim.peers).length
    }
    attacker.destroy()
    await victim.destroy()
    return seen
  },

  /** JSON nested so deep that recursion would overflow: reading it, and writing it again, does no harm. */
  nested: async urls => {
    const identifier = `nested ${Math.random()}`
    const [victim, attacker] = [new P2PT([urls.url], identifier, { iceServers: [] }), new NpmP2PT([`${urls.url}/`], identifier)]
    const heard = new Promise(resolve => victim.on('msg', (peer, message) => {
      if (message === 'after it') resolve(message)
      else peer.respond(message)
    }))
    const there = event(attacker, 'peerconnect')
    victim.start()
    attacker.start()
    const [peer] = await there
    const depth = 500_000
    const deep = '['.repeat(depth) + ']'.repeat(depth)
    const size = 10_000
    for (let from = 0; from < deep.length; from += size) {
      const part = { id: 5, msg: deep.slice(from, from + size), c: from / size, o: 1 }
      peer.send(`^${JSON.stringify(from + size < deep.length ? part : { ...part, last: true })}`)
    }
    peer.send(frame({ id: 6, msg: 'after it' }))
    const seen = await heard
    attacker.destroy()
    await victim.destroy()
    return seen
  },

  /** A peer that floods a page: what it sends waits at its side, and others are heard among it. */
  flood: async urls => {
    const identifier = `flood ${Math.random()}`
    const settings = { trackers: [urls.url], iceServers: [] }
    const MESSAGES = 20_000
    const [victim, attacker, friend] = [await join(identifier, settings), await join(identifier, settings), await join(identifier, settings)]
    const [flooded, asked] = await Promise.all([attacker, friend].map(swarm => met(swarm, victim.peerId)))
    for (let number = 0; number < MESSAGES; number++) flooded.send('x'.repeat(1000))
    const answered = asked.request('are you there?', { timeout: 600_000 })
    let before = 0
    for await (const event of victim) {
      if (event.type !== 'message') continue
      if (event.value === 'are you there?') {
        event.respond('yes')
        break
      }
      before++
    }
    const seen = { answer: await answered, among: before < MESSAGES, waits: flooded.bufferedAmount > 0 }
    await Promise.all([victim.leave(), attacker.leave(), friend.leave()])
    return seen
  },

  /** Every method from every handler. */
  'inside handlers': async urls => {
    const identifier = `inside ${Math.random()}`
    const [one, other] = [0, 1].map(() => new P2PT([urls.url], identifier, { iceServers: [] }))
    const log = []
    one.once('trackerconnect', () => {
      one.addTracker(urls.second)
      one.requestMorePeers()
      one.start()
    })
    other.on('msg', (peer, message) => {
      if (message === 'go') peer.respond('going').then(() => {}).then(() => {})
    })
    one.on('peerconnect', peer => {
      one.send(peer, 'before').then(() => {})
      one.removeTracker(urls.second)
      one.send(peer, 'go').then(([from, said]) => {
        log.push(said)
        from.respond('bye')
        from.destroy()
        one.send(from, 'to one that is destroyed').catch(error => log.push(error.code))
      })
    })
    const ended = new Promise(resolve => one.once('peerclose', peer => {
      log.push('peerclose')
      one.destroy()
      one.send(peer, 'too late').catch(error => log.push(error.code))
      resolve(one.destroy())
    }))
    one.start()
    other.start()
    one.setIdentifier(identifier)
    await ended
    await other.destroy()
    return [...log.sort(), one.getTrackerStats().connected, Object.keys(one.peers).length]
  },

  /** Starting, setting and destroying in quick turns: what is left is what was asked for last. */
  turns: async urls => {
    const p2pt = new P2PT([urls.url], 'first', { iceServers: [] })
    for (let turn = 0; turn < 20; turn++) {
      p2pt.start()
      p2pt.setIdentifier(`turn ${turn}`)
      if (turn % 3 === 0) p2pt.start()
      if (turn % 2 === 0) p2pt.destroy()
      if (turn % 5 === 0) p2pt.destroy()
    }
    await p2pt.start()
    await p2pt.setIdentifier('last')
    const seen = [p2pt.swarm.identifier, p2pt.node.peerId === p2pt._peerId, p2pt.identifierString]
    await p2pt.destroy()
    return seen
  }
}

/** So many of each: nodes, pairs of instances that meet, and swarms of one node of which no event is read. */
const lives = {
  refs: [],
  kept: [],

  async nodes (url, count) {
    for (let made = 0; made < count; made++) {
      const node = await startNode({ trackers: [url], iceServers: [] })
      const swarm = await node.join(`alone ${Math.random()}`)
      swarm.waitForPeer({ signal: new AbortController().signal }).catch(() => {})
      this.refs.push(new WeakRef(node), new WeakRef(swarm))
      // Chromium gives no more sockets to a page that ends too many of them before they are open.
      for await (const { type } of swarm) if (type === 'trackerConnected') break
      await node.shutdown()
    }
  },

  async pairs (url, count) {
    for (let made = 0; made < count; made++) {
      const identifier = `pair ${Math.random()}`
      const [one, other] = [0, 1].map(() => new P2PT([url], identifier, { iceServers: [] }))
      other.on('msg', peer => peer.respond('yes'))
      const there = event(one, 'peerconnect')
      one.start()
      other.start()
      const [peer] = await there
      await one.send(peer, 'a question')
      one.send(peer, 'one without an answer')
      this.refs.push(new WeakRef(one), new WeakRef(other), new WeakRef(peer))
      await Promise.all([one.destroy(), other.destroy()])
    }
  },

  async swarms (url, count) {
    if (this.kept.length === 0) for (const _ of 'ab') this.kept.push(await startNode({ trackers: [url], iceServers: [] }))
    for (let made = 0; made < count; made++) {
      const identifier = `swarm ${Math.random()}`
      const [one, other] = await Promise.all(this.kept.map(node => node.join(identifier)))
      this.refs.push(new WeakRef(await one.waitForPeer()), new WeakRef(one), new WeakRef(other))
      await Promise.all([one.leave(), other.leave()])
    }
  },

  memory () { return memory.buffer.byteLength },

  alive () { return this.refs.filter(ref => ref.deref() !== undefined).length }
}

window.run = (name, urls) => scenarios[name](urls)
window.lives = lives
