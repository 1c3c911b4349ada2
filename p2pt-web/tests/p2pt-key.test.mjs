// The file with keys for npm's p2pt, with npm's p2pt in Node, over libwebrtc.
import assert from 'node:assert/strict'
import { register } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'node:test'
import { newKey, useKeys } from '../dist/p2pt-key.js'
import { folder, startTracker, within } from './harness.mjs'

const js = path.join(folder, '../../tests/js')
register(pathToFileURL(path.join(js, 'webrtc-hooks.mjs')).href)
const { default: P2PT } = await import(pathToFileURL(path.join(js, 'node_modules/p2pt/src/p2pt.js')).href)
// p2pt logs there what it cannot parse.
console.log = console.error

/** A peer with a key. Each has its own spelling of a tracker, since those of one are one socket in a process. */
let count = 0
async function member (t, urls, { identifier = 'keys', id, ...options } = {}) {
  const p2pt = new P2PT(urls.map(url => `${url}?${count}`), identifier)
  count++
  if (id !== undefined) Object.assign(p2pt, { _peerIdBuffer: id._peerIdBuffer, _peerId: id._peerId, _peerIdBinary: id._peerIdBinary })
  let wake = () => {}
  const keys = options.keys === false ? undefined : await useKeys(p2pt, {
    ...options,
    onTrust: () => wake()
  })
  t.after(() => p2pt.destroy())
  const until = (what, is) => within(what, (async () => {
    while (!is()) await new Promise(resolve => { wake = resolve })
  })())
  return { p2pt, keys, until, id: p2pt._peerId }
}

test('a key that two trackers show is vouched for, and one that one tracker shows is not', async t => {
  const [first, second] = [await startTracker(t), await startTracker(t)]
  const key = newKey()
  const alice = await member(t, [first.url, second.url], { key })
  const bob = await member(t, [first.url, second.url])
  const heard = []
  bob.p2pt.on('msg', (peer, message) => heard.push(message))
  await alice.p2pt.start()
  await bob.p2pt.start()
  const knows = (one, other) => one.until('agreement', () => one.keys.trust(other.id).level === 'vouched')
  await Promise.all([knows(alice, bob), knows(bob, alice)])
  assert.deepEqual(bob.keys.trust(alice.id), { level: 'vouched', publicKey: alice.keys.publicKey, through: 2 })
  // What is said about keys is no message of the program.
  const [channel] = Object.values(alice.p2pt.peers[bob.id])
  alice.p2pt.send(channel, 'hello')
  await within('a message', new Promise(resolve => bob.p2pt.on('msg', resolve)))
  assert.deepEqual(heard, ['hello'])

  const carol = await member(t, [first.url])
  await carol.p2pt.start()
  await alice.until('the key', () => alice.keys.trust(carol.id).level !== 'unsigned')
  assert.deepEqual(alice.keys.trust(carol.id), { level: 'first_use', publicKey: carol.keys.publicKey, through: 1 })
  carol.p2pt.destroy()
  await alice.until('the end', () => alice.keys.trust(carol.id).level === 'unsigned')
})

test('a peer whose id another one takes at a tracker of its own is not vouched for any more', async t => {
  const [first, second, third] = [await startTracker(t), await startTracker(t), await startTracker(t)]
  const alice = await member(t, [first.url, second.url, third.url])
  const bob = await member(t, [first.url, second.url])
  await alice.p2pt.start()
  await bob.p2pt.start()
  await alice.until('agreement', () => alice.keys.trust(bob.id).level === 'vouched')
  const mallory = await member(t, [third.url], { id: bob.p2pt })
  await mallory.p2pt.start()
  await alice.until('the conflict', () => alice.keys.trust(bob.id).level === 'conflict')
  const { keys } = alice.keys.trust(bob.id)
  const hostile = keys.filter(({ publicKey }) => publicKey === mallory.keys.publicKey)
  assert.ok(hostile.length > 0 && hostile.every(({ tracker }) => tracker.startsWith(third.url)), JSON.stringify(keys))
  assert.ok(keys.some(({ publicKey }) => publicKey === bob.keys.publicKey))
})

test('a link that shows no key makes its peer one without', async t => {
  const [first, second, third] = [await startTracker(t), await startTracker(t), await startTracker(t)]
  const alice = await member(t, [first.url, second.url, third.url])
  const bob = await member(t, [first.url, second.url])
  await alice.p2pt.start()
  await bob.p2pt.start()
  await alice.until('agreement', () => alice.keys.trust(bob.id).level === 'vouched')
  const silent = await member(t, [third.url], { id: bob.p2pt, keys: false })
  silent.p2pt.on('peerconnect', peer => silent.p2pt.send(peer, 'no key'))
  const heard = new Promise(resolve => alice.p2pt.on('msg', (peer, message) => message === 'no key' && resolve()))
  await silent.p2pt.start()
  await within('the link', heard)
  // Which may come before the event that the link is open.
  await alice.until('the link', () => alice.keys.trust(bob.id).level === 'unsigned')
})

test('what was signed for other certificates, another peer or another swarm proves nothing', async t => {
  const { url } = await startTracker(t)
  const alice = await member(t, [url])
  const bob = await member(t, [url], { keys: false })
  let said
  bob.p2pt.on('msg', (peer, message) => { said ??= [peer, message] })
  await alice.p2pt.start()
  await bob.p2pt.start()
  await within('the key', new Promise(resolve => bob.p2pt.on('msg', resolve)))
  const [channel, message] = said
  assert.equal(message.key, alice.keys.publicKey)
  const bad = [
    message, // Alice's own, sent back
    { ...message, signature: '00'.repeat(64) },
    { ...message, signature: 7 },
    { ...message, key: message.key.toUpperCase() },
    { p2ptKey: 1 }
  ]
  for (const wrong of bad) bob.p2pt.send(channel, wrong)
  bob.p2pt.send(channel, 'the last')
  await within('the last', new Promise(resolve => alice.p2pt.on('msg', (peer, message) => message === 'the last' && resolve())))
  assert.equal(alice.keys.trust(bob.id).level, 'unsigned')
  await assert.rejects(useKeys(alice.p2pt, { key: alice.keys.publicKey }), TypeError)
})
