// The parts of the TypeScript sources that need no peer.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { abortable, cancellable } from '../dist/abort.js'
import { EventEmitter } from '../dist/emitter.js'
import { fromBinding, P2ptError } from '../dist/errors.js'
import { content } from '../dist/peer.js'
import { SentMessage } from '../dist/quiet.js'
import { Waiters } from '../dist/waiters.js'
import { unhandled } from './unhandled.mjs'

const gone = new P2ptError('peer_gone', 'it went')
const rejected = () => SentMessage.of((resolve, reject) => { queueMicrotask(() => reject(gone)) })

test('a response whose error is not handled is no unhandled rejection, however it is passed on', async () => {
  const ways = {
    alone: () => { rejected() },
    then: () => { rejected().then(() => {}) },
    chain: () => { rejected().then(() => {}).then(() => {}).finally(() => {}).then(() => {}) },
    'returned in a chain': () => { SentMessage.of(resolve => resolve(1)).then(() => rejected()).then(() => {}) }
  }
  for (const [way, act] of Object.entries(ways)) assert.deepEqual(await unhandled(act), [], way)
})

test('a program that awaits a response or catches gets the error', async () => {
  await assert.rejects(rejected(), gone)
  await assert.rejects(async () => { await rejected().then(() => {}) }, gone)
  assert.equal(await rejected().then(() => {}).catch(error => error), gone)
  assert.equal(await SentMessage.of(resolve => resolve(7)).then(value => value + 1), 8)
})

test('what the functions of a program throw is reported', async () => {
  const mistake = new TypeError('a mistake')
  const fulfilled = () => SentMessage.of(resolve => resolve(1))
  assert.deepEqual(await unhandled(() => { fulfilled().then(() => { throw mistake }) }), [mistake])
  assert.deepEqual(await unhandled(() => { rejected().catch(() => { throw mistake }) }), [mistake])
})

test('an emitter has the methods of Node’s, and a listener that fails keeps no other from being called', async () => {
  const emitter = new EventEmitter()
  const heard = []
  const listener = value => heard.push(value)
  emitter.on('a', listener).once('a', value => heard.push(`once ${value}`)).addListener('a', () => { throw gone })
  emitter.prependListener('a', () => heard.push('first'))
  emitter.on('a', async () => { throw gone })
  emitter.on('a', () => heard.push('last'))
  assert.equal(emitter.listenerCount('a'), 6)
  const seen = await unhandled(() => {
    assert.equal(emitter.emit('a', 1), true)
    assert.equal(emitter.emit('b', 1), false)
    emitter.off('a', listener).emit('a', 2)
  })
  assert.deepEqual(heard, ['first', 1, 'once 1', 'last', 'first', 'last'])
  // Thrown at once it is a mistake of the program; rejected later, a peer that went.
  assert.deepEqual(seen, [gone, gone])
  const view = Object.create(emitter)
  view.on('c', listener)
  emitter.emit('c', 'of the view')
  assert.equal(heard.pop(), 'of the view')
  emitter.removeAllListeners('c').removeAllListeners('a')
  assert.deepEqual([emitter.listenerCount('a'), emitter.eventNames()], [0, []])
})

test('a listener that is to be called once is, whatever else it or another listener does', () => {
  const emitter = new EventEmitter()
  const heard = []
  const both = value => heard.push(value)
  // The same function, once and for good: what is taken off is the entry that was called.
  emitter.once('a', both).on('a', both)
  for (const value of [1, 2, 3]) emitter.emit('a', value)
  assert.deepEqual(heard.splice(0), [1, 1, 2, 3])
  // An `emit` within an `emit`: the outer one does not call it again.
  emitter.once('b', () => { emitter.emit('b', 'inner') })
  emitter.once('b', both)
  emitter.emit('b', 'outer')
  assert.deepEqual(heard.splice(0), ['inner'])
  assert.deepEqual(emitter.eventNames(), ['a'])
})

test('what is no function cannot listen', () => {
  const emitter = new EventEmitter()
  for (const name of ['on', 'once', 'addListener', 'prependListener', 'prependOnceListener']) {
    assert.throws(() => emitter[name]('a', undefined), TypeError, name)
  }
  assert.equal(emitter.emit('a'), false)
})

test('the oldest of too many waiters is given up', () => {
  const waiters = new Waiters()
  const waiter = () => ({ resolve () {}, reject () {} })
  for (let id = 0; id < 10_000; id++) waiters.add(id % 3, `${id}`, waiter())
  assert.equal(waiters.size, 4096)
  assert.equal(waiters.take(0, '0'), undefined)
  assert.equal(waiters.take((10_000 - 4097) % 3, `${10_000 - 4097}`), undefined)
  assert.ok(waiters.take((10_000 - 4096) % 3, `${10_000 - 4096}`))
  const [mine, later] = [waiter(), waiter()]
  assert.equal(waiters.add(7, 'x', mine), undefined)
  assert.equal(waiters.add(7, 'x', later), mine)
  assert.equal(waiters.drop(7, 'x', mine), false)
  assert.deepEqual(waiters.takeAll(7), [later])
  assert.deepEqual(waiters.takeAll(7), [])
  // Those that are answered cost nothing.
  for (let id = 0; id < 100_000; id++) {
    waiters.add(9, `${id}`, waiter())
    waiters.take(9, `${id}`)
  }
  assert.equal(waiters.size, 4095)
})

test('strings are text and everything else is JSON', () => {
  assert.deepEqual(content(''), ['', false])
  assert.deepEqual(content(7), ['7', true])
  assert.deepEqual(content(null), ['null', true])
  assert.deepEqual(content({ a: [1] }), ['{"a":[1]}', true])
  const loop = {}
  loop.loop = loop
  for (const value of [undefined, () => {}, Symbol('x'), loop, 1n]) {
    assert.throws(() => content(value), { name: 'P2ptError', code: 'invalid_json' })
  }
})

test('errors of a binding have a code, and others stay what they are', () => {
  const error = fromBinding(new Error('queue_full: no room\nat all: really'))
  assert.ok(error instanceof P2ptError)
  assert.deepEqual([error.code, error.message], ['queue_full', 'no room\nat all: really'])
  const panic = new WebAssembly.RuntimeError('unreachable')
  assert.equal(fromBinding(panic), panic)
})

test('a signal ends a wait, with its reason', async () => {
  const reason = new Error('enough')
  const never = new Promise(() => {})
  await assert.rejects(abortable(never, AbortSignal.abort(reason)), reason)
  const controller = new AbortController()
  const waiting = abortable(never, controller.signal)
  controller.abort(reason)
  await assert.rejects(waiting, reason)
  assert.equal(await abortable(Promise.resolve(7), new AbortController().signal), 7)

  let fail
  const node = { cancel: ticket => fail(new Error(`aborted: ${ticket}`)) }
  const cancelled = new AbortController()
  const wait = cancellable(node, cancelled.signal, ticket => {
    assert.ok(ticket > 0)
    return new Promise((resolve, reject) => { fail = reject })
  })
  cancelled.abort(reason)
  await assert.rejects(wait, reason)
  await assert.rejects(cancellable(node, undefined, () => Promise.reject(new Error('stopped: it'))), { code: 'stopped' })
})
