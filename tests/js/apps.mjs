// Pages that speak what two web apps made with p2pt speak: P2Chat and WebDrop. They have the apps' messages and the
// libraries the apps stand on, and none of their looks; commands and events are JSON Lines, as those of page.mjs.
//
//   {"say":{"username":TEXT,"message":TEXT}}   P2Chat: {"event":"said","username":TEXT,"message":TEXT} at the others
//   {"share":{"name":TEXT,"text":TEXT}}        WebDrop: {"event":"received","name":TEXT,"text":TEXT} there, "sent" here
import './apps-globals.mjs'
import P2PT from 'p2pt'
import PeerFiles from 'simple-peer-files'

/** P2Chat sends each line to each peer, as JSON in a text. */
function p2chat (p2pt, emit) {
  const peers = {}
  p2pt.on('peerconnect', peer => {
    peers[peer.id] = peer
    emit({ event: 'peer_connected', peer: peer.id })
  })
  p2pt.on('peerclose', peer => { delete peers[peer.id] })
  p2pt.on('msg', (peer, text) => {
    const { username, message } = JSON.parse(text)
    emit({ event: 'said', username, message })
  })
  return {
    say (line) {
      for (const peer of Object.values(peers)) p2pt.send(peer, JSON.stringify(line))
    }
  }
}

/**
 * A p2pt peer as simple-peer-files takes it: one whose data can be parsed as JSON, as when p2pt still stood on simple-peer
 * and handed over Buffers, as it did in the version that WebDrop has.
 */
function control (peer) {
  const listeners = new Map()
  return {
    send: text => peer.send(text),
    on (event, listener) {
      const adapted = bytes => listener(new TextDecoder().decode(bytes))
      listeners.set(listener, adapted)
      peer.on(event, adapted)
    },
    removeListener (event, listener) { peer.removeListener(event, listeners.get(listener)) }
  }
}

/** WebDrop tells every peer what is shared; who wants a file asks for it, and gets it by simple-peer-files. */
function webdrop (p2pt, emit) {
  const files = new PeerFiles.default()
  const shares = {}
  const peers = {}
  p2pt.on('peerconnect', peer => {
    peers[peer.id] = peer
    const init = { type: 'init', name: 'a page', color: 'hsla(20,60%,60%,1)', sharesCount: Object.keys(shares).length, msgsCount: 0 }
    p2pt.send(peer, init)
  })
  p2pt.on('peerclose', peer => { delete peers[peer.id] })
  p2pt.on('msg', async (peer, said) => {
    if (typeof said !== 'object') return
    if (said.type === 'init') {
      emit({ event: 'peer_connected', peer: peer.id, name: said.name })
      if (said.sharesCount > Object.keys(shares).length) p2pt.send(peer, { type: 'getShares' })
    } else if (said.type === 'getShares') {
      for (const share of Object.values(shares)) announce(peer, share)
    } else if (said.type === 'newShare') {
      const receiving = files.receive(control(peer), said.shareID)
      p2pt.send(peer, { type: 'startSending', shareID: said.shareID })
      const transfer = await receiving
      transfer.on('done', async file => emit({ event: 'received', name: file.name, text: await file.text() }))
    } else if (said.type === 'startSending') {
      const { file } = shares[said.shareID]
      const transfer = await files.send(control(peer), said.shareID, file)
      transfer.on('done', () => emit({ event: 'sent', name: file.name }))
      transfer.start()
    }
  })
  const announce = (peer, { shareID, file }) => p2pt.send(peer, {
    shareID, name: file.name, size: file.size, paused: false, mine: true, transfers: [], type: 'newShare', i: shareID
  })
  return {
    share ({ name, text }) {
      const file = new File([text], name)
      const share = { shareID: name + file.size, file }
      shares[share.shareID] = share
      for (const peer of Object.values(peers)) announce(peer, share)
    }
  }
}

window.start = async ({ identifier, trackers }) => {
  const emit = event => window.emitLine(JSON.stringify(event))
  const p2pt = new P2PT(trackers, identifier)
  const commands = identifier.startsWith('p2chat') ? p2chat(p2pt, emit) : webdrop(p2pt, emit)
  commands.stop = () => {
    p2pt.destroy()
    emit({ event: 'stopped' })
    window.stopped()
  }
  emit({ event: 'ready' })
  await p2pt.start()
  window.command = line => {
    const [[name, value]] = Object.entries(JSON.parse(line))
    commands[name](value)
  }
}
