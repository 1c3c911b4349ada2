// The picture on a board, as every peer has it: a set of strokes, which comes to be the same everywhere whatever order its
// parts come in. It knows no canvas, no peer and no clock.

/** The size of the board, in whose units strokes are. */
export const WIDTH = 1600
export const HEIGHT = 1000

/** A board that has more is full. A stroke goes on as another where it has more points. */
export const MAX_STROKES = 5000
export const MAX_POINTS = 1000

/** Times are counts of strokes, so none is as large. */
const MAX_TIME = 2 ** 40

export interface Stroke {
  /** The id of the peer that draws it, a slash, and a number. */
  id: string
  /** When it began, in strokes: later ones are drawn above it. */
  time: number
  colour: string
  width: number
  /** x, y, x, y and so on. None once it was undone. */
  points: number[]
  isUndone: boolean
}

/** What is told to others. Only the author of a stroke may say these of it. */
export type Change =
  | { stroke: Stroke }
  | { more: string, from: number, points: number[] }
  | { undo: string }

/** All of a board, for those who come. */
export interface Whole { strokes: Stroke[], cleared: number }

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
const isTime = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0 && (value as number) < MAX_TIME

function arePoints (value: unknown): value is number[] {
  return Array.isArray(value) && value.length % 2 === 0 && value.length <= 2 * MAX_POINTS &&
    value.every((number, place) => Number.isInteger(number) && number >= 0 && number <= (place % 2 === 0 ? WIDTH : HEIGHT))
}

/** What a peer has sent, if it is a stroke. */
function strokeOf (value: unknown): Stroke | undefined {
  if (!isObject(value)) return undefined
  const { id, time, colour, width, points, isUndone } = value
  const isGood = typeof id === 'string' && /^[0-9a-f]{40}\/\d{1,9}$/.test(id) && isTime(time) &&
    typeof colour === 'string' && /^#[0-9a-f]{6}$/.test(colour) &&
    Number.isInteger(width) && (width as number) >= 1 && (width as number) <= 100 && arePoints(points) && typeof isUndone === 'boolean'
  return isGood ? { id, time, colour, width: width as number, points: [...points], isUndone } : undefined
}

export class Picture {
  readonly #own: string
  readonly #strokes = new Map<string, Stroke>()
  #number = 0
  /** The latest time that was seen. */
  #time = 0
  /** What is not later has been cleared. */
  #cleared = 0
  #ordered: Stroke[] | undefined

  constructor (own: string) {
    this.#own = own
  }

  get time (): number { return this.#time }
  get count (): number { return this.strokes().length }

  /** The strokes that are to be seen, those below first. */
  strokes (): Stroke[] {
    this.#ordered ??= [...this.#strokes.values()].filter(({ isUndone }) => !isUndone)
      .sort((a, b) => a.time - b.time || (a.id < b.id ? -1 : 1))
    return this.#ordered
  }

  /** Begins a stroke, unless the board is full. */
  begin (colour: string, width: number, x: number, y: number): Change | undefined {
    if (this.#strokes.size >= MAX_STROKES) return undefined
    this.#time++
    const stroke: Stroke = { id: `${this.#own}/${++this.#number}`, time: this.#time, colour, width, points: [x, y], isUndone: false }
    this.#set(stroke)
    return { stroke: { ...stroke, points: [x, y] } }
  }

  /** Adds points to a stroke of this peer; nothing comes of it if it was undone or cleared meanwhile, or has no room. */
  extend (id: string, points: number[]): Change | undefined {
    const stroke = this.#strokes.get(id)
    if (stroke === undefined || stroke.isUndone || stroke.points.length + points.length > 2 * MAX_POINTS) return undefined
    const from = stroke.points.length
    stroke.points.push(...points)
    return { more: id, from, points }
  }

  /** Undoes the last stroke of this peer that is to be seen. */
  undo (): Change | undefined {
    const last = this.strokes().findLast(({ id }) => this.#isOf(id, this.#own))
    if (last === undefined) return undefined
    this.#undo(last)
    return { undo: last.id }
  }

  /** Takes what a peer says of its own strokes; says whether anything has changed by it. */
  take (author: string, change: unknown): boolean {
    if (!isObject(change)) return false
    if ('stroke' in change) {
      const stroke = strokeOf(change.stroke)
      return stroke !== undefined && this.#isOf(stroke.id, author) && this.#merge(stroke)
    }
    if (typeof change.undo === 'string') {
      const stroke = this.#strokes.get(change.undo)
      if (stroke === undefined || stroke.isUndone || !this.#isOf(stroke.id, author)) return false
      this.#undo(stroke)
      return true
    }
    const { more, from, points } = change
    if (typeof more !== 'string' || !this.#isOf(more, author) || !arePoints(points)) return false
    const stroke = this.#strokes.get(more)
    if (stroke === undefined || stroke.isUndone || typeof from !== 'number' || from % 2 !== 0) return false
    // Points that are here already came with the whole; those behind a gap will.
    const have = stroke.points.length
    if (!(from <= have) || from + points.length <= have || from + points.length > 2 * MAX_POINTS) return false
    stroke.points.push(...points.slice(have - from))
    return true
  }

  /** All of it. */
  whole (): Whole { return { strokes: [...this.#strokes.values()], cleared: this.#cleared } }

  /**
   * Takes what another peer has; says whether anything has changed by it. That the other has cleared its board is taken
   * over only where nothing goes by it: see {@link clearedElsewhere}.
   */
  add (whole: unknown): boolean {
    if (!isObject(whole) || !Array.isArray(whole.strokes)) return false
    let changed = this.clearedElsewhere(whole.cleared) === undefined && isTime(whole.cleared) && this.clear(whole.cleared)
    for (const value of whole.strokes.slice(0, MAX_STROKES)) {
      const stroke = strokeOf(value)
      if (stroke !== undefined && this.#merge(stroke)) changed = true
    }
    return changed
  }

  /** The time at which another has cleared its board, if strokes are to be seen here that would go by that. */
  clearedElsewhere (cleared: unknown): number | undefined {
    if (!isTime(cleared) || cleared <= this.#cleared) return undefined
    return this.strokes().some(({ time }) => time <= cleared) ? cleared : undefined
  }

  /**
   * Has what is drawn from now on count as later than a time that another has named; says whether that can be: a time that
   * no number of strokes explains would leave no room for later ones.
   */
  see (time: number): boolean {
    if (!isTime(time) || time > this.#time + MAX_STROKES) return false
    this.#time = Math.max(this.#time, time)
    return true
  }

  /** Clears what is not later; says whether anything has changed by it. */
  clear (time: number): boolean {
    if (!isTime(time) || time <= this.#cleared) return false
    this.#cleared = time
    this.#time = Math.max(this.#time, time)
    for (const [id, stroke] of this.#strokes) if (stroke.time <= time) this.#strokes.delete(id)
    this.#ordered = undefined
    return true
  }

  /** Two boards that are the same have the same. */
  digest (): string {
    let sum = 0
    for (const { id, points, isUndone } of this.#strokes.values()) {
      let hash = isUndone ? 1 : 2 + points.length
      for (let place = 0; place < id.length; place++) hash = Math.imul(hash ^ id.charCodeAt(place), 0x01000193)
      sum = (sum + (hash >>> 0)) >>> 0
    }
    return `${this.#cleared}-${this.#strokes.size}-${sum.toString(16)}`
  }

  #isOf (id: string, author: string): boolean { return id.startsWith(`${author}/`) }

  #set (stroke: Stroke): void {
    this.#strokes.set(stroke.id, stroke)
    this.#time = Math.max(this.#time, stroke.time)
    this.#ordered = undefined
  }

  #undo (stroke: Stroke): void {
    stroke.isUndone = true
    stroke.points = []
    this.#ordered = undefined
  }

  #merge (stroke: Stroke): boolean {
    if (stroke.time <= this.#cleared) return false
    const before = this.#strokes.get(stroke.id)
    if (before === undefined) {
      if (this.#strokes.size >= MAX_STROKES) return false
      this.#set(stroke)
      return true
    }
    if (before.isUndone) return false
    if (stroke.isUndone) {
      this.#undo(before)
      return true
    }
    if (stroke.points.length <= before.points.length) return false
    before.points = stroke.points
    return true
  }
}
