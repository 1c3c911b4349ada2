// The pages of examples/web in a headless browser, driven as their users do: by the keyboard, the pointer and fingers.
// node demo.mjs [--browser chromium|firefox] [--page rust-chat|chat|board|dashboard] [--url URL] [--search QUERY]
//   [--tracker URL] [--dark]
// Pages other than rust-chat are those of examples/web/dist, with the tracker in their config.json, or are fetched from
// the URL of the site where there is one.
// Commands, as JSON Lines:
//   {"join":{"identifier":TEXT,"name":TEXT,"tracker":URL}}   fills the form, those fields that are named, and sends it
//   {"say":TEXT}                                             types a line, and sends it
//   {"type":{"in":SELECTOR,"text":TEXT}}      types it in place of what is there
//   {"click":SELECTOR}
//   {"press":[KEY…]}                          presses keys, such as Shift+Tab, on whatever has the focus
//   {"focus":SELECTOR}
//   {"drag":{"in":SELECTOR,"points":[[X,Y]…],"by":"mouse|touch|pen"}}   draws, by parts of the width and height of the
//                                             element; other than with the mouse in Chromium alone
//   {"await":{"in":SELECTOR,"text":TEXT}}     {"event":"shown","in":SELECTOR,"text":TEXT}: all text of the first such
//                                             element that shows it; waits for as long as it takes
//   {"count":SELECTOR}                        {"event":"count","count":N}
//   {"value":SELECTOR}                        {"event":"value","value":TEXT}
//   {"evaluate":SCRIPT}                       {"event":"evaluated","value":JSON}
//   {"picture":SELECTOR}                      {"event":"picture","hash":TEXT}: a hash of a canvas's pixels
//   {"pixels":{"in":SELECTOR,"at":[[X,Y]…]}}  {"event":"pixels","colours":["#rrggbb"…]}
//   {"axe":true}                              {"event":"axe","violations":[TEXT…]}: what axe-core finds
//   {"resize":{"width":PIXELS,"height":PIXELS}}
//   {"screenshot":{"path":PATH,"width":PIXELS,"height":PIXELS}}   {"event":"screenshot","path":PATH}
import { readdirSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { emit, readLines } from './stdio.mjs'

const { values: options } = parseArgs({
  options: {
    browser: { type: 'string', default: 'chromium' },
    page: { type: 'string', default: 'rust-chat' },
    url: { type: 'string' },
    search: { type: 'string', default: '' },
    tracker: { type: 'string' },
    dark: { type: 'boolean', default: false }
  }
})

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json', '.wasm': 'application/wasm' }
const site = fileURLToPath(new URL('../../examples/web/', import.meta.url))
const file = path => ({ type: TYPES[extname(path)], read: () => readFileSync(path) })

/** Every file of the static build, and the index of each folder under its own name. */
function built () {
  const files = {}
  for (const entry of readdirSync(`${site}dist`, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = `${entry.parentPath}/${entry.name}`
    const name = path.slice(`${site}dist`.length)
    files[name] = file(path)
    if (entry.name === 'index.html') files[name.slice(0, -entry.name.length)] = files[name]
  }
  // No server but the tracker.
  const config = JSON.stringify({ trackers: options.tracker === undefined ? [] : [options.tracker], iceServers: [] })
  return { ...files, '/config.json': { type: 'application/json', read: () => config } }
}

const files = options.page === 'rust-chat'
  ? {
      '/': file(`${site}rust-chat/index.html`),
      '/pkg/p2pt_web_chat.js': file(fileURLToPath(new URL('wasm/p2pt_web_chat.js', import.meta.url))),
      '/pkg/p2pt_web_chat_bg.wasm': file(fileURLToPath(new URL('wasm/p2pt_web_chat_bg.wasm', import.meta.url)))
    }
  : options.url === undefined ? built() : {}
for (const { read } of Object.values(files)) read() // says what is missing at once: tests/wasm/pages and examples/web/build make it

const { launch } = await import(`./${options.browser}.mjs`)
const browser = await launch({ mdns: true, files, dark: options.dark })
const page = await browser.open({}, (options.page === 'rust-chat' ? '' : `${options.page}/`) + options.search, options.url)

const POLL_MS = 50
async function until (question, argument) {
  for (;;) {
    const answer = await page.evaluate(question, argument)
    if (answer) return answer
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
}

async function type (selector, text) {
  await page.focus(selector)
  await page.evaluate(selector => document.querySelector(selector).select(), selector)
  await page.keyboard.type(text)
}

/** Draws with a finger or a pen, which only Chromium's own protocol can. */
async function touch (points, by) {
  const client = await page.context().newCDPSession(page)
  const send = (finger, pen, [x, y]) => by === 'touch'
    ? client.send('Input.dispatchTouchEvent', { type: finger, touchPoints: finger === 'touchEnd' ? [] : [{ x, y }] })
    : client.send('Input.dispatchMouseEvent', { type: pen, x, y, button: 'left', buttons: pen === 'mouseReleased' ? 0 : 1, clickCount: 1, pointerType: 'pen' })
  await send('touchStart', 'mousePressed', points[0])
  for (const point of points.slice(1)) await send('touchMove', 'mouseMoved', point)
  await send('touchEnd', 'mouseReleased', points.at(-1))
  await client.detach()
}

const commands = {
  async join (fields) {
    await until(() => document.querySelector('#enter')?.disabled === false)
    for (const [id, text] of Object.entries(fields)) await type(`#${id}`, text)
    await page.keyboard.press('Enter')
  },
  async say (text) {
    await type('#line', text)
    await page.keyboard.press('Enter')
  },
  type: ({ in: selector, text }) => type(selector, text),
  click: selector => page.click(selector),
  focus: selector => page.focus(selector),
  async press (keys) {
    for (const combination of keys) {
      const held = combination.split('+')
      const key = held.pop()
      for (const each of held) await page.keyboard.down(each)
      await page.keyboard.press(key)
      for (const each of held) await page.keyboard.up(each)
    }
  },
  async drag ({ in: selector, points, by = 'mouse' }) {
    const places = await page.evaluate(({ selector, points }) => {
      const element = document.querySelector(selector)
      element.scrollIntoView({ block: 'center' })
      const { left, top, width, height } = element.getBoundingClientRect()
      return points.map(([x, y]) => [left + x * width, top + y * height])
    }, { selector, points })
    if (by !== 'mouse') return await touch(places, by)
    await page.mouse.move(...places[0])
    await page.mouse.down()
    for (const place of places.slice(1)) await page.mouse.move(...place)
    await page.mouse.up()
  },
  async await ({ in: selector, text }) {
    const shown = ({ selector, text }) =>
      [...document.querySelectorAll(selector)].filter(element => element.checkVisibility())
        .map(element => element.textContent).find(all => all.includes(text))
    emit({ event: 'shown', in: selector, text: await until(shown, { selector, text }) })
  },
  async count (selector) {
    emit({ event: 'count', count: await page.evaluate(selector => document.querySelectorAll(selector).length, selector) })
  },
  async value (selector) {
    emit({ event: 'value', value: await page.evaluate(selector => document.querySelector(selector).value, selector) })
  },
  async evaluate (script) {
    emit({ event: 'evaluated', value: await page.evaluate(script) ?? null })
  },
  async picture (selector) {
    const hash = await page.evaluate(selector => {
      const canvas = document.querySelector(selector)
      let hash = 0
      for (const byte of canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data) hash = Math.imul(hash ^ byte, 0x01000193)
      return `${canvas.width}x${canvas.height} ${hash >>> 0}`
    }, selector)
    emit({ event: 'picture', hash })
  },
  async pixels ({ in: selector, at }) {
    const colours = await page.evaluate(({ selector, at }) => {
      const canvas = document.querySelector(selector)
      const context = canvas.getContext('2d')
      return at.map(([x, y]) => {
        const [red, green, blue] = context.getImageData(Math.round(x * (canvas.width - 1)), Math.round(y * (canvas.height - 1)), 1, 1).data
        return '#' + [red, green, blue].map(part => part.toString(16).padStart(2, '0')).join('')
      })
    }, { selector, at })
    emit({ event: 'pixels', colours })
  },
  async axe () {
    // Evaluated by the protocol, which no content security policy concerns.
    await page.evaluate(readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8'))
    const violations = await page.evaluate(async () => (await window.axe.run()).violations
      .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('; ')}`))
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    emit({ event: 'axe', violations, overflow: wide })
  },
  async resize ({ width, height }) {
    await (page.setViewportSize ?? page.setViewport).call(page, { width, height })
  },
  async screenshot ({ path, width, height }) {
    await commands.resize({ width, height })
    await page.screenshot({ path })
    emit({ event: 'screenshot', path })
  }
}

let ending = false
let last = Promise.resolve()
async function carryOut (line) {
  try {
    for (const [name, argument] of Object.entries(JSON.parse(line))) await commands[name](argument)
  } catch (error) {
    if (!ending) throw error
  }
}
emit({ event: 'ready' })
readLines(line => { last = last.then(() => carryOut(line)) }, async () => {
  ending = true
  await browser.close()
  process.exit(0)
})
