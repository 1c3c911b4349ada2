// p2pt for Node: peers that share an identifier find each other and talk, with no server of their own.
//
// One file around the program `p2pt pipe`, without dependencies; put it beside yours. Needs Node 20 and the program on the
// PATH, or its path in the environment variable P2PT. The npm package p2pt does the same in JavaScript alone; this is
// for programs that want what the Rust one has: deadlines, bounded memory, back-pressure.
//
//   import { join } from './p2pt.mjs'
//
//   const swarm = await join('my-app')
//   for await (const event of swarm) {
//     if (event.event === 'peer_connected') swarm.request(event.peer, { 'what is': '6 * 7' }).then(console.log)
//     if (event.event === 'message') swarm.respond(event, 42)
//   }
//
// Events are what the page PIPE.md of p2pt-cli says; those that answer a `request` or a `send` go to it, and to nothing
// else. Reading slowly slows the peers down, and never this program.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** The version of the pipe's protocol that this module speaks. */
export const PROTOCOL = 1

/** Something that a peer, a tracker or the pipe refused, in words. */
export class P2ptError extends Error {}

/**
 * Joins the swarm of an identifier. `trackers` are announce URLs, the program's default ones if there are none; `arguments`
 * are further ones of `p2pt pipe`, such as `['--max-peers', '10']`.
 */
export async function join (identifier, { trackers = [], arguments: further = [] } = {}) {
  const line = ['pipe', identifier, ...further, ...trackers.flatMap(url => ['--tracker', url])]
  const program = spawn(process.env.P2PT ?? 'p2pt', line, { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(program, 'spawn')
  const lines = createInterface({ input: program.stdout, crlfDelay: Infinity })[Symbol.asyncIterator]()
  const { value, done } = await lines.next()
  if (done) throw new P2ptError('p2pt ended; its standard error says why')
  const ready = JSON.parse(value)
  if (ready.protocol !== PROTOCOL) {
    program.stdin.end()
    throw new P2ptError(`the program speaks version ${ready.protocol} of the pipe's protocol, not ${PROTOCOL}`)
  }
  return new Swarm(program, lines, ready)
}

/** A swarm that was joined: events to iterate over, and what can be done. Made by `join`. */
export class Swarm {
  #program
  #awaited = new Map()
  #events = []
  #wake = () => {}
  #room = () => {}
  #ended = false
  #lastTag = 0

  constructor (program, lines, { peer_id: peerId, info_hash: infoHash, limits }) {
    this.#program = program
    this.peerId = peerId
    this.infoHash = infoHash
    this.limits = limits
    // A pipe that is gone is said by the end of its events, not by an exception out of nowhere.
    program.stdin.on('error', () => {})
    this.#read(lines)
  }

  // What can be done. `peer` is an id, as in the events; '*' is everyone.

  /** Sends without waiting. What is refused becomes an `error` among the events. */
  queue (peer, message) { this.command('send', { peer, message }) }

  /** Sends to one peer; resolves when a data channel has taken all of it: a slow peer slows its sender. */
  async send (peer, message) { await this.#ask({ peer, message, confirm: 'accepted' }) }

  /** Sends to one peer; resolves to its response, or rejects with a P2ptError when there is none in time. */
  async request (peer, message) { return (await this.#ask({ peer, message })).message }

  /** Responds to a message that came. */
  respond ({ peer, id }, message) { this.command('respond', { peer, id, message }) }

  /** Sends one frame outside the message format, a string or bytes: what `peer.send` does in JavaScript. */
  sendFrame (peer, data) {
    this.command('send_frame', typeof data === 'string' ? { peer, text: data } : { peer, base64: Buffer.from(data).toString('base64') })
  }

  /** Any other command of the pipe, such as `command('ban', peer)` or `command('peers')`. */
  command (name, value = true) {
    if (this.#ended || this.#program.stdin.writableEnded) throw new P2ptError('p2pt has ended')
    const line = JSON.stringify({ [name]: value }) + '\n'
    // One that is longer would be refused without saying which command it was.
    if (Buffer.byteLength(line) > this.limits.line_bytes) throw new RangeError(`a command is longer than ${this.limits.line_bytes} bytes`)
    this.#program.stdin.write(line)
  }

  /** Leaves: what was queued is sent, and peers and trackers are told. */
  async leave () {
    this.#program.stdin.end()
    this.#events = []
    this.#room()
    if (this.#program.exitCode === null && this.#program.signalCode === null) await once(this.#program, 'exit')
  }

  async * [Symbol.asyncIterator] () {
    while (true) {
      while (this.#events.length > 0) {
        yield this.#events.shift()
        this.#room()
      }
      if (this.#ended) return
      await new Promise(resolve => { this.#wake = resolve })
    }
  }

  #ask (fields) {
    if (fields.peer === '*') throw new TypeError('one peer can be waited for, not everyone')
    const tag = String(++this.#lastTag)
    return new Promise((resolve, reject) => {
      this.#awaited.set(tag, { resolve, reject })
      try {
        this.command('send', { ...fields, tag })
      } catch (error) {
        this.#awaited.delete(tag)
        reject(error)
      }
    })
  }

  async #read (lines) {
    for await (const line of { [Symbol.asyncIterator]: () => lines }) {
      const event = JSON.parse(line)
      const answer = this.#awaited.get(event.tag)
      if (answer) {
        this.#awaited.delete(event.tag)
        event.event === 'error' ? answer.reject(new P2ptError(event.error)) : answer.resolve(event)
        continue
      }
      this.#events.push(event)
      this.#wake()
      // Beyond this the pipe waits, and with it the peers.
      while (this.#events.length >= 256 && !this.#program.stdin.writableEnded) {
        await new Promise(resolve => { this.#room = resolve })
      }
    }
    this.#ended = true
    for (const { reject } of this.#awaited.values()) reject(new P2ptError('p2pt has ended'))
    this.#awaited.clear()
    this.#wake()
  }
}
