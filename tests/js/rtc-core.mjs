// One bare peer connection at a time, in Node and in a page alike: what rtc.mjs has commands for.

/** The commands, each a function; `emit` is called with the events. */
export function commandsFor (RTCPeerConnection, emit) {
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
    close: () => connection.close()
  }
  return async (name, value) => {
    try {
      await commands[name](value)
    } catch (error) {
      say('error', { error: `${name}: ${error.message}` })
    }
  }
}
