// What takes the place of npm's p2pt in the pages of the package: its class, without the public STUN servers, which tests
// do not ask.
import { P2PT } from '../../p2pt-web/dist/embedded.js'

export default class extends P2PT {
  constructor (announceURLs, identifierString, options) {
    super(announceURLs, identifierString, options)
    this._rtcConfig = { iceServers: [] }
  }
}
