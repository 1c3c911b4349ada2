// One JavaScript p2pt peer that speaks the JSON Lines protocol of `p2pt pipe`, so that tests drive both alike.
// Shared by Node (peer.mjs) and the page in Chromium (page.mjs): no platform imports here.
//
// Commands and events are those of `p2pt pipe`. For tests alone there are besides
//   {"send_raw":{"peer":HEX,"text":TEXT}} or "base64"   a frame past p2pt's own framing
//   {"close_channel":{"peer":HEX}}                      destroys one of the channels to a peer
//   {"event":"channel_opened","peer":HEX,"channels":N} and "channel_closed": one more or less, N now open
// With the class of p2pt-web `peer_connected` says who the peer is, and there are `trust_changed` and `peer_rejected`.
// Every event says when it happened: `at`, in ms since 1970.

const MAX_REMEMBERED = 10000
// destroy() closes the channels and says `peerclose` later, in timers, and what it sends must leave the process.
const FAREWELL_MS = 300

const bytesOf = base64 => Uint8Array.from(atob(base64), char => char.charCodeAt(0))
const base64Of = bytes => btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''))

/** An event as a line. Half a surrogate pair, which is text in JavaScript alone, becomes U+FFFD. */
export const lineOf = event =>
  JSON.stringify(event, (key, value) => typeof value === 'string' ? value.toWellFormed() : value)

/** `{text}` for bytes that are UTF-8, `{base64}` for others; p2pt itself hands over bytes only. */
function rawFrame (bytes) {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) }
  } catch {
    return { base64: base64Of(bytes) }
  }
}

/** What the class of p2pt-web knows of a peer. */
const whoIs = ({ publicKey, trust, safetyCode }) => ({ public_key: publicKey, trust, safety_code: safetyCode })

/**
 * Starts a peer. `emit` takes one event, `stopped` is called once after the last event.
 * Returns the function that takes one command, as a line of text.
 *
 * p2pt draws its message ids at random and forgets none, so that after some hundred messages one is taken for the answer
 * to an old one and lost. Here they are counted up from `firstId`, which lies in the range p2pt itself uses.
 */
export async function startPeer (P2PT, { identifier, trackers, firstId, options, emit: emitOne, stopped }) {
  const emit = event => emitOne({ ...event, at: Date.now() })
  const p2pt = new P2PT(trackers, identifier, options)
  const peers = new Map() // peer id => the channel last heard from, for messages that overtake `peerconnect`
  let nextId = firstId
  let messageId // of the frame being handled, which p2pt does not tell to listeners
  let ended = false

  const makeResponder = p2pt._peerRespond
  if (makeResponder !== undefined) {
    p2pt._peerRespond = (peer, id) => {
      messageId = id
      return makeResponder.call(p2pt, peer, id)
    }
  }

  const trackerStats = tracker => ({ tracker: tracker?.announceUrl ?? null, ...p2pt.getTrackerStats() })
  const channelsTo = id => Object.values(p2pt.peers[id] ?? {})
  const remember = peer => {
    if (peers.size >= MAX_REMEMBERED) peers.clear()
    peers.set(peer.id, peer)
  }

  p2pt.on('trackerconnect', tracker => emit({ event: 'tracker_connected', ...trackerStats(tracker) }))
  p2pt.on('trackerwarning', error => emit({ event: 'tracker_warning', tracker: null, error: error.message }))
  p2pt.on('peerconnect', peer => {
    remember(peer)
    emit({ event: 'peer_connected', peer: peer.id, ...whoIs(peer) })
  })
  p2pt.on('trustchange', (peer, { now }) => emit({ event: 'trust_changed', peer: peer.id, trust: now }))
  p2pt.on('peerrejected', ({ peerId, code }) => emit({ event: 'peer_rejected', peer: peerId, code }))
  p2pt.on('peerclose', peer => {
    peers.delete(peer.id)
    emit({ event: 'peer_closed', peer: peer.id })
  })
  // The class of p2pt-web says which message it is.
  p2pt.on('msg', (peer, message, received) => {
    remember(peer)
    emit({ event: 'message', peer: peer.id, id: received === undefined ? messageId : JSON.parse(received.id), message })
  })
  p2pt.on('data', (peer, bytes) => {
    if (bytes[0] !== 0x5e) emit({ event: 'data', peer: peer.id, ...rawFrame(bytes) })
  })

  function peerNamed (id) {
    const channels = channelsTo(id)
    const peer = channels.find(channel => channel.connected) ?? channels[0] ?? peers.get(id)
    if (!peer) throw new Error(`no peer ${id}`)
    return peer
  }

  function send (peer, message, id, tag) {
    if (message === '' || typeof message === 'number' || typeof message === 'boolean') {
      throw new Error('p2pt cannot send an empty text, a number or a boolean')
    }
    // Without a tag nobody awaits a response here, but p2pt always does and reports it nowhere.
    p2pt.send(peer, message, id).then(
      ([from, response]) => emit(tag === undefined
        ? { event: 'message', peer: from.id, id, message: response }
        : { event: 'response', peer: from.id, id, tag, message: response }),
      error => emit({ event: 'error', tag, error: error.message })
    )
  }

  const commands = {
    send ({ peer, message, tag }) {
      const ids = peer === '*' ? Object.keys(p2pt.peers).filter(id => channelsTo(id).length > 0) : [peer]
      for (const id of ids) send(peerNamed(id), message, nextId++, tag)
    },
    // What `peer.respond` does, which a later frame would have overwritten by now.
    respond ({ peer, id, message, tag }) { send(peerNamed(peer), message, id, tag) },
    send_raw ({ peer, text, base64 }) { peerNamed(peer).send(text ?? bytesOf(base64)) },
    close_channel ({ peer }) { peerNamed(peer).destroy() },
    add_tracker (url) {
      p2pt.addTracker(url)
      // p2pt files it one place too high, where removeTracker and `trackerconnect` do not find it.
      const place = p2pt.announceURLs.length
      p2pt.trackers[place - 1] = p2pt.trackers[place]
      delete p2pt.trackers[place]
    },
    remove_tracker (url) {
      // p2pt forgets its unanswered offers but not their timers, which would throw up to 50 s later.
      const tracker = p2pt.trackers[p2pt.announceURLs.indexOf(url)]
      for (const offer of Object.values(tracker?.peers ?? {})) clearTimeout(offer.trackerTimeout)
      p2pt.removeTracker(url)
    },
    request_more_peers () { p2pt.requestMorePeers() },
    peers () {
      const known = Object.keys(p2pt.peers).map(peer => ({ peer, channels: channelsTo(peer).length }))
      emit({ event: 'peers', peers: known.filter(({ channels }) => channels > 0) })
    },
    stop () {
      if (ended) return
      ended = true
      p2pt.destroy()
      setTimeout(() => {
        emit({ event: 'stopped' })
        stopped()
      }, FAREWELL_MS)
    }
  }

  await p2pt.infoHash
  // The id of the class of p2pt-web follows from a key, and is there once it has started.
  if (p2pt._peerId === '') await p2pt.start()
  emit({ event: 'ready', peer_id: p2pt._peerId, public_key: p2pt.publicKey, info_hash: await p2pt.infoHash })
  await p2pt.start()
  // After start, so that p2pt's own listeners have run and its list of channels is up to date.
  p2pt.on('peer', peer => {
    const report = event => emit({ event, peer: peer.id, channels: channelsTo(peer.id).length })
    peer.on('connect', () => report('channel_opened'))
    peer.on('disconnect', () => report('channel_closed'))
  })

  return line => {
    let tag
    try {
      const [[name, value] = []] = Object.entries(JSON.parse(line))
      tag = value?.tag
      if (!Object.hasOwn(commands, name)) throw new Error(`unknown command ${name}`)
      commands[name](value)
    } catch (error) {
      emit({ event: 'error', tag, error: error.message })
    }
  }
}
