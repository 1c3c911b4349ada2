// The peers and trackers of a room, as lists beside what is done in it.
import type { Swarm } from 'p2pt-web'
import { byId, list, make, setText } from './page.js'
import { colour, short, type Members } from './members.js'
import { milliseconds, pathWords, safetyWords, trackerMark, trackerWords, trustMark, trustWords } from './words.js'

/** Opens the list where there is room beside what is done in the room, and folds it where it is below, until the signal. */
export function placeSwarm (signal: AbortSignal): void {
  const wide = matchMedia('(min-width: 46rem)')
  const place = (): void => { byId<HTMLDetailsElement>('swarm').open = wide.matches }
  place()
  wide.addEventListener('change', place, { signal })
}

/** Draws who is here, and which trackers there are. */
export async function drawSwarm (swarm: Swarm, members: Members): Promise<void> {
  const peers = await Promise.all(swarm.peers.map(async peer => ({ peer, stats: (await peer.stats())[0] })))
  setText(byId('who'), `Who is here (${peers.length + 1})`)
  byId('alone').hidden = peers.length > 0
  list(byId('peers'), peers, ({ peer }) => peer.id, ({ peer, stats }, element) => {
    element.className = 'up'
    const path = stats === undefined ? [] : [pathWords(stats)]
    const time = stats?.roundTrip == null ? [] : [milliseconds(stats.roundTrip)]
    const { trust, safetyCode } = peer
    const code = safetyCode === undefined ? [] : [make('small', { class: 'safety' }, `to compare: ${safetyWords(safetyCode)}`)]
    element.replaceChildren(
      make('bdi', { class: colour(peer.id) }, members.shown(peer.id)),
      make('small', {}, [short(peer.id), ...path, ...time].join(' · ')),
      make('small', { class: 'trust' }, make('span', { 'aria-hidden': 'true' }, `${trustMark(trust)} `), trustWords(trust)),
      ...code)
  })
  list(byId('trackers-list'), swarm.node.trackerStats().trackers, ({ url }) => url, (tracker, element) => {
    element.className = trackerMark(tracker)
    const error = tracker.status === 'connected' || tracker.lastError === undefined
      ? [] : [make('small', { class: 'warning' }, tracker.lastError)]
    element.replaceChildren(make('span', {}, tracker.url), make('small', {}, trackerWords(tracker)), ...error)
  })
}
