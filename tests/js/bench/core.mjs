// The bench protocol of `p2pt bench` on npm p2pt: the partner that does what it is asked, and the measurer that asks.
// Shared by Node and the page in Chromium: no platform imports here. Times are microseconds.
//
// p2pt draws message ids at random from few and forgets none, so that after some hundred messages one is taken for the
// answer to an old one and lost. Here they are counted up, from where no other peer draws its own.

export const VERSION = 1

const FIRST_ID = { measurer: 1_000_000, partner: 500_000_000 }
const SMALL_BYTES = 100
const STAMP_DIGITS = 16
const FRAME_BYTES = 65536
const MB = 1e6
const CLOCK_ROUNDS = 50
const MAX_DELAYS = 1 << 19
// p2pt hands everything to the channel at once, which loses what does not fit; its users have to mind that themselves.
const HIGH_WATER = 1 << 20
const LOW_WATER = 1 << 18
const UNASKED_BYTES = 1 << 14
const DRAIN_POLL_MS = 20
// destroy() closes the channels and says so later, in timers.
const FAREWELL_MS = 300
const P2PT_MARK = 0x5e // the first byte of every frame that is p2pt's own

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

/** What the promise resolves to, if that is in time. */
function within (ms, what, promise) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not done within ${ms / 1000} s`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

const sorted = values => [...values].sort((one, other) => one - other)

export function median (values) {
  if (values.length === 0) return null
  const all = sorted(values)
  return (all[all.length >> 1] + all[(all.length - 1) >> 1]) / 2
}

/** The value that so many of a hundred do not exceed. */
export function percentile (values, percent) {
  if (values.length === 0) return null
  return sorted(values)[Math.max(0, Math.ceil(values.length * percent / 100) - 1)]
}

/** Waits until not much is still to be sent. */
async function drained (channel) {
  channel.bufferedAmountLowThreshold = LOW_WATER
  await new Promise((resolve, reject) => {
    const end = settle => {
      clearInterval(poll)
      channel.removeEventListener('bufferedamountlow', low)
      settle()
    }
    const low = () => end(resolve)
    channel.addEventListener('bufferedamountlow', low)
    // The event is missed when it came first, and a channel that has closed says nothing.
    const poll = setInterval(() => {
      if (channel.readyState !== 'open') end(() => reject(new Error('the channel has closed')))
      else if (channel.bufferedAmount <= LOW_WATER) end(resolve)
    }, DRAIN_POLL_MS)
  })
}

/** Calls `send`, which sends so many bytes, so many times, and waits while much is still to be sent. */
async function sendAll (channel, count, bytes, send) {
  // Asking costs a fifth of what sending does, on some stacks.
  const unasked = Math.max(1, Math.floor(UNASKED_BYTES / bytes))
  for (let sent = 1; sent <= count; sent++) {
    send()
    if (sent % unasked === 0 && channel.bufferedAmount > HIGH_WATER) await drained(channel)
  }
}

/** Sends so many texts and awaits no response. `text` makes each. */
async function sendTexts (p2pt, peer, nextId, count, bytes, text) {
  let failure
  // It resolves with a response, and none comes.
  const send = () => p2pt.send(peer, text(), nextId()).catch(error => { failure ??= error })
  await sendAll(peer._channel, count, bytes, send)
  if (failure) throw failure
}

function sendFrames (peer, count, bytes) {
  const frame = new Uint8Array(bytes)
  return sendAll(peer._channel, count, bytes, () => peer.send(frame))
}

/** What has arrived since it was made. */
class Tally {
  messages = 0
  frames = 0
  bytes = 0
  delays = []
  first
  last

  constructor (now) { this.now = now }

  message (text) {
    const now = this.arrival(text.length)
    this.messages++
    if (this.delays.length >= MAX_DELAYS) return
    const sent = Number(text.slice(0, STAMP_DIGITS))
    if (sent > 0) this.delays.push(now - sent)
  }

  frame (bytes) {
    this.arrival(bytes)
    this.frames++
  }

  arrival (bytes) {
    const now = this.now()
    this.first ??= now
    this.last = now
    this.bytes += bytes
    return now
  }

  get span () { return this.first === undefined ? 0 : this.last - this.first }

  get spread () {
    const { delays } = this
    return delays.length === 0 ? null : [median(delays), percentile(delays, 99), percentile(delays, 100)]
  }
}

/** Calls `tally()`, if there is one, with what arrives raw. */
function onFrames (p2pt, tally) {
  p2pt.on('data', (peer, data) => {
    if (data[0] !== P2PT_MARK) tally(peer)?.frame(data.byteLength)
  })
}

/**
 * Starts a partner. `now` and `cpuUs` tell microseconds, the latter of processor time or null; `ready` is called when
 * the tracker knows it.
 */
export async function serve (P2PT, { tracker, identifier, name, now, cpuUs, ready, warn }) {
  const p2pt = new P2PT([tracker], identifier)
  const served = new Map() // peer id => what it has asked for
  let id = FIRST_ID.partner
  const nextId = () => id++

  const stateOf = peer => {
    if (!served.has(peer.id)) served.set(peer.id, {})
    return served.get(peer.id)
  }
  const usedCpu = since => since === null ? null : cpuUs() - since

  const obey = {
    hello: () => ({ bench: 'hello', version: VERSION, name }),
    clock: () => ({ clock_us: now() }),
    echo (state) {
      state.tally = undefined
      state.echo = true
      return { ready: true }
    },
    sink (state) {
      state.echo = false
      state.tally = new Tally(now)
      state.cpu = cpuUs()
      return { ready: true }
    },
    report ({ tally, cpu }) {
      if (!tally) return { error: 'nothing is counted' }
      const { messages, frames, bytes, span, spread } = tally
      return { messages, frames, bytes, span_us: span, cpu_us: usedCpu(cpu), delays_us: spread }
    },
    source: () => ({ ready: true })
  }

  async function source (peer, { messages, frames, bytes }) {
    const cpu = cpuUs()
    const text = 'x'.repeat(bytes)
    if (frames === undefined) await sendTexts(p2pt, peer, nextId, messages, bytes, () => text)
    else await sendFrames(peer, frames, bytes)
    await p2pt.send(peer, { bench: 'done', cpu_us: usedCpu(cpu) }, nextId())
  }

  p2pt.on('msg', (peer, message) => {
    const state = stateOf(peer)
    if (typeof message === 'string') {
      if (state.echo) peer.respond('ok').catch(error => warn(`no echo: ${error.message}`))
      else state.tally?.message(message)
    } else if (Object.hasOwn(obey, message?.bench)) {
      peer.respond(obey[message.bench](state)).catch(error => warn(`no answer: ${error.message}`))
      if (message.bench === 'source') {
        source(peer, message).catch(error => warn(`not all was sent: ${error.message}`))
      }
    }
  })
  onFrames(p2pt, peer => served.get(peer.id)?.tally)
  p2pt.on('peerclose', peer => served.delete(peer.id))
  p2pt.on('trackerwarning', error => warn(`tracker: ${error.message}`))
  p2pt.once('trackerconnect', ready)
  await p2pt.start()
  return p2pt
}

/** One who measures, connected with a partner. */
class Measurer {
  static #started = 0

  #id = FIRST_ID.measurer
  nextId = () => this.#id++

  constructor (P2PT, options) {
    this.options = options
    // Two instances of one process that announce to one URL disturb each other.
    const url = `${options.tracker.replace(/\/$/, '')}/measurer${++Measurer.#started}`
    this.p2pt = new P2PT([url], options.identifier)
    this.p2pt.on('trackerwarning', error => options.warn(`tracker: ${error.message}`))
    this.p2pt.on('msg', (peer, message) => {
      if (typeof message === 'string') this.tally?.message(message)
      else if (message?.bench === 'done') this.done?.(message)
    })
    onFrames(this.p2pt, () => this.tally)
  }

  /** From the start until a partner has answered, in milliseconds. */
  async meet () {
    const { now } = this.options
    const greeted = new Promise((resolve, reject) => {
      this.p2pt.on('peerconnect', peer => {
        this.request(peer, { bench: 'hello' }).then(hello => {
          this.peer = peer
          this.hello = hello
          resolve(now())
        }, reject)
      })
    })
    const begin = now()
    await this.p2pt.start()
    const met = await this.within('meeting the partner', greeted)
    if (this.hello.version !== VERSION) throw new Error(`the partner speaks version ${this.hello.version}`)
    return (met - begin) / 1000
  }

  async leave () {
    this.p2pt.destroy()
    await sleep(FAREWELL_MS)
  }

  within (what, promise) { return within(this.options.deadlineMs, what, promise) }

  async request (peer, message) {
    const [, answer] = await this.p2pt.send(peer, message, this.nextId())
    return answer
  }

  /** What the partner answers to one request. */
  async ask (message) {
    const what = message.bench ? JSON.stringify(message) : `a text of ${message.length} bytes`
    const answer = await this.within(what, this.request(this.peer, message))
    if (answer?.error) throw new Error(`the partner: ${answer.error}`)
    return answer
  }

  async roundTrips () {
    const { now, roundTrips } = this.options
    await this.ask({ bench: 'echo' })
    const uncounted = Math.ceil(roundTrips / 10)
    const taken = []
    const all = async () => {
      for (let sent = 0; sent < uncounted + roundTrips; sent++) {
        const begin = now()
        await this.request(this.peer, 'ping123')
        if (sent >= uncounted) taken.push(now() - begin)
      }
    }
    // One deadline for all, since each would have its part in what is timed.
    await this.within('round trips', all())
    return { rtt_us_p50: median(taken), rtt_us_p99: percentile(taken, 99) }
  }

  /** How much the partner's clock is ahead. */
  async clockOffset () {
    let best = { took: Infinity }
    for (let round = 0; round < CLOCK_ROUNDS; round++) {
      const begin = this.options.now()
      const { clock_us: theirs } = await this.ask({ bench: 'clock' })
      const took = this.options.now() - begin
      if (took < best.took) best = { took, offset: theirs - (begin + took / 2) }
    }
    return best.offset
  }

  async small () {
    const { now, messages } = this.options
    const offset = await this.clockOffset()
    await this.ask({ bench: 'sink' })
    const filler = 'x'.repeat(SMALL_BYTES - STAMP_DIGITS)
    const stamped = () => String(Math.round(now())).padStart(STAMP_DIGITS, '0') + filler
    const sending = sendTexts(this.p2pt, this.peer, this.nextId, messages, SMALL_BYTES, stamped)
    await this.within('sending', sending)
    const report = await this.ask({ bench: 'report' })
    expectAll(report.messages, messages)
    const [p50, p99, max] = (report.delays_us ?? []).map(delay => delay - offset)
    return {
      small_per_s: (messages - 1) / (report.span_us / 1e6),
      small_delay_us_p50: p50 ?? null,
      small_delay_us_p99: p99 ?? null,
      small_delay_us_max: max ?? null
    }
  }

  async texts (bytes, count) {
    await this.ask({ bench: 'echo' })
    const text = 'x'.repeat(bytes)
    const rates = []
    for (let sent = 0; sent < count; sent++) {
      const begin = this.options.now()
      await this.ask(text)
      rates.push(bytes / (this.options.now() - begin)) // bytes per microsecond are MB/s
    }
    return median(rates)
  }

  async raw () {
    const { cpuUs, megabytes, partnerShares } = this.options
    const frames = Math.ceil(megabytes * MB / FRAME_BYTES)
    await this.ask({ bench: 'sink' })
    const cpu = await cpuUs()
    await this.within('sending', sendFrames(this.peer, frames, FRAME_BYTES))
    const report = await this.ask({ bench: 'report' })
    expectAll(report.frames, frames)
    const own = cpu === null ? null : await cpuUs() - cpu
    const theirs = report.cpu_us ?? (partnerShares ? 0 : null)
    const known = own !== null && theirs !== null
    return {
      raw_mb_s: report.bytes / report.span_us,
      raw_cpu_s_per_gb: known ? (own + theirs) / 1e6 / (report.bytes / 1e9) : null
    }
  }

  /** The partner sends; what has come is counted here. */
  async counted (request) {
    this.tally = new Tally(this.options.now)
    const done = new Promise(resolve => { this.done = resolve })
    await this.ask({ bench: 'source', ...request })
    await this.within('receiving', done)
    const { tally } = this
    this.tally = undefined
    expectAll(tally.messages + tally.frames, request.messages ?? request.frames)
    return tally
  }

  async reverse () {
    const { messages, texts, megabytes } = this.options
    const small = await this.counted({ messages, bytes: SMALL_BYTES })
    const large = await this.counted({ messages: Math.max(2, texts), bytes: MB })
    const raw = await this.counted({ frames: Math.ceil(megabytes * MB / FRAME_BYTES), bytes: FRAME_BYTES })
    return {
      reverse_small_per_s: (messages - 1) / (small.span / 1e6),
      reverse_text_1mb_mb_s: large.bytes / large.span,
      reverse_raw_mb_s: raw.bytes / raw.span
    }
  }
}

function expectAll (counted, sent) {
  if (counted !== sent) throw new Error(`${sent} were sent, but ${counted} have arrived`)
}

/** The tests, in the order in which they run; each gives some of the figures. */
const TESTS = {
  rtt: measurer => measurer.roundTrips(),
  small: measurer => measurer.small(),
  text: async measurer => ({
    text_1mb_mb_s: await measurer.texts(MB, measurer.options.texts),
    text_16mb_mb_s: await measurer.texts(16 * MB, Math.ceil(measurer.options.texts / 4))
  }),
  raw: measurer => measurer.raw(),
  reverse: measurer => measurer.reverse()
}

const FIGURES = ['connect_ms', 'rtt_us_p50', 'rtt_us_p99', 'small_per_s', 'small_delay_us_p50', 'small_delay_us_p99',
  'small_delay_us_max', 'text_1mb_mb_s', 'text_16mb_mb_s', 'raw_mb_s', 'raw_cpu_s_per_gb', 'rss_kb_per_peer']
const REVERSE_FIGURES = ['reverse_small_per_s', 'reverse_text_1mb_mb_s', 'reverse_raw_mb_s']

/** Measures with a partner that is there, and returns the figures: null where there is none. */
export async function measure (P2PT, options) {
  const wants = test => options.only.length === 0 ? test !== 'reverse' || options.reverse : options.only.includes(test)
  const figures = Object.fromEntries(FIGURES.map(figure => [figure, null]))
  if (options.reverse) for (const figure of REVERSE_FIGURES) figures[figure] = null

  const times = []
  let measurer
  for (let connect = 0; connect < (wants('connect') ? options.connects : 1); connect++) {
    await measurer?.leave()
    measurer = new Measurer(P2PT, options)
    times.push(await measurer.meet())
  }
  if (wants('connect')) figures.connect_ms = median(times)
  for (const [test, run] of Object.entries(TESTS)) {
    if (!wants(test) && !(test === 'reverse' && options.reverse)) continue
    options.warn(test)
    Object.assign(figures, await run(measurer))
  }
  await measurer.leave()
  return { ...figures, peer: measurer.hello.name, version: VERSION }
}
