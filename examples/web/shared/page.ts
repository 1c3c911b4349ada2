// The elements of a page. What peers say becomes text here, never markup.

/** The element with this id, which the page has. */
export function byId<T extends HTMLElement = HTMLElement> (id: string): T {
  const element = document.getElementById(id)
  if (element === null) throw new Error(`the page has no #${id}`)
  return element as T
}

type Content = Node | string

/** A new element, with attributes and what is in it. */
export function make<Name extends keyof HTMLElementTagNameMap> (
  name: Name, attributes: Record<string, string> = {}, ...content: Content[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  element.append(...content)
  return element
}

/** Sets an element's text, and touches nothing if it is the same: a live region would be read again. */
export function setText (element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

/**
 * Makes the children of a list those of `rows`, by key. Those that stay are the same elements, so that neither the focus
 * nor the reader of a screen loses its place.
 */
export function list<T> (
  parent: HTMLElement, rows: T[], key: (row: T) => string, draw: (row: T, element: HTMLElement) => void, name: 'li' | 'div' = 'li'
): void {
  const before = new Map<string, HTMLElement>()
  for (const child of parent.children) before.set((child as HTMLElement).dataset.key ?? '', child as HTMLElement)
  const after = rows.map(row => {
    const element = before.get(key(row)) ?? make(name, { 'data-key': key(row) })
    before.delete(key(row))
    draw(row, element)
    return element
  })
  for (const gone of before.values()) gone.remove()
  after.forEach((element, place) => {
    if (parent.children[place] !== element) parent.insertBefore(element, parent.children[place] ?? null)
  })
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })

/** The time of day, as an element. */
export function clock (): HTMLTimeElement {
  const now = new Date()
  return make('time', { datetime: now.toISOString() }, TIME.format(now))
}

const LINK = /https?:\/\/[^\s<>"]+/g

/** A text in which what begins with `http://` or `https://` is a link. Nothing is fetched before it is followed. */
export function linked (text: string): Content[] {
  const parts: Content[] = []
  let end = 0
  for (const { 0: match, index } of text.matchAll(LINK)) {
    // What closes a sentence is no part of a link.
    const address = match.replace(/[.,;:!?'")\]]+$/, '')
    if (!URL.canParse(address)) continue
    parts.push(text.slice(end, index), make('a', { href: address, target: '_blank', rel: 'noopener noreferrer nofollow' }, address))
    end = index + address.length
  }
  return [...parts, text.slice(end)]
}

/** Copies a text; says whether that worked. Only pages from `https` or this machine may use the browser's clipboard. */
export async function copy (text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    const area = make('textarea', { readonly: '', class: 'aloud', 'aria-hidden': 'true', tabindex: '-1' })
    const focused = document.activeElement
    area.value = text
    document.body.append(area)
    area.select()
    const copied = document.execCommand('copy')
    area.remove()
    if (focused instanceof HTMLElement) focused.focus()
    return copied
  }
}
