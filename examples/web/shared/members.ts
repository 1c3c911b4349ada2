// Who is here. A name is a claim, which everybody can make; ids tell peers apart.

const MAX_NAME = 30

/** The beginning of an id, which is enough for people. */
export const short = (id: string): string => id.slice(0, 8)

/** A name on one line, and not too long: a peer names itself, and must not fill the screen by that. */
export const shortName = (name: string): string => [...name.split(/\s+/).filter(Boolean).join(' ')].slice(0, MAX_NAME).join('')

/** The class of the colour in which a peer is shown. */
export const colour = (id: string): string => `colour-${parseInt(id.slice(-2), 16) % 6}`

/** The name in a message that says nothing else. */
export function nameIn (value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const [only, ...more] = Object.entries(value)
  return only?.[0] === 'name' && more.length === 0 && typeof only[1] === 'string' ? only[1] : undefined
}

export class Members {
  readonly #names = new Map<string, string>()
  readonly #own: string

  constructor (own: string) {
    this.#own = own
  }

  /** Notes a name; says whether it is another than before. */
  rename (id: string, name: string): boolean {
    const short = shortName(name)
    if (short === '' || this.#names.get(id) === short) return false
    this.#names.set(id, short)
    return true
  }

  forget (id: string): void { this.#names.delete(id) }

  /** How a peer is shown: by its name, and by its id where there is none or where another has the same. */
  shown (id: string): string {
    const name = this.#names.get(id)
    if (name === undefined) return short(id)
    const isShared = name === this.#own || [...this.#names].some(([other, same]) => other !== id && same === name)
    return isShared ? `${name} (${short(id)})` : name
  }
}
