// Going into a room and out of it: the form, the link, and what is remembered.
import { join, type IceServer, type NodeOptions, type Swarm, type SwarmEvent } from 'p2pt-web'
import { byId, copy, make, setText } from './page.js'
import { shortName } from './members.js'
import { situation } from './words.js'

/** What `config.json` beside the pages says; who hosts the pages edits it. */
interface Config {
  /** Announce URLs. One without a host, such as `/`, is a tracker at the address that the pages came from. */
  trackers: string[]
  /** The room that is proposed. */
  room?: string
  /** STUN and TURN servers, in place of the library's. */
  iceServers?: IceServer[]
}

/** What differs between the pages. */
interface Page {
  /** What it is called. */
  title: string
  /** What it is, for those who come by a link. */
  about: string
  /** Whether those who come have names. */
  hasNames: boolean
  /** What peers share who open this page for a room. */
  identifier: (room: string) => string
  /** Shows a room until the function that it returns is called. */
  enter: (visit: Visit) => Room
}

/** A stay in a room. */
export interface Visit {
  swarm: Swarm
  room: string
  name: string
  /** The address that brings others here. */
  link: string
  /** Says in the head of the page how it stands. It is read aloud when it changes. */
  setState: (text: string) => void
}

interface Room {
  /** Called with each event of the swarm. */
  event: (event: SwarmEvent) => void
  /** Called each second, and after events. */
  draw: () => void | Promise<void>
  /** Called when the room was left. */
  left?: () => void
}

const DRAW_MS = 1000
const NAME_KEY = 'p2pt-name'

async function readConfig (): Promise<Config> {
  const config: Config = await (await fetch('../config.json')).json()
  return { ...config, trackers: config.trackers.map(absolute) }
}

/** An announce URL in full. */
function absolute (tracker: string): string {
  const url = new URL(tracker, location.href)
  if (url.protocol === 'http:') url.protocol = 'ws:'
  if (url.protocol === 'https:') url.protocol = 'wss:'
  return url.href
}

const linesOf = (text: string): string[] => text.split(/\s+/).filter(Boolean)

/** What the page's address says. It stands behind a `#`, which browsers do not send to the server of the pages. */
function fragment (): URLSearchParams { return new URLSearchParams(location.hash.slice(1)) }

function remember (name: string): void {
  try {
    localStorage.setItem(NAME_KEY, name)
  } catch {
    // A page that may keep nothing asks again.
  }
}

function remembered (): string {
  try {
    return localStorage.getItem(NAME_KEY) ?? ''
  } catch {
    return ''
  }
}

function field (id: string, label: string, input: HTMLElement, help: string): HTMLElement {
  input.id = id
  if (help === '') return make('div', {}, make('label', { for: id }, label), input)
  input.setAttribute('aria-describedby', `${id}-help`)
  return make('div', {}, make('label', { for: id }, label), input, make('p', { id: `${id}-help`, class: 'help' }, help))
}

/** Runs a page: shows its form, and the room behind it. */
export async function run (page: Page): Promise<void> {
  const welcome = byId('welcome')
  const input = (attributes: Record<string, string>): HTMLInputElement =>
    make('input', { required: '', autocomplete: 'off', ...attributes })
  const room = input({ maxlength: '200', autocapitalize: 'none', enterkeyhint: page.hasNames ? 'next' : 'go' })
  const name = input({ maxlength: '30', autocomplete: 'nickname', enterkeyhint: 'go' })
  const trackers = make('textarea', { rows: '2', spellcheck: 'false', autocapitalize: 'none' })
  const enter = make('button', { class: 'main', id: 'enter' }, 'Enter')
  const problem = make('p', { id: 'problem', role: 'alert' })
  const form = make('form', { id: 'join' },
    field('identifier', 'Room', room, 'All who give the same name meet. Choose one that nobody guesses, to be among yourselves.'),
    ...page.hasNames ? [field('name', 'Your name', name, '')] : [],
    make('details', {}, make('summary', {}, 'Trackers'),
      field('trackers', 'Announce URLs, one a line', trackers, 'Where peers find each other. What is said does not pass them.')),
    enter, problem)
  welcome.replaceChildren(make('h2', { id: 'welcome-title' }, page.title), make('p', {}, page.about), form)
  document.title = `${page.title} · p2pt`

  let config: Config
  try {
    config = await readConfig()
  } catch (error) {
    config = { trackers: [] }
    problem.textContent = `config.json, which names the trackers, could not be read: ${String(error)}`
  }
  const given = fragment()
  room.value = given.get('room') ?? config.room ?? ''
  name.value = shortName(given.get('name') ?? remembered())
  trackers.value = (given.has('tracker') ? given.getAll('tracker').map(absolute) : config.trackers).join('\n')
  // What is asked for first, or the way in.
  const blank = [room, name].find(input => input.value === '' && input.isConnected)
  ;(blank ?? enter).focus()

  // Another link into the same page: what is here ends in order.
  addEventListener('hashchange', () => { location.reload() })
  // A page that comes back out of the browser's memory has no connections any more.
  addEventListener('pageshow', event => { if (event.persisted) location.reload() })

  form.addEventListener('submit', async event => {
    event.preventDefault()
    problem.textContent = ''
    enter.disabled = true
    enter.textContent = 'Entering…'
    try {
      const urls = linesOf(trackers.value)
      const options: NodeOptions = { trackers: urls, flushTimeout: 2000 }
      if (config.iceServers !== undefined) options.iceServers = config.iceServers
      const swarm = await join(page.identifier(room.value), options)
      if (page.hasNames) remember(name.value)
      const parts = new URLSearchParams({ room: room.value })
      if (urls.join() !== config.trackers.join()) for (const url of urls) parts.append('tracker', url)
      await visit(page, swarm, room.value, shortName(name.value), parts)
    } catch (error) {
      problem.textContent = error instanceof Error ? error.message : String(error)
    } finally {
      enter.disabled = false
      enter.textContent = 'Enter'
    }
  })
}

/** Shows a room until it is left. */
async function visit (page: Page, swarm: Swarm, room: string, name: string, parts: URLSearchParams): Promise<void> {
  history.replaceState(null, '', `#${parts}`)
  const link = location.href
  const state = byId('state')
  const copied = byId('copy')
  const setState = (text: string): void => { setText(state, text) }
  setText(byId('title'), room)
  document.title = `${room} · ${page.title} · p2pt`
  const shown = page.enter({ swarm, room, name, link, setState })
  byId('welcome').hidden = true
  for (const id of ['room', 'leave', 'invite']) byId(id).hidden = false
  byId<HTMLAnchorElement>('invitation').href = link

  const over = new AbortController()
  const listening = { signal: over.signal }
  let drawing: Promise<void> | undefined
  let again = false
  const draw = async (): Promise<void> => {
    // One at a time; an event meanwhile is a reason to draw once more.
    again = true
    drawing ??= (async () => {
      while (again && !over.signal.aborted) {
        again = false
        setState(situation(swarm.peers.length, swarm.node.trackerStats()))
        await shown.draw()
      }
    })().finally(() => { drawing = undefined })
    await drawing
  }
  const timer = setInterval(() => { void draw() }, DRAW_MS)
  byId('leave').addEventListener('click', () => { over.abort() }, listening)
  byId('copy').addEventListener('click', async () => {
    copied.textContent = await copy(link) ? 'Copied' : 'Not copied'
    setText(byId('aloud'), copied.textContent)
    setTimeout(() => {
      copied.textContent = 'Copy link'
      setText(byId('aloud'), '')
    }, 2000)
  }, listening)
  addEventListener('pagehide', () => { void swarm.leave() }, listening)
  void draw()
  try {
    for await (const event of swarm.events(listening)) {
      shown.event(event)
      void draw()
    }
  } catch (error) {
    if (!over.signal.aborted) throw error
  } finally {
    over.abort()
    clearInterval(timer)
    shown.left?.()
    setState('leaving')
    await swarm.leave().catch(() => {})
    setState('')
    setText(byId('title'), page.title)
    document.title = `${page.title} · p2pt`
    for (const id of ['room', 'leave', 'invite']) byId(id).hidden = true
    byId('welcome').hidden = false
    byId('enter').focus()
  }
}
