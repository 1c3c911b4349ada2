// A drawing board that its peers share. What travels is in `picture.ts`, and beside it names, the question for all of a
// board, and the question whether it may be cleared.
import type { Message, Peer, SwarmEvent } from 'p2pt-web'
import { Members, nameIn, short } from '../shared/members.js'
import { byId, make, setText } from '../shared/page.js'
import { run, type Visit } from '../shared/room.js'
import { drawSwarm, placeSwarm } from '../shared/swarm.js'
import { counted } from '../shared/words.js'
import { fit, paint, paintPen, png } from './canvas.js'
import { follow } from './pen.js'
import { Picture, WIDTH, type Change } from './picture.js'

const COLOURS: Array<[colour: string, name: string]> = [
  ['#1b1f24', 'black'], ['#6e7781', 'grey'], ['#c62828', 'red'], ['#e8710a', 'orange'], ['#f5c400', 'yellow'],
  ['#1a7f37', 'green'], ['#0b62c4', 'blue'], ['#8a3ab9', 'purple'], ['#7a4a21', 'brown'], ['#ffffff', 'white, which covers']
]

/** How often points that were drawn are sent: often enough to be seen to move, and some tens at a time. */
const SEND_MS = 60
/** How often peers compare what they have, in case something was lost. */
const COMPARE_MS = 10_000
/** How long all of a board may take to come, and an answer to whether it may be cleared. */
const WHOLE_MS = 30_000
const VOTE_MS = 30_000

function enter ({ swarm, room, name }: Visit): { event: (event: SwarmEvent) => void, draw: () => Promise<void>, left: () => void } {
  const over = new AbortController()
  const listening = { signal: over.signal }
  const members = new Members(name)
  const picture = new Picture(swarm.peerId)
  const canvas = byId<HTMLCanvasElement>('canvas')
  const pen = byId<HTMLCanvasElement>('pen')
  const context = canvas.getContext('2d')
  const penContext = pen.getContext('2d')
  if (context === null || penContext === null) throw new Error('this browser has no canvas')
  placeSwarm(over.signal)
  setText(byId('own-name'), name)
  setText(byId('own-id'), short(swarm.peerId))

  // What is seen is drawn once for each image that the browser shows.
  let isPainting = false
  const repaint = (): void => {
    if (isPainting || over.signal.aborted) return
    isPainting = true
    requestAnimationFrame(() => {
      isPainting = false
      paint(context, picture, fit(canvas))
      setText(byId('strokes'), picture.count === 0 ? 'Nothing is drawn yet.' : `${counted(picture.count, 'stroke')} on the board.`)
    })
  }
  const sized = new ResizeObserver(repaint)
  sized.observe(canvas)

  const aloud = (text: string): void => { setText(byId('aloud'), text) }
  const tell = (change: Change | undefined): Change | undefined => {
    if (change !== undefined) {
      repaint()
      // A peer for which there is no room finds out when it compares.
      swarm.broadcast(change)
    }
    return change
  }

  // The stroke under way, and its points that were not sent yet.
  let current: string | undefined
  let unsent: number[] = []
  let last: [number, number] = [0, 0]
  let sending: ReturnType<typeof setTimeout> | undefined
  const send = (): void => {
    clearTimeout(sending)
    sending = undefined
    if (current === undefined || unsent.length === 0) return
    const points = unsent
    unsent = []
    if (tell(picture.extend(current, points)) !== undefined) return
    // The stroke has no room for more, or was undone or cleared: it goes on as another.
    begin(...last)
  }
  const begin = (x: number, y: number): void => {
    unsent = []
    last = [x, y]
    const colour = byId<HTMLFormElement>('tools').querySelector<HTMLInputElement>('input[name=colour]:checked')?.value ?? '#1b1f24'
    const change = tell(picture.begin(colour, byId<HTMLInputElement>('width').valueAsNumber, x, y))
    current = change !== undefined && 'stroke' in change ? change.stroke.id : undefined
    if (change === undefined) aloud('The board is full: clear it, or undo strokes.')
  }
  const undo = (): void => {
    send()
    aloud(tell(picture.undo()) === undefined ? 'You have nothing to undo.' : 'Your last stroke is undone.')
  }
  let penAt: [x: number, y: number, isDown: boolean] = [WIDTH / 2, 500, false]
  let isPenShown = false
  const drawPen = (): void => {
    const scale = fit(pen)
    const [x, y, isDown] = penAt
    const colour = byId('tools').querySelector<HTMLInputElement>('input[name=colour]:checked')?.value ?? '#1b1f24'
    if (isPenShown) paintPen(penContext, scale, x, y, byId<HTMLInputElement>('width').valueAsNumber, isDown, colour)
    else penContext.clearRect(0, 0, pen.width, pen.height)
  }
  follow(canvas, {
    begin,
    move (points) {
      for (let place = 0; place + 1 < points.length; place += 2) {
        const next: [number, number] = [points[place] ?? 0, points[place + 1] ?? 0]
        if (next[0] === last[0] && next[1] === last[1]) continue
        unsent.push(...next)
        last = next
      }
      sending ??= setTimeout(send, SEND_MS)
    },
    end () {
      send()
      current = undefined
    },
    undo,
    penMoved (x, y, isDown, isWorthSaying) {
      penAt = [x, y, isDown]
      drawPen()
      if (isWorthSaying) aloud(`Pen ${isDown ? 'down' : 'up'}, ${Math.round(x / WIDTH * 100)} % from the left, ${Math.round(y / 10)} % from the top`)
    },
    penShown (isShown) {
      isPenShown = isShown
      drawPen()
    }
  }, over.signal)

  byId('undo').addEventListener('click', undo, listening)
  byId('tools').addEventListener('submit', event => { event.preventDefault() }, listening)
  byId('export').addEventListener('click', async () => {
    const url = URL.createObjectURL(await png(picture))
    make('a', { href: url, download: `${room.replaceAll(/[^\p{L}\p{N}]+/gu, '-') || 'board'}.png` }).click()
    setTimeout(() => { URL.revokeObjectURL(url) }, 60_000)
    aloud('The picture is saved.')
  }, listening)

  // All of a board comes from one peer at a time, as long as theirs are not the same as this one.
  let comparing: Promise<void> = Promise.resolve()
  const compare = (peer: Peer, digest: string): void => {
    comparing = comparing.then(async () => {
      if (over.signal.aborted || digest === picture.digest() || kept.has(parseInt(digest))) return
      const whole = await peer.request<{ cleared?: unknown }>({ whole: true }, { timeout: WHOLE_MS, signal: over.signal })
      const time = picture.clearedElsewhere(whole?.cleared)
      if (picture.add(whole)) repaint()
      if (time !== undefined) clearedElsewhere(time)
      // A peer that goes, or does not answer, is not the only one.
    }).catch(() => {})
  }
  const compareAll = setInterval(() => { swarm.broadcast({ digest: picture.digest() }) }, COMPARE_MS)

  // A board is cleared where its people have agreed. A peer takes no other's word for that: it clears what it agreed to.
  const agreed = new Set<number>()
  /** Times of clears elsewhere after which what is here was kept. */
  const kept = new Set<number>()
  const vote = byId('vote')
  vote.replaceChildren()
  const ask = (question: string, ...buttons: HTMLButtonElement[]): HTMLElement => {
    const asked = make('div', { class: 'question' }, make('span', {}, question), ...buttons)
    vote.append(asked)
    return asked
  }
  const button = (text: string, pressed: () => void, name = ''): HTMLButtonElement => {
    const element = make('button', { type: 'button', class: name }, text)
    element.addEventListener('click', pressed)
    return element
  }
  const say = (text: string): void => {
    const shown = ask(text, button('OK', () => { shown.remove() }))
    setTimeout(() => { shown.remove() }, 15_000)
  }
  const cleared = (time: number): void => {
    if (picture.clear(time)) repaint()
    current = undefined
    unsent = []
  }
  const askToClear = async (): Promise<void> => {
    send()
    const time = picture.time
    const peers = swarm.peers
    const answers = peers.map(async peer => {
      try {
        return await peer.request({ mayClear: time }, { timeout: VOTE_MS, signal: over.signal }) === true ? undefined : `${members.shown(peer.id)} would like to keep it.`
      } catch {
        // A peer that has left has no say; one that does not answer has not agreed.
        return peer.connected ? `${members.shown(peer.id)} has not answered.` : undefined
      }
    })
    const waiting = ask(`Asking ${counted(peers.length, 'other')}…`)
    const refused = (await Promise.all(answers)).find(answer => answer !== undefined)
    waiting.remove()
    if (over.signal.aborted) return
    if (refused !== undefined) return say(`The board stays: ${refused}`)
    swarm.broadcast({ cleared: time })
    cleared(time)
  }
  byId('clear').addEventListener('click', async () => {
    const clear = byId<HTMLButtonElement>('clear')
    if (clear.disabled) return
    clear.disabled = true
    try {
      if (swarm.peers.length > 0) return await askToClear()
      await new Promise<void>(resolve => {
        const asked = ask('Clear the board?',
          button('Clear it', () => { cleared(picture.time); asked.remove(); resolve() }, 'main'),
          button('Keep it', () => { asked.remove(); resolve() }))
      })
    } finally {
      clear.disabled = false
    }
  }, listening)
  let isAsking = false
  const clearedElsewhere = (time: number): void => {
    if (isAsking) return
    isAsking = true
    const answer = (yes: boolean): void => {
      isAsking = false
      asked.remove()
      if (yes) cleared(time)
      else kept.add(time)
    }
    const asked = ask('Others have cleared the board while you could not be asked.',
      button('Clear it here', () => { answer(true) }, 'main'), button('Keep mine', () => { answer(false) }))
  }
  const mayClear = (message: Message, time: number): void => {
    // Strokes that begin while it is being decided stay.
    if (!picture.see(time)) return void message.respond(false)
    const answer = (yes: boolean): void => {
      if (yes) agreed.add(time)
      asked.remove()
      clearTimeout(late)
      void message.respond(yes)
    }
    const asked = ask(`${members.shown(message.peer.id)} would like to clear the board.`,
      button('Clear it', () => { answer(true) }, 'main'), button('Keep it', () => { answer(false) }))
    const late = setTimeout(() => { asked.remove() }, VOTE_MS)
  }

  const hear = (message: Message): void => {
    const { peer, value } = message
    const said = nameIn(value)
    if (said !== undefined) {
      members.rename(peer.id, said)
    } else if (typeof value === 'object' && value !== null) {
      const { digest, whole, mayClear: time, cleared: clearedTime } = value as Record<string, unknown>
      if (typeof digest === 'string') compare(peer, digest)
      else if (whole === true) void message.respond(picture.whole())
      else if (typeof time === 'number') mayClear(message, time)
      else if (typeof clearedTime === 'number') {
        if (agreed.delete(clearedTime)) cleared(clearedTime)
      } else if (picture.take(peer.id, value)) repaint()
    }
  }

  repaint()
  return {
    event (event) {
      switch (event.type) {
        case 'peerConnected':
          void event.peer.send({ name })
          void event.peer.send({ digest: picture.digest() })
          break
        case 'message': hear(event); break
        case 'peerClosed': members.forget(event.peer.id); break
      }
    },
    async draw () { await drawSwarm(swarm, members) },
    left () {
      over.abort()
      clearInterval(compareAll)
      clearTimeout(sending)
      sized.disconnect()
    }
  }
}

const colours = byId('colours')
COLOURS.forEach(([colour, name], number) => {
  const input = make('input', { type: 'radio', name: 'colour', value: colour, 'aria-label': name })
  input.checked = number === 0
  // A style that a script sets is none that a content security policy forbids.
  input.style.setProperty('--colour', colour)
  colours.append(input)
})

void run({
  title: 'Board',
  about: 'A drawing board that all who open the same room share, with no server that keeps it: newcomers get the picture from those who are there.',
  hasNames: true,
  identifier: room => `p2pt-board/${room}`,
  enter
})
