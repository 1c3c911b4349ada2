// States in words.
import type { ConnectionStats, SafetyCode, TrackerState, TrackerStats, Trust } from 'p2pt-web'

export const counted = (count: number, thing: string): string => `${count} ${thing}${count === 1 ? '' : 's'}`

/** What the whole of it is like. Without numbers that change by themselves, since it is read aloud when it changes. */
export function situation (peers: number, { connected, total, trackers }: TrackerStats): string {
  if (peers > 0) return `connected to ${counted(peers, 'peer')}`
  if (total === 0) return 'no tracker is set, so nobody can be met'
  if (connected > 0) return 'waiting for others'
  return trackers.some(({ lastError }) => lastError !== undefined)
    ? `${total === 1 ? 'the tracker' : 'no tracker'} can${total === 1 ? 'not' : ''} be reached; it is tried again`
    : 'connecting'
}

/** What a tracker is doing. */
export function trackerWords ({ status, retryIn, swarms }: TrackerState): string {
  switch (status) {
    case 'connected': return swarms.some(({ announced }) => announced) ? 'connected' : 'connected, and asked for peers'
    case 'connecting': return 'connecting'
    case 'waiting': return `not reached; tried again in ${seconds(retryIn ?? 0)}`
    case 'closing': return 'leaving'
    case 'stopped': return 'left'
    default: return 'not asked yet'
  }
}

/** Which of three states a list shows by a mark beside the words. */
export const trackerMark = ({ status }: TrackerState): 'up' | 'down' | 'between' =>
  status === 'connected' ? 'up' : status === 'waiting' || status === 'stopped' ? 'down' : 'between'

/** Which way a connection goes, by the kinds of its addresses. */
export function pathWords ({ localCandidate, remoteCandidate }: ConnectionStats): string {
  const kinds = [localCandidate, remoteCandidate]
  if (kinds.includes('relay')) return 'through a relay'
  if (kinds.includes('srflx')) return 'direct, through a router'
  // `prflx` is an address that shows when it is used, as those do that browsers hide: a router may be between or not.
  return kinds.includes('host') || kinds.includes('prflx') ? 'direct' : 'a way that is not known yet'
}

export function seconds (milliseconds: number): string {
  const count = Math.ceil(milliseconds / 1000)
  return count < 120 ? `${count} s` : `${Math.round(count / 60)} min`
}

export const milliseconds = (time: number): string => `${time < 10 ? time.toFixed(1) : Math.round(time)} ms`

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

export function bytes (count: number): string {
  let unit = 0
  while (count >= 1000 && unit < UNITS.length - 1) {
    count /= 1000
    unit++
  }
  return `${unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${UNITS[unit]}`
}

/** How far a peer is known. */
export function trustWords (trust: Trust): string {
  switch (trust.level) {
    case 'pinned': return `known as ${trust.name}`
    case 'vouched': return `shown by ${trust.through} of ${trust.of} trackers`
    case 'first_use': return 'known by its key alone'
    case 'changed': return `not the ${trust.name} that is known`
    case 'unsigned': return 'without a key: somebody may read along'
  }
}

/** The sign that stands for that where there is little room; the words are beside it for those who do not see it. */
export const trustMark = ({ level }: Trust): string => level === 'unsigned' || level === 'changed' ? '🔓' : level === 'first_use' ? '🔑' : '🔒'

/** A safety code for people to compare, by ear or by eye. */
export const safetyWords = ({ words, emoji }: SafetyCode): string => `${words.join(' ')} ${emoji.join('')}`
