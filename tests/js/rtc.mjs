// One bare peer connection at a time in Node, for tests that handle descriptions themselves.
// node rtc.mjs [--webrtc ndc|roamhq]
//
// Commands: {"offer":true}, {"answer":SDP} (the offer it answers), {"accept":SDP} (the answer to its offer), {"send":TEXT},
// {"stop":true}. An offer or the answer to one takes the place of the connection before, without a close.
// Events, each with the time `at` in ms since 1970: "description" with `sdp`, complete with all candidates, "open",
// "message" with `text` or `bytes` (their number), "channel_error", "channel_closed", "state" of the connection, "error".
import { parseArgs } from 'node:util'
import { emit, readLines } from './stdio.mjs'

const { webrtc } = parseArgs({ options: { webrtc: { type: 'string', default: 'roamhq' } } }).values
const { RTCPeerConnection } = webrtc === 'roamhq' ? (await import('@roamhq/wrtc')).default : await import('webrtc-polyfill')

const say = (event, more) => emit({ event, ...more, at: Date.now() })
let connection
let channel

function begin () {
  connection = new RTCPeerConnection({ iceServers: [] })
  const mine = connection
  mine.onconnectionstatechange = () => say('state', { state: mine.connectionState })
  mine.ondatachannel = event => watch(event.channel)
}

function watch (opened) {
  channel = opened
  opened.binaryType = 'arraybuffer'
  opened.onopen = () => say('open')
  if (opened.readyState === 'open') say('open')
  opened.onmessage = ({ data }) => say('message', typeof data === 'string' ? { text: data } : { bytes: data.byteLength })
  opened.onerror = event => say('channel_error', { error: String(event.error?.message ?? event.message ?? event) })
  opened.onclose = () => say('channel_closed')
}

/** Says the local description when all candidates are in it. */
async function describe (description) {
  const mine = connection
  const complete = new Promise(resolve => {
    const look = () => { if (mine.iceGatheringState === 'complete') resolve() }
    mine.onicegatheringstatechange = look
    mine.onicecandidate = look
  })
  await mine.setLocalDescription(description)
  if (mine.iceGatheringState !== 'complete') await complete
  say('description', { sdp: mine.localDescription.sdp })
}

const commands = {
  async offer () {
    begin()
    watch(connection.createDataChannel('bare'))
    await describe(await connection.createOffer())
  },
  async answer (sdp) {
    begin()
    await connection.setRemoteDescription({ type: 'offer', sdp })
    await describe(await connection.createAnswer())
  },
  accept: sdp => connection.setRemoteDescription({ type: 'answer', sdp }),
  send: text => channel.send(text),
  stop () {
    say('stopped')
    process.exit(0)
  }
}

say('ready')
readLines(async line => {
  const [[name, value]] = Object.entries(JSON.parse(line))
  try {
    await commands[name](value)
  } catch (error) {
    say('error', { error: `${name}: ${error.message}` })
  }
}, () => process.exit(0))
