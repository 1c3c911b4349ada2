// The class over a binding that is made here: what comes in which batch, and what is called, is exact.
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { P2PT } from '../dist/p2pt.js'
import { setLoader } from '../dist/platform.js'

/** What was called of the binding, and what it hands out next. */
let calls, batches, wake

setLoader(async () => ({
  infoHashOf: identifier => `hash of ${identifier}`,
  startNode: async options => {
    calls.push(['startNode', JSON.parse(options)])
    return {
      peerId: () => JSON.parse(options).peerId,
      join: async (...key) => {
        calls.push(['join', ...key])
        return {
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
      trackers: () => '{"connected":0,"total":0,"trackers":[]}',
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
        come([])
      }
    }
  }
}))

beforeEach(() => {
  calls = []
  batches = []
  wake = () => {}
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
  assert.deepEqual(called('join'), [['room', false]])
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
  assert.deepEqual([called('join'), called('setIdentifier')], [[['room', false]], [['another', false]]])
  assert.equal(await p2pt.infoHash, 'hash of another')
})

test('it ends once, and can begin again', async () => {
  const { p2pt } = await started()
  await Promise.all([p2pt.destroy(), p2pt.destroy()])
  assert.deepEqual(called('shutdown'), [[]])
  await Promise.all([p2pt.start(), p2pt.start()])
  assert.equal(called('startNode').length, 2)
  assert.equal(new Set(called('startNode').map(([{ peerId }]) => peerId)).size, 1)
})
