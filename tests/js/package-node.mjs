// What takes the place of npm's p2pt in Node: the class of the npm package of this workspace, without the public STUN
// servers, which tests do not ask.
const { P2PT } = await import('../../p2pt-web/dist/in-node.js')

export default class extends P2PT {
  constructor (announceURLs, identifierString, options) {
    super(announceURLs, identifierString, { ...options, iceServers: [] })
  }
}
