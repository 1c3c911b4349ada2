// What a swarm is doing. This page is a member as any other, and sends its peers nothing.
import type { SwarmEvent } from 'p2pt-web'
import { colour, short } from '../shared/members.js'
import { byId, clock, copy, list, make, setText } from '../shared/page.js'
import { run, type Visit } from '../shared/room.js'
import {
  bytes, counted, milliseconds, pathWords, safetyWords, seconds, trackerMark, trackerWords, trustMark, trustWords
} from '../shared/words.js'
import { Chart } from './chart.js'
import { report, type PeerRow } from './report.js'

const MINUTE = 60
const MAX_LINES = 200

interface Row extends PeerRow { received: number, sent: number, rates: [received: number, sent: number] }

/** Terms and what each is now. */
function facts (parent: HTMLElement, values: Array<[string, string | Node]>): void {
  const before = parent.children
  values.forEach(([term, value], place) => {
    const row = before[place] ?? parent.appendChild(make('div', {}, make('dt'), make('dd')))
    const [dt, dd] = row.children as unknown as [HTMLElement, HTMLElement]
    setText(dt, term)
    if (typeof value === 'string') setText(dd, value)
    else if (!dd.firstChild?.isEqualNode(value)) dd.replaceChildren(value)
  })
  while (parent.childElementCount > values.length) parent.lastElementChild?.remove()
}

/** A card of a list: a head with a mark, and facts. */
function card (element: HTMLElement, mark: string, head: Node | string, values: Array<[string, string | Node]>): void {
  element.className = mark
  if (element.childElementCount === 0) element.append(make('h3', {}), make('dl', { class: 'facts' }))
  const [title, list] = element.children as unknown as [HTMLElement, HTMLElement]
  if (title.textContent !== (typeof head === 'string' ? head : head.textContent)) title.replaceChildren(head)
  facts(list, values)
}

function enter ({ swarm, room }: Visit): { event: (event: SwarmEvent) => void, draw: () => Promise<void>, left: () => void } {
  const over = new AbortController()
  const since = new Date()
  const chart = new Chart(byId('chart'), ['received', 'sent'], MINUTE, value => `${bytes(value)}/s`)
  const log = byId('log')
  const happened: string[] = []
  log.replaceChildren()
  /** What was counted of each peer when, and of the time in which peers have gone. */
  let before = new Map<string, { received: number, sent: number, rates: [number, number] }>()
  let measuredAt = performance.now()
  let rows: Row[] = []

  const note = (text: string, isWarning = false): void => {
    happened.push(`${new Date().toISOString().slice(11, 19)} ${text}`)
    if (happened.length > MAX_LINES) happened.shift()
    const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 40
    log.append(make('p', isWarning ? { class: 'warning' } : {}, clock(), ' ', text))
    while (log.childElementCount > MAX_LINES) log.firstElementChild?.remove()
    if (follows) log.scrollTop = log.scrollHeight
  }
  note('the dashboard has joined the swarm')

  /** What has come and gone since the last time, which is a second ago at least: events are reasons to draw, too. */
  const measure = async (): Promise<void> => {
    const measured = await Promise.all(swarm.peers.map(async peer => ({ peer, connections: await peer.stats() })))
    const now = performance.now()
    const passed = (now - measuredAt) / 1000
    const isDue = passed >= 0.9
    const after: typeof before = new Map()
    rows = measured.map(({ peer, connections }) => {
      const sum = (count: (of: (typeof connections)[number]) => number): number => connections.reduce((all, of) => all + count(of), 0)
      const received = sum(({ bytesReceived }) => bytesReceived)
      const sent = sum(({ bytesSent }) => bytesSent)
      const then = before.get(peer.id)
      // A connection that was replaced has begun to count anew.
      const rates: [number, number] = then === undefined ? [0, 0] : !isDue ? then.rates
        : [Math.max(0, received - then.received) / passed, Math.max(0, sent - then.sent) / passed]
      after.set(peer.id, isDue || then === undefined ? { received, sent, rates } : then)
      return { id: peer.id, peer, connections, received, sent, rates }
    })
    before = after
    if (!isDue) return
    measuredAt = now
    const [received, sent] = rows.reduce(([all, of], { rates }) => [all + rates[0], of + rates[1]], [0, 0])
    chart.add([received, sent])
    setText(byId('rate-received'), `${bytes(received)}/s`)
    setText(byId('rate-sent'), `${bytes(sent)}/s`)
  }

  const text = (): string => report(swarm, since, swarm.node.trackerStats(), rows, happened)
  byId('copy-report').addEventListener('click', async () => {
    byId<HTMLTextAreaElement>('report').value = text()
    const done = await copy(text()) ? 'The report is copied.' : 'The report could not be copied: it is selected below.'
    if (!done.endsWith('copied.')) byId<HTMLTextAreaElement>('report').select()
    setText(byId('aloud'), done)
    setText(byId('copy-report'), done)
    setTimeout(() => {
      setText(byId('copy-report'), 'Copy report')
      setText(byId('aloud'), '')
    }, 3000)
  }, { signal: over.signal })

  return {
    event (event) {
      switch (event.type) {
        case 'peerConnected': note(`${short(event.peer.id)} is connected`); break
        case 'peerClosed': note(`${short(event.peer.id)} is gone: ${event.reason}`); break
        case 'trustChanged': note(`${short(event.peer.id)} is ${trustWords(event.now)}`); break
        case 'trackerConnected': note(`${event.tracker} is reached`); break
        case 'trackerWarning': note(`${event.tracker}: ${event.message}`, true); break
        case 'connectionFailed':
          note(`no connection to ${short(event.peerId)}: ${event.message}${event.advice === null ? '' : `; ${event.advice}`}`, true)
          break
        case 'connectionRejected':
          if (event.code !== 'duplicate') note(`${short(event.peerId)} was not let in: ${event.message}${event.isForgery ? `; ${event.tracker} may have forged it` : ''}`, true)
          break
        case 'invalidFrame': note(`from ${short(event.peer.id)}: ${event.message}`, true); break
        case 'offerFailed':
        case 'serverWarning': note(event.advice === null ? event.message : `${event.message}; ${event.advice}`, true); break
        case 'other': note(event.message, true); break
      }
    },
    async draw () {
      await measure()
      if (over.signal.aborted) return
      const { connected, total, trackers } = swarm.node.trackerStats()
      const members = trackers.flatMap(({ swarms }) => swarms).filter(({ infoHash }) => infoHash === swarm.infoHash)
        .flatMap(({ members }) => members ?? [])
      facts(byId('facts'), [
        ['room', room],
        ['info hash', make('code', {}, swarm.infoHash)],
        ['own id', make('code', {}, swarm.peerId)],
        ['own key', swarm.publicKey === undefined ? 'none' : make('code', {}, swarm.publicKey)],
        ['members (trackers say)', members.length === 0 ? 'not known yet' : String(Math.max(...members))],
        ['connected peers', String(rows.length)],
        ['here for', seconds(Date.now() - since.getTime())]
      ])
      const failing = total - connected
      setText(byId('failover'), total === 0 ? 'No tracker is set.'
        : failing === 0 ? (total === 1 ? 'The tracker is connected.' : `All ${total} trackers are connected.`)
          : connected > 0 ? `${counted(failing, 'tracker')} of ${total} ${failing === 1 ? 'is' : 'are'} not reached; peers are met at the others.`
            : rows.length > 0 ? 'No tracker is reached: peers that are connected stay, new ones are not met.' : 'No tracker is reached yet, so no peer is met.')
      list(byId('trackers-list'), trackers, ({ url }) => url, (tracker, element) => {
        const here = tracker.swarms.find(({ infoHash }) => infoHash === swarm.infoHash)
        card(element, trackerMark(tracker), tracker.url, [
          ['state', trackerWords(tracker)],
          ...(here === undefined ? [] : [
            ['members', here.members === null ? 'not known yet' : String(here.members)],
            ['offers that wait', String(here.offers)],
            ['last reply took', here.replyTime === null ? 'none yet' : milliseconds(here.replyTime)]
          ] satisfies Array<[string, string]>),
          ['last error', tracker.lastError ?? 'none']
        ])
      })
      byId('alone').hidden = rows.length > 0
      list(byId('peers'), rows, ({ id }) => id, ({ id, peer, connections, received, sent, rates }, element) => {
        const [first] = connections
        const { publicKey, trust, safetyCode } = peer
        card(element, connections.length > 0 ? 'up' : 'between', make('bdi', { class: colour(id), title: id }, short(id)), [
          ['path', first === undefined ? 'not known yet' : `${pathWords(first)} (${first.localCandidate ?? '?'} to ${first.remoteCandidate ?? '?'})`],
          ['round trip', first?.roundTrip == null ? 'not measured yet' : milliseconds(first.roundTrip)],
          ['receiving', `${bytes(rates[0])}/s, ${bytes(received)} so far`],
          ['sending', `${bytes(rates[1])}/s, ${bytes(sent)} so far`],
          ['connections', String(connections.length)],
          ['key', publicKey === undefined ? 'none' : make('code', {}, publicKey)],
          ['trust', make('span', {}, make('span', { 'aria-hidden': 'true' }, `${trustMark(trust)} `), trustWords(trust))],
          ['safety code', safetyCode === undefined ? 'none' : safetyWords(safetyCode)]
        ])
      })
      const shown = byId<HTMLTextAreaElement>('report')
      // Text that is being selected stays as it is.
      if (document.activeElement !== shown) shown.value = text()
    },
    left () { over.abort() }
  }
}

void run({
  title: 'Dashboard',
  about: 'What a swarm is doing: its trackers, the peers, the paths to them and what moves over these. The page is a member of the room that sends nothing.',
  hasNames: false,
  identifier: room => room,
  enter
})
