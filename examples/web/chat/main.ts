// A chat. What travels is what `p2pt chat` says: lines as text, and `{"name": …}` to those who come; beside it
// `{"typing": true}` while a line is being written.
import type { Message, SwarmEvent } from 'p2pt-web'
import { colour, Members, nameIn, short } from '../shared/members.js'
import { byId, clock, linked, make, setText } from '../shared/page.js'
import { run, type Visit } from '../shared/room.js'
import { drawSwarm, placeSwarm } from '../shared/swarm.js'
import { trustWords } from '../shared/words.js'

/** Lines that are kept on the page. */
const MAX_LINES = 1000
/** How often others are told that a line is being written, and how long that holds without a word. */
const TYPING_EVERY_MS = 3000
const TYPING_HOLDS_MS = 7000

/** Whether a message says that a line is being written, and nothing else. */
function typingIn (value: unknown): boolean | undefined {
  if (typeof value !== 'object' || value === null || Object.keys(value).length !== 1) return undefined
  const { typing } = value as { typing?: unknown }
  return typeof typing === 'boolean' ? typing : undefined
}

class Log {
  readonly #log = byId('log')
  readonly #jump = byId('unread')
  readonly #title: string
  #unread = 0

  constructor (title: string, signal: AbortSignal) {
    this.#title = title
    this.#log.replaceChildren()
    const seen = (): void => { if (!document.hidden && this.#isAtEnd()) this.#seen() }
    this.#log.addEventListener('scroll', seen, { signal })
    document.addEventListener('visibilitychange', seen, { signal })
    addEventListener('resize', () => { if (this.#unread === 0) this.#toEnd() }, { signal })
    this.#jump.addEventListener('click', () => {
      this.#toEnd()
      this.#seen()
      byId('line').focus()
    }, { signal })
    this.#seen()
  }

  note (text: string): void { this.#add(make('p', { class: 'note' }, text), false) }
  warn (text: string): void { this.#add(make('p', { class: 'note warning' }, text), false) }

  line (name: string, className: string, text: string, isOwn: boolean): void {
    this.#add(make('div', { class: `line ${className}` },
      make('span', { class: 'name' }, make('bdi', {}, name)), ' ', clock(),
      make('p', { dir: 'auto' }, ...linked(text))), !isOwn)
  }

  #add (element: HTMLElement, counts: boolean): void {
    const follows = this.#isAtEnd() || element.classList.contains('own')
    this.#log.append(element)
    while (this.#log.childElementCount > MAX_LINES) this.#log.firstElementChild?.remove()
    if (follows) this.#toEnd()
    if (counts && (document.hidden || !follows)) {
      if (this.#unread === 0) element.classList.add('first-unread')
      this.#unread++
      this.#show()
    }
  }

  #isAtEnd (): boolean { return this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 40 }
  #toEnd (): void { this.#log.scrollTop = this.#log.scrollHeight }

  #seen (): void {
    if (this.#unread > 0) for (const mark of this.#log.querySelectorAll('.first-unread')) mark.classList.remove('first-unread')
    this.#unread = 0
    this.#show()
  }

  #show (): void {
    document.title = (this.#unread > 0 ? `(${this.#unread}) ` : '') + this.#title
    this.#jump.hidden = this.#unread === 0
    setText(this.#jump, `${this.#unread} new: show`)
  }
}

function enter ({ swarm, room, name }: Visit): { event: (event: SwarmEvent) => void, draw: () => Promise<void>, left: () => void } {
  const over = new AbortController()
  const log = new Log(`${room} · Chat · p2pt`, over.signal)
  const members = new Members(name)
  const line = byId<HTMLTextAreaElement>('line')
  const typing = new Map<string, number>()
  let toldTyping = 0
  placeSwarm(over.signal)
  setText(byId('own-name'), name)
  setText(byId('own-id'), short(swarm.peerId))
  line.value = ''
  setTimeout(() => { line.focus() })

  const drawTyping = (): void => {
    const now = Date.now()
    for (const [id, until] of typing) if (until < now) typing.delete(id)
    const names = [...typing.keys()].map(id => members.shown(id))
    setText(byId('typing'), names.length === 0 ? '' : names.length < 4 ? `${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} writing…` : 'Several are writing…')
  }

  const tellTyping = (isTyping: boolean): void => {
    const now = Date.now()
    if (isTyping ? now - toldTyping < TYPING_EVERY_MS : toldTyping === 0) return
    toldTyping = isTyping ? now : 0
    // Whoever is not told has room for nothing else either.
    swarm.broadcast({ typing: isTyping })
  }

  const say = (): void => {
    const text = line.value.trim()
    line.value = ''
    toldTyping = 0
    if (text === '') return
    log.line(name, 'own', text, true)
    if (swarm.peers.length === 0) log.note('No other peer is here yet, so this line was read by none.')
    for (const { peer, error } of swarm.broadcast(text)) log.warn(`Not sent to ${members.shown(peer.id)}: ${(error as Error).message}`)
  }

  byId('say').addEventListener('submit', event => {
    event.preventDefault()
    say()
  }, { signal: over.signal })
  line.addEventListener('keydown', event => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    say()
  }, { signal: over.signal })
  line.addEventListener('input', () => { tellTyping(line.value.trim() !== '') }, { signal: over.signal })

  const hear = ({ peer: { id }, value, text }: Message): void => {
    const before = members.shown(id)
    const isTyping = typingIn(value)
    const said = nameIn(value)
    if (isTyping !== undefined) {
      if (isTyping) typing.set(id, Date.now() + TYPING_HOLDS_MS)
      else typing.delete(id)
      drawTyping()
    } else if (said !== undefined) {
      if (members.rename(id, said)) log.note(`${before} is ${members.shown(id)}`)
    } else {
      typing.delete(id)
      drawTyping()
      log.line(before, colour(id), text, false)
    }
  }

  return {
    event (event) {
      switch (event.type) {
        case 'peerConnected':
          log.note(`${short(event.peer.id)} is here`)
          void event.peer.send({ name })
          break
        case 'message': hear(event); break
        case 'peerClosed':
          typing.delete(event.peer.id)
          log.note(`${members.shown(event.peer.id)} has left`)
          if (event.unsentMessages > 0) log.warn(`${event.unsentMessages} lines did not reach ${members.shown(event.peer.id)}`)
          members.forget(event.peer.id)
          break
        case 'trustChanged': log.note(`${members.shown(event.peer.id)} is ${trustWords(event.now)}`); break
        case 'trackerConnected': log.note(`${event.tracker} is reached`); break
        case 'trackerWarning': log.warn(`${event.tracker}: ${event.message}`); break
        case 'sendFailed': log.warn(`Not sent to ${members.shown(event.peer.id)}: ${event.message}`); break
        case 'connectionFailed':
          log.warn(`No connection to ${short(event.peerId)}: ${event.message}${event.advice === null ? '' : `; ${event.advice}`}`)
          break
        case 'offerFailed':
        case 'serverWarning': log.warn(event.advice === null ? event.message : `${event.message}; ${event.advice}`); break
      }
    },
    async draw () {
      drawTyping()
      await drawSwarm(swarm, members)
    },
    left () { over.abort() }
  }
}

void run({
  title: 'Chat',
  about: 'A chat with no server of its own. All who open the same room, here or with p2pt chat in a terminal, talk to each other directly.',
  hasNames: true,
  identifier: room => room,
  enter
})
