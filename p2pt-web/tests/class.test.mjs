// The class over a binding that is made here: what comes in which batch, and what is called, is exact.
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { P2PT } from '../dist/p2pt.js'
import { setLoader } from '../dist/platform.js'
import { unhandled } from './unhandled.mjs'

/** What was called of the binding, and what it hands out next. */
let calls, batches, wake, beforeEnd, lastBatch, trackers, known

setLoader(async () => ({
  infoHashOf: identifier => `hash of ${identifier}`,
  generateKey: () => 'a secret key',
  startNode: async options => {
    calls.push(['startNode', JSON.parse(options)])
    return {
      peerId: () => JSON.parse(options).peerId ?? 'ef'.repeat(20),
      publicKey: () => JSON.parse(options).peerId === undefined ? 'a public key' : undefined,
      pin: async (...pin) => { calls.push(['pin', ...pin]) },
      unpin: async name => name === 'bob' ? 'a key' : undefined,
      pins: () => '{"bob":"a key"}',
      known: () => known,
      join: async (...key) => {
        calls.push(['join', ...key])
        return {
          infoHash: () => 'ab'.repeat(20),
          next: async () => {
            while (batches.length === 0) await new Promise(resolve => { wake = resolve })
            return batches.shift()
          },
          setIdentifier: async (...key) => { calls.push(['setIdentifier', ...key]) },
          requestMorePeers: async () => { calls.push(['requestMorePeers']) }
        }
      },
      addTracker: async url => {
        calls.push(['addTracker', url])
        if (!url.startsWith('ws')) throw new Error('invalid_announce_url: no')
        return url.replace(/\/$/, '')
      },
      removeTracker: async url => { calls.push(['removeTracker', url]) },
      trackers: () => trackers,
      send: (...values) => {
        calls.push(['send', ...values])
        if (values[1] === 'taken') return undefined
        return values[1] === 'refused' ? Promise.reject(new Error('queue_full: no room')) : Promise.resolve()
      },
      buffered: () => 0,
      connectionCount: number => number < 100 ? 1 : 0,
      disconnect: async number => { calls.push(['disconnect', number]) },
      shutdown: async () => {
        calls.push(['shutdown'])
        await beforeEnd
        if (lastBatch.length > 0) come(lastBatch)
        come([])
      }
    }
  }
}))

beforeEach(() => {
  calls = []
  batches = []
  wake = () => {}
  beforeEnd = undefined
  lastBatch = []
  known = undefined
  trackers = '{"connected":0,"total":0,"trackers":[]}'
})

function come (batch) {
  batches.push(batch)
  wake()
}

const connected = (peer, id = 'ab'.repeat(20)) => JSON.stringify({ type: 'peerConnected', peer, id })
const closed = peer => JSON.stringify({ type: 'peerClosed', peer, code: 'remote', reason: 'closed by the other side' })
const event = (p2pt, name) => new Promise(resolve => p2pt.once(name, (...values) => resolve(values)))
const called = name => calls.filter(([called]) => called === name).map(([, ...values]) => values)

/** The class with a peer of number 7. */
async function started () {
  const p2pt = new P2PT(['ws://a.test/'], 'room')
  const there = event(p2pt, 'peerconnect')
  await p2pt.start()
  come([connected(7)])
  const [peer] = await there
  return { p2pt, peer }
}

test('responses that come in one batch are responded to one by one', async () => {
  const { p2pt, peer } = await started()
  const responses = ['a', 'b', 'c'].map(async message => {
    const [from, said] = await p2pt.send(peer, message)
    from.respond(`${message} ${said}`)
    return from.id
  })
  const ids = called('send').map(([,,, id]) => id)
  come(ids.map((id, place) => [7, `response ${place}`, false, id]))
  assert.deepEqual(await Promise.all(responses), Array(3).fill(peer.id))
  const sent = called('send').slice(3).map(([number, text, isJson, id]) => [number, text, isJson, id])
  assert.deepEqual(sent, ['a', 'b', 'c'].map((message, place) => [7, `${message} response ${place}`, false, ids[place]]))
})

test('ids of messages are outside those that npm’s p2pt draws', async () => {
  const { p2pt, peer } = await started()
  const random = Math.random
  const drawn = [0, 0.5, 1 - Number.EPSILON / 2]
  try {
    for (const number of drawn) {
      Math.random = () => number
      p2pt.send(peer, 'x')
    }
  } finally {
    Math.random = random
  }
  const ids = called('send').map(([,,, id]) => Number(id))
  assert.ok(ids.every(id => Number.isSafeInteger(id) && id >= 200_000), ids.join())
  assert.equal(new Set(ids).size, drawn.length)
})

test('a handler of `msg` responds to its message, at once by the peer and at any time by the third argument', async () => {
  const { p2pt } = await started()
  const received = []
  p2pt.on('msg', (peer, message, later) => {
    peer.respond(`at once: ${message}`)
    received.push(later)
  })
  come([[7, 'x', false, '1'], [7, '{"y":1}', true, '"two"']])
  while (received.length < 2) await new Promise(resolve => setImmediate(resolve))
  received[0].respond({ late: received[0].value })
  received[1].respond(received[1].value)
  const sent = called('send').map(([, text, isJson, id]) => [text, isJson, id])
  assert.deepEqual(sent, [
    ['at once: x', false, '1'], ['at once: [object Object]', false, '"two"'], ['{"late":"x"}', true, '1'], ['{"y":1}', true, '"two"']
  ])
})

test('what the connection has taken at once is sent, and answered as ever', async () => {
  const { p2pt, peer } = await started()
  const taken = p2pt.send(peer, 'taken')
  assert.equal(await taken.sent, undefined)
  assert.equal(await peer._peer.send('taken'), undefined)
  const [[, , , id]] = called('send')
  come([[7, 'response', false, id]])
  assert.equal((await taken)[1], 'response')
  const ended = AbortSignal.abort(new Error('no longer'))
  await assert.rejects(peer._peer.send('taken', { signal: ended }), { message: 'no longer' })
  const unanswered = p2pt.send(peer, 'taken')
  come([closed(7)])
  await assert.rejects(unanswered, { code: 'peer_gone' })
})

test('what was not sent, and what the peer did not answer before it went, is rejected', async () => {
  const { p2pt, peer } = await started()
  const [refused, waiting] = [p2pt.send(peer, 'refused'), p2pt.send(peer, 'waiting')]
  const gone = event(p2pt, 'peerclose')
  come([closed(7)])
  await assert.rejects(refused, { code: 'queue_full', message: 'no room' })
  await assert.rejects(refused.sent, { code: 'queue_full' })
  await waiting.sent
  await assert.rejects(waiting, { code: 'peer_gone' })
  const [left, how] = await gone
  assert.equal(left, peer)
  assert.equal(how.code, 'remote')
  assert.deepEqual(p2pt.peers, {})
})

test('by an object of a peer that went, the peer that has come back under its id is meant', async () => {
  const p2pt = new P2PT([], 'room')
  await p2pt.start()
  const first = event(p2pt, 'peerconnect')
  come([connected(100)])
  const [old] = await first
  assert.equal(old.connected, false)
  const second = event(p2pt, 'peerconnect')
  come([closed(100), connected(8)])
  await second
  p2pt.send(old, 'x')
  assert.equal(called('send')[0][0], 8)
})

test('trackers are called as the program wrote them, however the library writes them', async () => {
  const { p2pt } = await started()
  const reached = event(p2pt, 'trackerconnect')
  come([JSON.stringify({ type: 'trackerConnected', tracker: 'ws://a.test', connected: 1, total: 1 })])
  assert.deepEqual((await reached)[0], { announceUrl: 'ws://a.test/' })
  const warned = event(p2pt, 'trackerwarning')
  come([JSON.stringify({ type: 'trackerWarning', tracker: 'ws://a.test', code: 'other', message: 'slow', missed: 0 })])
  assert.equal((await warned)[0].message, 'tracker error at ws://a.test/: slow')

  // The same tracker in another spelling stays when one of the two goes.
  p2pt.addTracker('ws://a.test')
  p2pt.removeTracker('ws://a.test/')
  await p2pt.requestMorePeers()
  assert.deepEqual(called('removeTracker'), [])
  p2pt.removeTracker('ws://a.test')
  await p2pt.requestMorePeers()
  assert.deepEqual(called('removeTracker'), [['ws://a.test']])
  assert.deepEqual([p2pt.announceURLs, p2pt.trackers, p2pt.getTrackerStats().total], [[], {}, 0])
})

test('one wrong URL keeps no other tracker from being used', async () => {
  const p2pt = new P2PT(['http://a.test', 'ws://b.test'], 'room')
  const warned = event(p2pt, 'trackerwarning')
  await p2pt.start()
  assert.equal((await warned)[0].message, 'tracker error at http://a.test: no')
  assert.deepEqual(called('addTracker'), [['http://a.test'], ['ws://b.test']])
  assert.deepEqual(called('join'), [['room', 'identifier', undefined]])
})

test('servers are public ones until they are set', async () => {
  const options = async change => {
    const p2pt = new P2PT([], 'room')
    change(p2pt)
    await p2pt.start()
    return called('startNode').at(-1)[0].iceServers
  }
  const server = { urls: 'stun:a.test' }
  assert.equal(await options(() => {}), undefined)
  assert.deepEqual(await options(p2pt => { p2pt._rtcConfig.iceServers.push(server) }), [server])
  assert.deepEqual(await options(p2pt => { p2pt._rtcConfig.iceServers = [] }), [])
  assert.deepEqual(await options(p2pt => { p2pt._rtcConfig = { iceServers: [server] } }), [server])
})

test('a program that begins without an identifier joins when it has one', async () => {
  const p2pt = new P2PT([])
  await p2pt.start()
  assert.deepEqual(called('join'), [])
  await p2pt.setIdentifier('room')
  await p2pt.setIdentifier('another')
  assert.deepEqual([called('join'), called('setIdentifier')], [[['room', 'identifier', undefined]], [['another', 'identifier', undefined]]])
  assert.equal(await p2pt.infoHash, 'hash of another')
})

test('it ends once, and can begin again', async () => {
  const { p2pt } = await started()
  await Promise.all([p2pt.destroy(), p2pt.destroy()])
  assert.deepEqual(called('shutdown'), [[]])
  await Promise.all([p2pt.start(), p2pt.start()])
  assert.equal(called('startNode').length, 2)
  // With its key, and another id.
  assert.deepEqual(called('startNode').map(([{ key, peerId }]) => [key, peerId]), Array(2).fill(['a secret key', undefined]))
})

test('a response has the id of its message as it came, whatever a peer has chosen for it', async () => {
  const { p2pt } = await started()
  const ids = [
    '0', 'null', '""', '7.0', '18446744073709551615', '-1e999', '"\\u00e9"', '{"b":1,"1":2}', '{"__proto__":null}', '["constructor"]'
  ]
  let heard = 0
  p2pt.on('msg', (peer, message, received) => {
    heard++
    peer.respond('by the peer')
    received.respond('by the message')
  })
  come(ids.map(id => [7, 'x', false, id]))
  while (heard < ids.length) await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(called('send').map(([,,, id]) => id), ids.flatMap(id => [id, id]))
})

test('a response in the place of another is the one that is responded to', async () => {
  const { p2pt, peer } = await started()
  const [first, second] = [p2pt.send(peer, 'a', 3), p2pt.send(peer, 'b', 3)]
  await assert.rejects(first, { code: 'replaced' })
  come([[7, 'x', false, '3']])
  assert.equal((await second)[1], 'x')
})

test('what is destroyed says no more than how it ends', async () => {
  const { p2pt, peer } = await started()
  const heard = []
  for (const name of ['peerconnect', 'msg', 'data', 'trackerconnect', 'peerclose']) p2pt.on(name, () => heard.push(name))
  peer.on('data', () => heard.push('data of the peer'))
  const destroyed = new Promise(resolve => p2pt.once('msg', () => {
    p2pt.destroy()
    // The next run has nothing of the one before.
    p2pt.start()
    resolve()
  }))
  const tracker = JSON.stringify({ type: 'trackerConnected', tracker: 'ws://a.test', connected: 1, total: 1 })
  lastBatch = [closed(7), closed(8)]
  come([[7, 'x', false, '1'], connected(8, 'cd'.repeat(20)), [7, 'y', false, '2'], [7, new Uint8Array(1), false], tracker])
  await destroyed
  await p2pt.start()
  assert.deepEqual([heard, p2pt.peers], [['msg', 'peerclose'], {}])
})

test('a peer that is destroyed says no more', async () => {
  const { p2pt, peer } = await started()
  const asked = p2pt.send(peer, 'a question', 3)
  const heard = []
  for (const name of ['msg', 'data', 'peerclose']) p2pt.on(name, () => heard.push(name))
  p2pt.once('msg', from => {
    assert.equal(from.destroyed, false)
    from.destroy()
    from.destroy()
    assert.equal(from.destroyed, true)
  })
  come([[7, 'x', false, '1'], [7, 'y', false, '2'], [7, 'a response', false, '3'], [7, new Uint8Array(1), false], closed(7)])
  await assert.rejects(asked, { code: 'peer_gone' })
  assert.deepEqual([heard, called('disconnect')], [['msg', 'peerclose'], [[7]]])

  // By the view of a response, too.
  const there = event(p2pt, 'peerconnect')
  come([connected(9)])
  const [other] = await there
  const response = p2pt.send(other, 'x', 4)
  come([[9, 'y', false, '4']])
  ;(await response)[0].destroy()
  assert.equal(other.destroyed, true)
})

test('everything that waits for the end waits for all of it', async () => {
  const { p2pt, peer } = await started()
  let end
  beforeEnd = new Promise(resolve => { end = resolve })
  lastBatch = [closed(7)]
  const order = []
  p2pt.on('peerclose', () => order.push('peerclose'))
  const first = p2pt.destroy().then(() => order.push('first'))
  const second = p2pt.destroy().then(() => order.push('second'))
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual([order, peer.connected], [[], true])
  end()
  await Promise.all([first, second])
  assert.deepEqual([order, p2pt.peers], [['peerclose', 'first', 'second'], {}])
})

test('a tracker that was removed while nothing ran is not remembered', async () => {
  const { p2pt } = await started()
  await p2pt.destroy()
  p2pt.removeTracker('ws://a.test/')
  await p2pt.start()
  p2pt.addTracker('ws://a.test')
  p2pt.removeTracker('ws://a.test')
  await p2pt.requestMorePeers()
  assert.deepEqual(called('removeTracker'), [['ws://a.test']])
})

test('identifiers and URLs that are no strings become some, as in npm’s p2pt', async () => {
  const p2pt = new P2PT([new URL('ws://a.test/')], 7)
  await p2pt.start()
  p2pt.addTracker(new URL('ws://b.test/'))
  assert.throws(() => p2pt.addTracker('ws://b.test/'), { code: 'invalid_announce_url' })
  p2pt.removeTracker(new URL('ws://b.test/'))
  await p2pt.requestMorePeers()
  assert.deepEqual([called('join'), await p2pt.infoHash], [[['7', 'identifier', undefined]], 'hash of 7'])
  assert.deepEqual(called('addTracker'), [['ws://a.test/'], ['ws://b.test/']])
  assert.deepEqual(called('removeTracker'), [['ws://b.test']])
})

test('a tracker that was removed is not counted while the node leaves it', async () => {
  const p2pt = new P2PT(['ws://a.test', 'ws://b.test', 'ws://c.test'], 'room')
  await p2pt.start()
  const state = (url, announced) => ({ url, status: 'connected', swarms: [{ announced }] })
  trackers = JSON.stringify({ connected: 2, total: 3, trackers: [state('ws://a.test', true), state('ws://b.test', true), state('ws://c.test', false)] })
  assert.deepEqual(p2pt.getTrackerStats(), { connected: 2, total: 3 })
  p2pt.removeTracker('ws://c.test')
  assert.deepEqual(p2pt.getTrackerStats(), { connected: 2, total: 2 })
  p2pt.removeTracker('ws://a.test')
  assert.deepEqual(p2pt.getTrackerStats(), { connected: 1, total: 1 })
})

test('a message that an engine cannot read keeps nothing after it from being heard', async () => {
  const { p2pt } = await started()
  const heard = event(p2pt, 'msg')
  const [reported, ...others] = await unhandled(async () => {
    come([[7, '{', true, '1'], [7, 'after it', false, '2']])
    assert.equal((await heard)[1], 'after it')
  })
  assert.ok(reported instanceof SyntaxError)
  assert.deepEqual(others, [])
})

test('the peer id follows from the key, and is there once it has started', async () => {
  const p2pt = new P2PT([], 'room')
  assert.deepEqual([p2pt._peerId, p2pt._peerIdBinary, p2pt._peerIdBuffer.length, p2pt.publicKey], ['', '', 0, undefined])
  await assert.rejects(p2pt.pin('bob', 'a key'), { code: 'not_connected' })
  await p2pt.start()
  assert.deepEqual([p2pt._peerId, p2pt._peerIdBuffer.length, p2pt.publicKey], ['ef'.repeat(20), 20, 'a public key'])
  const unsigned = new P2PT([], 'room', { peerId: '01'.repeat(20) })
  assert.deepEqual([unsigned._peerId, unsigned._peerIdBinary], ['01'.repeat(20), '\x01'.repeat(20)])
  await unsigned.start()
  assert.deepEqual(called('startNode').at(-1), [{ peerId: '01'.repeat(20) }])
  assert.equal(unsigned.publicKey, undefined)
})

test('rooms and codes name the swarm in the place of the identifier', async () => {
  const rooms = [
    [['', { secret: 'p2pt:room#key' }], ['p2pt:room#key', 'sealed', undefined]],
    [['room', { secret: 'five words', hidden: true }], ['room', 'hidden', 'five words']],
    [['', { code: 'a-b-c-d', side: 'types' }], ['a-b-c-d', 'types', undefined]]
  ]
  for (const [[identifier, options], key] of rooms) {
    const p2pt = new P2PT([], identifier, options)
    await p2pt.start()
    assert.deepEqual(called('join').at(-1), key)
    // Which is not that of the identifier.
    assert.deepEqual([await p2pt.infoHash, p2pt._infoHashBuffer.length], ['ab'.repeat(20), 20])
    assert.deepEqual(Object.keys(called('startNode').at(-1)[0]), ['key'])
  }
})

test('how far a peer is known, who was turned away, and pins are told', async () => {
  const p2pt = new P2PT([], 'room')
  await p2pt.start()
  const there = event(p2pt, 'peerconnect')
  const firstUse = { level: 'first_use', through: 1 }
  const code = { words: ['a', 'b', 'c'], emoji: [], emojiNames: [] }
  come([JSON.stringify({ type: 'peerConnected', peer: 7, id: 'ab', publicKey: 'a key', trust: firstUse, safetyCode: code })])
  const [peer] = await there
  assert.deepEqual([peer.publicKey, peer.trust, peer.safetyCode], ['a key', firstUse, code])
  const changed = event(p2pt, 'trustchange')
  const pinned = { level: 'pinned', name: 'bob' }
  come([JSON.stringify({ type: 'trustChanged', peer: 7, was: firstUse, now: pinned })])
  const [changedPeer, { was, now }] = await changed
  assert.equal(changedPeer, peer)
  assert.deepEqual([was, now, peer.trust, peer.safetyCode], [firstUse, pinned, pinned, code])
  // What the library says now comes first.
  known = JSON.stringify({ trust: { level: 'vouched', through: 2, of: 3 }, safetyCode: null })
  assert.deepEqual(peer.trust, { level: 'vouched', through: 2, of: 3 })

  const rejected = event(p2pt, 'peerrejected')
  const rejection = code => JSON.stringify({ type: 'connectionRejected', peerId: 'cd', tracker: 'ws://a.test', code, message: '', isForgery: false, missed: 0 })
  come([rejection('duplicate'), rejection('wrong_key')])
  assert.equal((await rejected)[0].code, 'wrong_key')

  const pins = event(p2pt, 'pinschange')
  await p2pt.pin('bob', 'a key')
  assert.deepEqual([called('pin'), await pins], [[['bob', 'a key']], [{ bob: 'a key' }]])
  assert.equal(await p2pt.unpin('nobody'), undefined)
  assert.equal(await p2pt.unpin('bob'), 'a key')
})
