// Two lines over the last minute.

const SVG = 'http://www.w3.org/2000/svg'
const WIDTH = 600
const HEIGHT = 120
/** Space for the number at the top. */
const TOP = 14

function svg (name: string, attributes: Record<string, string | number>): SVGElement {
  const element = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value))
  return element
}

export class Chart {
  readonly #length: number
  readonly #lines: Array<{ values: number[], element: SVGElement }>
  readonly #top: HTMLElement
  readonly #picture: SVGElement
  readonly #words: (value: number) => string

  /** A chart in `parent` of as many values for each line, which are named by their classes. */
  constructor (parent: HTMLElement, lines: string[], length: number, words: (value: number) => string) {
    this.#length = length
    this.#words = words
    this.#picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', class: 'chart' })
    for (const share of [0, 0.5, 1]) {
      const y = TOP + (HEIGHT - TOP - 1) * share
      this.#picture.append(svg('line', { x1: 0, x2: WIDTH, y1: y, y2: y, class: 'grid' }))
    }
    this.#lines = lines.map(name => {
      const element = svg('polyline', { class: name })
      this.#picture.append(element)
      return { values: [], element }
    })
    this.#top = document.createElement('p')
    this.#top.className = 'top'
    parent.replaceChildren(this.#picture, this.#top)
  }

  /** Adds a value to each line. */
  add (values: number[]): void {
    values.forEach((value, number) => {
      const line = this.#lines[number]
      if (line === undefined) return
      line.values.push(value)
      if (line.values.length > this.#length) line.values.shift()
    })
    const most = Math.max(100, ...this.#lines.flatMap(({ values }) => values))
    this.#top.textContent = this.#words(most)
    for (const { values, element } of this.#lines) {
      const step = WIDTH / (this.#length - 1)
      const from = WIDTH - (values.length - 1) * step
      element.setAttribute('points', values.map((value, place) =>
        `${(from + place * step).toFixed(1)},${(HEIGHT - 1 - value / most * (HEIGHT - TOP - 1)).toFixed(1)}`).join(' '))
    }
    this.#picture.setAttribute('aria-label', `Throughput of the last minute, at most ${this.#words(most)}`)
  }
}
