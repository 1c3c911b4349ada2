// What two nodes have of each other that both have a key, and so speak p2pt/2: run in Chromium and in Node by
// session.test.mjs, and given what the package exports there.

export const scenarios = ({ default: P2PT, join, P2ptError }) => {
  /** Two nodes that have met, with their swarms; both are shut down at the end. */
  async function pair (url, act, second = {}) {
    const options = { trackers: [url], iceServers: [] }
    const identifier = `session ${Math.random()}`
    const [one, other] = await Promise.all([join(identifier, options), join(identifier, { ...options, ...second })])
    try {
      const [toOther, toOne] = await Promise.all([one.waitForPeer(), other.waitForPeer()])
      return await act({ one, other, toOther, toOne })
    } finally {
      await Promise.all([one.leave(), other.leave()])
    }
  }

  /** The next event of a type. */
  async function next (swarm, type) {
    for await (const event of swarm) if (event.type === type) return event
    throw new Error(`no ${type} came`)
  }

  /** The code of what something throws or rejects with, and the number beside it; the name of what is no error of the package. */
  async function code (act) {
    try {
      await act()
      return 'nothing'
    } catch (error) {
      if (!(error instanceof P2ptError)) return error.name
      return error.streamCode === undefined ? error.code : [error.code, error.streamCode]
    }
  }

  async function opened ({ toOther, other }, ...given) {
    const [ours, theirs] = await Promise.all([toOther.openStream(...given), next(other, 'stream')])
    return [ours, theirs]
  }

  async function bytesOf (readable) {
    const chunks = []
    for (const reader = readable.getReader(); ;) {
      const { value, done } = await reader.read()
      if (done) break
      chunks.push(value)
    }
    return new Uint8Array(await new Blob(chunks).arrayBuffer())
  }

  const counted = length => Uint8Array.from({ length }, (_, place) => place * 7)
  const same = (one, other) => one.length === other.length && one.every((byte, place) => byte === other[place])

  return {
    bytes: url => pair(url, async ({ one, other, toOther }) => {
      const large = counted(1_000_000)
      const sent = [large, new Uint8Array(), new Uint16Array([1, 2]).subarray(1), new Uint8Array([9]).buffer]
      for (const bytes of sent) toOther.send(bytes)
      one.broadcast(new Uint8Array([1, 2]))
      const heard = []
      for (let count = 0; count < 5; count++) heard.push(await next(other, 'message'))
      const answering = (async () => {
        const question = await next(other, 'message')
        question.respond(question.value.subarray(1))
      })()
      const answer = await toOther.request(new Uint8Array([1, 2, 3]))
      await answering
      return {
        large: same(heard[0].value, large) && heard[0].bytes === heard[0].value && heard[0].text === '',
        small: heard.slice(1).map(({ value, isJson }) => [[...value], isJson]),
        answer: [answer instanceof Uint8Array, ...answer]
      }
    }),

    sends: url => pair(url, async ({ one, other, toOther, toOne }) => {
      const seen = {}
      const progress = []
      const slow = toOther.send('x'.repeat(20_000_000), {
        urgency: 'background', acknowledged: true, onProgress: ({ sent, acknowledged, total }) => {
          progress.push([sent, acknowledged, total])
        }
      })
      const controller = new AbortController()
      const regretted = code(() => toOther.send('regretted', { urgency: 7, signal: controller.signal }))
      controller.abort()
      seen.regretted = await regretted
      const urgent = toOther.send('stop!', { urgency: 'urgent', acknowledged: true })
      const last = toOther.send('last', { urgency: 'background' })
      seen.order = []
      for (let count = 0; count < 3; count++) seen.order.push((await next(other, 'message')).text.slice(0, 5))
      await Promise.all([slow, urgent, last])
      seen.rises = progress.every(([sent, acknowledged], place) => place === 0 ||
        sent >= progress[place - 1][0] && acknowledged >= progress[place - 1][1])
      seen.end = progress.at(-1)
      seen.left = toOther.bufferedAmount
      const question = toOther.exchange('?')
      const asked = await next(other, 'message')
      await asked.respond('!', { acknowledged: true })
      seen.response = (await question).value
      seen.wrong = await code(() => toOther.send('x', { urgency: 8 }))
      seen.notSent = await code(() => toOther.send('x', { urgency: 0, signal: AbortSignal.abort() }))
      return seen
    }),

    streams: url => pair(url, async both => {
      const [ours, theirs] = await opened(both, 'números ✓', { urgency: 5 })
      const seen = { about: [theirs.metadataText, theirs.urgency, theirs.peer === both.toOne, ours.metadataText] }
      const bytes = counted(3_000_000)
      const echoing = theirs.readable.pipeTo(theirs.writable)
      const reading = bytesOf(ours.readable)
      const writer = ours.writable.getWriter()
      writer.write(bytes.subarray(0, 1000))
      writer.write(bytes.slice(1000, 5000).buffer)
      writer.write(bytes.subarray(5000))
      await writer.close()
      seen.echoed = same(await reading, bytes)
      await echoing
      const [named] = await opened(both, new Uint8Array([7]))
      seen.bytes = [...named.metadata]
      seen.long = await code(() => both.toOther.openStream('x'.repeat(20_000)))
      seen.wrong = await code(() => both.toOther.openStream(7))
      return seen
    }),

    /** What nothing reads holds back its writer, whatever it is, and nothing else. */
    'back-pressure': url => pair(url, async both => {
      const [ours, theirs] = await opened(both)
      const chunk = new Uint8Array(1 << 20)
      const writer = ours.writable.getWriter()
      let written = 0
      let paused
      const isPaused = new Promise(resolve => { paused = resolve })
      const writing = (async () => {
        for (; written < 64; written++) {
          // The next message comes only if what is written here waits.
          await Promise.race([writer.ready, isPaused])
          await writer.write(chunk)
        }
        await writer.close()
      })()
      const message = next(both.other, 'message')
      await both.toOther.send('it goes on', { acknowledged: true })
      const heard = (await message).value
      const before = written
      paused()
      const all = await bytesOf(theirs.readable)
      await writing
      return { heard, heldBack: before < 64, all: all.length === 64 << 20 }
    }),

    ends: url => pair(url, async both => {
      const seen = {}
      const [first, theirFirst] = await opened(both)
      const writing = theirFirst.writable.getWriter()
      const stuck = code(async () => { for (;;) await writing.write(new Uint8Array(1 << 20)) })
      first.stop(5)
      seen.stopped = await stuck
      first.reset(7)
      seen.reset = await code(() => bytesOf(theirFirst.readable))
      seen.ours = [await code(() => bytesOf(first.readable)), await code(() => first.writable.getWriter().write(new Uint8Array(1)))]

      const [second, theirSecond] = await opened(both)
      const read = code(() => bytesOf(theirSecond.readable))
      const writer = second.writable.getWriter()
      await writer.write(new Uint8Array([1]))
      await writer.abort(9)
      seen.aborted = await read
      await second.readable.cancel(3)
      const theirWriter = theirSecond.writable.getWriter()
      seen.cancelled = await code(async () => { for (;;) await theirWriter.write(new Uint8Array(1 << 20)) })

      const [third] = await opened(both)
      // What waits for the peer ends with the half.
      const waits = code(async () => { for (let writer = third.writable.getWriter(); ;) await writer.write(new Uint8Array(1 << 20)) })
      const reads = code(() => third.readable.getReader().read())
      third.reset()
      third.stop()
      seen.waits = [await waits, await reads]

      const [fourth] = await opened(both)
      seen.noBytes = await code(() => fourth.writable.getWriter().write('text'))
      seen.code = await code(() => fourth.stop(-1))
      return seen
    }),

    leaving: url => pair(url, async ({ one, other, toOther }) => {
      const closing = next(other, 'peerClosed')
      await toOther.leave(4001, 'to bed ✓')
      const closed = await closing
      const own = await next(one, 'peerClosed')
      return {
        left: closed.left,
        code: closed.code,
        returned: closed.returned,
        own: own.left,
        wrong: await code(() => toOther.leave(-1)),
        gone: await code(() => toOther.openStream())
      }
    }),

    /** A node that was given its id has no key, and speaks p2pt/1. */
    'peers without a key': url => pair(url, async ({ toOther, other }) => {
      const seen = {
        bytes: await code(() => toOther.send(new Uint8Array(1))),
        acknowledged: await code(() => toOther.send('x', { acknowledged: true })),
        stream: await code(() => toOther.openStream())
      }
      const progress = []
      await toOther.send('y', { urgency: 'urgent', onProgress: ({ sent, total }) => { progress.push([sent, total]) } })
      seen.progress = progress.at(-1)
      await toOther.sendFrame(new Uint8Array([1, 2]))
      seen.frame = [...(await next(other, 'data')).bytes]
      return seen
    }, { peerId: '07'.repeat(20) }),

    /** The class of npm's p2pt sends bytes as it ever did, hands out those that come, and takes no streams. */
    'the class': async url => {
      const identifier = `class ${Math.random()}`
      const p2pt = new P2PT([url], identifier, { iceServers: [] })
      const connected = new Promise(resolve => p2pt.once('peerconnect', resolve))
      const message = new Promise(resolve => p2pt.once('msg', (peer, message) => resolve(message)))
      await p2pt.start()
      const swarm = await join(identifier, { trackers: [url], iceServers: [] })
      const [toClass, peer] = [await swarm.waitForPeer(), await connected]
      toClass.send(new Uint8Array([1, 2]))
      const stream = await toClass.openStream('x')
      const seen = {
        message: [...await message],
        read: await code(() => stream.readable.getReader().read()),
        written: await code(async () => { for (let writer = stream.writable.getWriter(); ;) await writer.write(new Uint8Array(1 << 20)) })
      }
      p2pt.send(peer, new Uint8Array([3]))
      seen.sent = (await next(swarm, 'message')).value
      await Promise.all([swarm.leave(), p2pt.destroy()])
      return seen
    }
  }
}

export const EXPECTED = {
  bytes: { large: true, small: [[[], false], [[2, 0], false], [[9], false], [[1, 2], false]], answer: [true, 2, 3] },
  sends: {
    regretted: 'AbortError',
    order: ['stop!', 'xxxxx', 'last'],
    rises: true,
    end: [20_000_000, 20_000_000, 20_000_000],
    left: 0,
    response: '!',
    wrong: 'invalid_option',
    notSent: 'AbortError'
  },
  streams: {
    about: ['números ✓', 5, true, 'números ✓'],
    echoed: true,
    bytes: [7],
    long: 'metadata_too_large',
    wrong: 'frame_rejected'
  },
  'back-pressure': { heard: 'it goes on', heldBack: true, all: true },
  ends: {
    stopped: ['stream_stopped', 5],
    reset: ['stream_reset', 7],
    ours: ['stream_ended', 'stream_ended'],
    aborted: ['stream_reset', 9],
    cancelled: ['stream_stopped', 3],
    waits: ['stream_ended', 'stream_ended'],
    noBytes: 'frame_rejected',
    code: 'invalid_option'
  },
  leaving: {
    left: { code: 4001, text: 'to bed ✓' },
    code: 'remote',
    returned: [],
    own: null,
    wrong: 'invalid_option',
    gone: 'peer_gone'
  },
  'peers without a key': {
    bytes: 'no_bytes', acknowledged: 'no_acknowledgements', stream: 'no_streams', progress: [1, 1], frame: [1, 2]
  },
  'the class': { message: [1, 2], read: ['stream_reset', 0], written: ['stream_stopped', 0], sent: { 0: 3 } }
}
