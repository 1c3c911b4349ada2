// The modern API over a binding that is made here: what crosses, and what must not.
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { startNode } from '../dist/node.js'
import { setLoader } from '../dist/platform.js'
import { newRoomLink, publicKeyOf } from '../dist/trust.js'

/** What was called of the binding. */
let calls
/** What `broadcast` returns, and the messages of a peer. */
let refused, messages

// A binding to WebAssembly writes what is no string into memory that is not its own.
const crossing = (name, ...values) => {
  calls.push([name, ...values])
  for (const value of values) {
    const is = ['string', 'boolean', 'undefined', 'number'].includes(typeof value) || value instanceof Uint8Array
    if (!is) throw new WebAssembly.RuntimeError(`${name} got ${String(value)}`)
  }
}

const swarm = {
  infoHash: () => 'a hash',
  identifier: () => 'room',
  peers: () => '[[7,"an id","a key"]]',
  next: async () => batches.shift() ?? [],
  broadcast: () => refused,
  setIdentifier: async (...values) => crossing('setIdentifier', ...values)
}
let batches = []

setLoader(async () => ({
  newRoomLink: name => crossing('newRoomLink', name),
  publicKeyOf: key => crossing('publicKeyOf', key),
  startNode: async options => {
    crossing('startNode', options)
    return {
      join: async (...values) => {
        crossing('join', ...values)
        return swarm
      },
      addTracker: async url => {
        crossing('addTracker', url)
        return url
      },
      removeTracker: async url => crossing('removeTracker', url),
      ban: async id => crossing('ban', id),
      unban: id => crossing('unban', id),
      pin: async (...values) => crossing('pin', ...values),
      unpin: async name => crossing('unpin', name),
      pins: () => '{}',
      known: () => undefined,
      trustAs: (peer, name) => crossing('trustAs', name),
      send: async (...values) => crossing('send', ...values),
      sendTextFrame: async (...values) => crossing('sendTextFrame', ...values),
      sendBinaryFrame: async (...values) => crossing('sendBinaryFrame', ...values),
      messages: () => messages
    }
  }
}))

beforeEach(() => {
  calls = []
  batches = []
})

async function joined () {
  const node = await startNode()
  const joined = await node.join('room')
  calls = []
  return { node, swarm: joined, peer: joined.peers[0] }
}

test('what is no string does not cross as one', async () => {
  const { node, swarm, peer } = await joined()
  for (const wrong of [undefined, null, 7, {}, { infoHash: 7 }, Symbol('x')]) {
    await assert.rejects(node.join(wrong), { code: 'invalid_id' })
    await assert.rejects(swarm.setIdentifier(wrong), { code: 'invalid_id' })
    await assert.rejects(peer.respondTo(wrong, 'x'), { code: 'invalid_id' })
    await assert.rejects(node.ban(wrong), { code: 'invalid_id' })
    assert.throws(() => node.unban(wrong), { code: 'invalid_id' })
    await assert.rejects(node.join({ code: wrong, side: 'types' }), error => /^invalid_(id|secret)$/.test(error.code))
    await assert.rejects(node.join({ secret: wrong, identifier: 'x' }), error => /^invalid_(id|secret)$/.test(error.code))
    await assert.rejects(node.pin(wrong, 'a key'), { code: 'invalid_secret' })
    await assert.rejects(node.pin('bob', wrong), { code: 'invalid_secret' })
    await assert.rejects(node.unpin(wrong), { code: 'invalid_secret' })
    await assert.rejects(newRoomLink(wrong), { code: 'invalid_secret' })
    await assert.rejects(publicKeyOf(wrong), { code: 'invalid_secret' })
    assert.throws(() => peer.trustAs(wrong), { code: 'invalid_secret' })
    if (typeof wrong === 'symbol') continue
    await node.addTracker(wrong)
    await node.removeTracker(wrong)
  }
  const url = new URL('ws://a.test/x')
  assert.equal(await node.addTracker(url), 'ws://a.test/x')
  await node.removeTracker(url)
  assert.ok(calls.every(([name, value]) => /Tracker$/.test(name) && typeof value === 'string'), JSON.stringify(calls))
})

test('what is neither text nor bytes is no frame', async () => {
  const { peer } = await joined()
  for (const wrong of [undefined, null, 3, {}, [1, 2], new Blob(['abc']), true]) {
    await assert.rejects(peer.sendFrame(wrong), { code: 'frame_rejected' }, String(wrong))
  }
  assert.deepEqual(calls, [])
  await peer.sendFrame(new DataView(new ArrayBuffer(4), 1, 2))
  await peer.sendFrame(new SharedArrayBuffer(3))
  assert.deepEqual(calls.map(([name,, bytes]) => [name, bytes.length]), [['sendBinaryFrame', 2], ['sendBinaryFrame', 3]])
})

test('options that JSON would pass over are errors', async () => {
  for (const wrong of [Infinity, NaN, 1n, () => {}, Symbol('x')]) {
    await assert.rejects(startNode({ maxPeers: wrong }), { code: 'invalid_option', message: /^maxPeers: / })
  }
  assert.deepEqual(calls, [])
  await startNode({ maxPeers: undefined, sendTimeout: 1.5 })
  assert.deepEqual(calls, [['startNode', '{"sendTimeout":1.5}']])
})

test('what a signal has ended before it began is not sent', async () => {
  const { peer } = await joined()
  const reason = new Error('enough')
  const signal = AbortSignal.abort(reason)
  await assert.rejects(peer.send('x', { signal }), reason)
  await assert.rejects(peer.respondTo('1', 'x', { signal }), reason)
  await assert.rejects(peer.sendFrame('x', { signal }), reason)
  assert.deepEqual(calls, [])
})

test('a signal that ends the messages of a peer loses none', async () => {
  const { peer } = await joined()
  const queue = ['a', 'b', 'c']
  let waiting
  messages = {
    // Taken at once, and handed over later, as a binding does.
    next: async () => {
      const taken = queue.shift()
      if (taken !== undefined) return [taken, false, '1']
      return await new Promise(resolve => { waiting = resolve })
    },
    close: () => waiting?.(undefined)
  }
  const reason = new Error('enough')
  const heard = []
  const between = new AbortController()
  await assert.rejects(async () => {
    for await (const message of peer.messages({ signal: between.signal })) {
      heard.push(message.text)
      between.abort(reason)
    }
  }, reason)
  assert.deepEqual([heard.splice(0), queue], [['a'], ['b', 'c']])

  // While a message that was taken is on its way, and while nothing comes.
  const within = new AbortController()
  const iterating = assert.rejects(async () => {
    for await (const message of peer.messages({ signal: within.signal })) heard.push(message.text)
  }, reason)
  within.abort(reason)
  await iterating
  assert.deepEqual([heard.splice(0), queue], [['b'], ['c']])
  queue.length = 0
  const idle = new AbortController()
  const waits = assert.rejects(async () => { for await (const _ of peer.messages({ signal: idle.signal })); }, reason)
  await new Promise(resolve => setImmediate(resolve))
  idle.abort(reason)
  await waits
})

test('a peer that is refused before it is read of is one with its id', async () => {
  const { swarm } = await joined()
  refused = '[[8,"its id",null,"queue_full: no room"]]'
  const [{ peer, error }] = swarm.broadcast('x')
  assert.deepEqual([peer.id, error.code, error.message], ['its id', 'queue_full', 'no room'])
  batches = [['{"type":"peerConnected","peer":8,"id":"its id"}', '{"type":"sendFailed","peer":9,"id":"\\"a message\\"","code":"other"}']]
  const events = []
  for await (const event of swarm) events.push(event)
  assert.equal(events[0].peer, peer)
  // That id is the message's.
  assert.deepEqual([events[1].peer.id, events[1].id], ['', '"a message"'])
})

test('a swarm is named in each of its ways, and a secret is in no error', async () => {
  const { node } = await joined()
  const ways = [
    ['room', ['room', 'identifier', undefined]],
    [{ infoHash: 'ab' }, ['ab', 'infoHash', undefined]],
    [{ secret: ' p2pt:room#key' }, [' p2pt:room#key', 'sealed', undefined]],
    [{ secret: 'p2pt:room#key', hidden: true, identifier: 'ignored' }, ['p2pt:room#key', 'hidden', undefined]],
    [{ secret: 'five words', identifier: 'room' }, ['room', 'sealed', 'five words']],
    [{ code: 'a-b-c-d', side: 'shows' }, ['a-b-c-d', 'shows', undefined]]
  ]
  for (const [key] of ways) await node.join(key)
  assert.deepEqual(calls.map(([, ...values]) => values), ways.map(([, values]) => values))
  for (const wrong of [{ secret: 'hush hush hush' }, { code: 'hush-a-b-c' }, { code: 'hush-a-b-c', side: 'both' }]) {
    await assert.rejects(node.join(wrong), error => error.code === 'invalid_secret' && !error.message.includes('hush'))
  }
})

test('pins that change are handed to the program, and functions do not cross', async () => {
  const seen = []
  const node = await startNode({ onPinsChanged: pins => { seen.push(pins) }, pins: { bob: 'a key' } })
  assert.deepEqual(calls, [['startNode', '{"pins":{"bob":"a key"}}']])
  await node.pin('carol', 'another')
  await node.unpin('nobody')
  assert.deepEqual(seen, [{}])
})
