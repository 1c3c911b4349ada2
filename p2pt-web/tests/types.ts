// What programs may write, checked by the compiler and never run: lines that are to be wrong are marked so.
import P2PT, {
  generateKey, join, newCode, newRoomLink, P2ptError, publicKeyOf, startNode, type ErrorCode, type Message, type SwarmEvent, type Trust
} from 'p2pt-web'
import Embedded from 'p2pt-web/embedded'

type Said = 'hello' | { goodbye: boolean }

export function likeNpmP2pt (): void {
  const p2pt = new P2PT<Said>(['wss://a.test'], 'app')
  p2pt.on('peerconnect', peer => {
    p2pt.send(peer, 'hello').then(([peer, message]) => {
      peer.respond({ goodbye: true })
      return message
    })
    // @ts-expect-error: no message of the program
    p2pt.send(peer, 'good evening')
  })
  p2pt.on('msg', (peer, message, received) => received.respond([peer.id, message]))
  p2pt.once('trackerwarning', (error, { connected, total }) => error.message + String(connected / total))
  // @ts-expect-error: no event
  p2pt.on('message', () => {})
  p2pt.addTracker(new URL('wss://b.test'))
  void p2pt.setIdentifier(7)
  void p2pt.start()
  const id: string = p2pt._peerId
  p2pt.destroy().then(() => id)
  const embedded: P2PT = new Embedded()
  void embedded
}

export async function trust (): Promise<string | undefined> {
  const key = await generateKey()
  const options = {
    key,
    policy: { only: [await publicKeyOf(key)] },
    pins: { bob: 'a key' },
    onPinsChanged: (pins: Record<string, string>) => { localStorage.setItem('pins', JSON.stringify(pins)) }
  }
  const swarm = await join({ secret: await newRoomLink('table'), hidden: true }, options)
  // @ts-expect-error: a code has a side
  await join({ code: await newCode() })
  // @ts-expect-error: no policy
  await startNode({ policy: 'closed' })
  const peer = await swarm.waitForPeer()
  const trust: Trust = peer.trust
  await swarm.node.pin('carol', peer.publicKey ?? '')
  for await (const event of swarm) {
    if (event.type === 'connectionRejected' && event.code === 'wrong_code') return String(event.left)
    if (event.type === 'trustChanged' && event.now.level === 'pinned') return event.now.name
  }
  const p2pt = new P2PT(['wss://a.test'], '', { code: 'a-b-c-d', side: 'types' })
  p2pt.on('trustchange', (other, { was }) => [other.publicKey, was.level, other.safetyCode?.words[0]])
  return trust.level === 'vouched' ? String(trust.of) : undefined
}

export async function modern (signal: AbortSignal): Promise<number> {
  await using swarm = await join('app', { trackers: ['wss://a.test'], iceServers: [{ urls: 'stun:a.test' }] }, { signal })
  // @ts-expect-error: no option
  await startNode({ tracker: 'wss://a.test' })
  const peer = await swarm.waitForPeer({ signal })
  try {
    const { degrees } = await peer.request<{ degrees: number }>({ city: 'Ghent' }, { timeout: 5000, signal })
    const parsed: number = await peer.request('x', { parse: value => Number(value) })
    for await (const event of swarm.events({ signal })) handle(event)
    return degrees + parsed
  } catch (error) {
    if (error instanceof P2ptError && error.code === 'request_timeout') return 0
    // @ts-expect-error: no code
    if (error instanceof P2ptError && error.code === 'timeout') return 1
    throw error
  }
}

function handle (event: SwarmEvent): string | number {
  switch (event.type) {
    case 'message': {
      const message: Message = event
      void message.respond({ heard: message.value })
      return message.text
    }
    case 'data': return event.bytes.length
    case 'peerClosed': return event.code
    case 'trackerWarning': return event.tracker
    default: return event.type
  }
}

export const code: ErrorCode = 'queue_full'
