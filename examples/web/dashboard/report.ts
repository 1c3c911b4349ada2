// What a bug report needs, as text.
import type { ConnectionStats, Peer, Swarm, TrackerStats } from 'p2pt-web'
import { bytes, milliseconds, pathWords, trackerWords, trustWords } from '../shared/words.js'

export interface PeerRow { id: string, peer: Peer, connections: ConnectionStats[] }

/** All of it: the room's name is not in it, which would let its reader in. */
export function report (
  swarm: Swarm, since: Date, trackers: TrackerStats, peers: PeerRow[], happened: string[]
): string {
  const lines = [
    'p2pt report',
    `at ${new Date().toISOString()}, in the swarm since ${since.toISOString()}`,
    `browser: ${navigator.userAgent}`,
    `page: ${location.origin}, ${isSecureContext ? 'secure' : 'not secure'}, ${navigator.onLine ? 'online' : 'offline'}, ${document.visibilityState}`,
    `info hash: ${swarm.infoHash}`,
    `own id: ${swarm.peerId}`,
    `own key: ${swarm.publicKey ?? 'none'}`,
    '',
    `trackers: ${trackers.connected} of ${trackers.total} connected`
  ]
  for (const tracker of trackers.trackers) {
    const here = tracker.swarms.find(({ infoHash }) => infoHash === swarm.infoHash)
    lines.push(`- ${tracker.url}: ${trackerWords(tracker)}` +
      (here === undefined ? '' : `; ${here.members ?? 'unknown'} members, ${here.offers} offers, reply ${here.replyTime === null ? 'none' : milliseconds(here.replyTime)}`))
    if (tracker.lastError !== undefined) lines.push(`  last error: ${tracker.lastError}`)
  }
  lines.push('', `peers: ${peers.length}`)
  for (const { id, peer, connections } of peers) {
    lines.push(`- ${id}`, `  key ${peer.publicKey ?? 'none'}, ${trustWords(peer.trust)}`)
    for (const connection of connections) {
      const { localCandidate, remoteCandidate, roundTrip, bytesSent, bytesReceived } = connection
      lines.push(`  ${pathWords(connection)} (${localCandidate ?? '?'} to ${remoteCandidate ?? '?'}), ` +
        `${roundTrip === null ? 'no round trip yet' : milliseconds(roundTrip)}, ${bytes(bytesReceived)} received, ${bytes(bytesSent)} sent`)
    }
  }
  lines.push('', 'counted:')
  for (const [name, count] of Object.entries(swarm.node.metrics())) if (count !== 0) lines.push(`- ${name}: ${count}`)
  lines.push('', `what happened (the last ${happened.length}):`, ...happened.map(line => `- ${line}`))
  return lines.join('\n') + '\n'
}
