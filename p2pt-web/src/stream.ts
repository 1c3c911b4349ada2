import type { BindingStream } from './binding.js'
import { bytesOf, codeNumber, type Bytes } from './content.js'
import { awaiting, P2ptError } from './errors.js'
import type { Peer } from './peer.js'
import type { WaitOptions } from './abort.js'
import type { Urgency } from './sending.js'

/** How a stream is opened. */
export interface StreamOptions extends WaitOptions {
  /** Of both directions. */
  urgency?: Urgency | undefined
}

/** How much of what is written crosses at a time, so that a large chunk is not held twice. */
const PIECE = 256 << 10
/** How much may be written before `ready` of a writer waits. */
const WRITE_AHEAD = 64 << 10

/** A reason that is a code is one; any other is no more than that it ends. */
function codeOf (reason: unknown): number {
  return Number.isSafeInteger(reason) && reason as number >= 0 ? reason as number : 0
}

/**
 * A stream of bytes to and from a peer: from {@link Peer.openStream}, and at the other side an event. Each direction ends by
 * itself. What is not read holds back the writer at the other side, and nothing else; what is written comes exactly once and
 * in order.
 *
 * ```ts
 * const stream = await peer.openStream('photo.jpg')
 * await file.stream().pipeTo(stream.writable)
 *
 * // At the other side:
 * for await (const event of swarm) {
 *   if (event.type === 'stream') console.log(event.metadataText, await new Response(event.readable).blob())
 * }
 * ```
 */
export class PeerStream {
  readonly type = 'stream'
  /** The peer at the other end. */
  readonly peer: Peer
  /**
   * What the peer writes, in chunks of 64 KiB at most. To cancel it is to {@link stop} with the reason, if that is a number,
   * or 0. It fails with `stream_reset` and `peer_gone`.
   */
  readonly readable: ReadableStream<Uint8Array>
  /**
   * Takes an `ArrayBuffer` or a view of one. Its `close` resolves when the other side has all that was written; to abort it
   * is to {@link reset} with the reason, if that is a number, or 0. It fails with `stream_stopped` and `peer_gone`.
   */
  readonly writable: WritableStream<Bytes>
  /** What the side that opened it says about it. */
  readonly metadata: Uint8Array
  /** How urgent it is: 0, the most urgent, to 7. */
  readonly urgency: number
  readonly #stream: BindingStream
  #endReading!: (error: P2ptError) => void
  #endWriting!: (error: P2ptError) => void

  /** @internal */
  constructor (peer: Peer, stream: BindingStream) {
    this.peer = peer
    this.metadata = stream.metadata()
    this.urgency = stream.urgency()
    this.#stream = stream
    this.readable = new ReadableStream<Uint8Array>({
      start: controller => { this.#endReading = error => { controller.error(error) } },
      pull: async controller => {
        const bytes = await awaiting(stream.read())
        if (bytes === undefined) controller.close()
        else controller.enqueue(bytes)
      },
      cancel: reason => { stream.stop(codeOf(reason)) }
      // What nothing reads stays where it holds back the writer.
    }, { highWaterMark: 0 })
    this.writable = new WritableStream<Bytes>({
      start: controller => {
        this.#endWriting = error => { controller.error(error) }
        // A write that waits for the peer ends by that, for which an abort would wait otherwise.
        controller.signal.addEventListener('abort', () => { stream.reset(codeOf(controller.signal.reason)) })
      },
      write: async chunk => {
        const bytes = bytesOf(chunk, 'an ArrayBuffer or a view of one')
        for (let place = 0; place < bytes.length; place += PIECE) {
          await awaiting(stream.write(bytes.subarray(place, place + PIECE)))
        }
      },
      close: () => awaiting(stream.close())
    }, { highWaterMark: WRITE_AHEAD, size: chunk => (chunk as Bytes | undefined)?.byteLength ?? 0 })
  }

  /** The metadata as text. */
  get metadataText (): string { return new TextDecoder().decode(this.metadata) }

  /** Ends what this side writes before its end, with a code for the other side. What was not read there is lost. */
  reset (code = 0): void {
    this.#stream.reset(codeNumber(code))
    this.#endWriting(new P2ptError('stream_ended', 'this side has reset the stream'))
  }

  /** Reads no more, and lets the other side know why by a code. */
  stop (code = 0): void {
    this.#stream.stop(codeNumber(code))
    this.#endReading(new P2ptError('stream_ended', 'this side has stopped the stream'))
  }
}
