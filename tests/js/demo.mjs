// The chat of examples/web/rust-chat in a headless browser, driven as its users do: by the keyboard and the pointer.
// node demo.mjs [--browser chromium|firefox] [--search QUERY] [--dark]
// Commands, as JSON Lines:
//   {"join":{"identifier":TEXT,"name":TEXT,"tracker":URL}}   fills the form, those fields that are named, and sends it
//   {"say":TEXT}                                             types a line, and sends it
//   {"click":SELECTOR}
//   {"await":{"in":SELECTOR,"text":TEXT}}     {"event":"shown","in":SELECTOR,"text":TEXT}: all text of the first such
//                                             element that shows it; waits for as long as it takes
//   {"count":SELECTOR}                        {"event":"count","count":N}
//   {"screenshot":{"path":PATH,"width":PIXELS,"height":PIXELS}}   {"event":"screenshot","path":PATH}
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { emit, readLines } from './stdio.mjs'

const { values: options } = parseArgs({
  options: {
    browser: { type: 'string', default: 'chromium' },
    search: { type: 'string', default: '' },
    dark: { type: 'boolean', default: false }
  }
})

const file = (type, path) => ({ type, read: () => readFileSync(new URL(path, import.meta.url)) })
const files = {
  '/': file('text/html', '../../examples/web/rust-chat/index.html'),
  '/pkg/p2pt_web_chat.js': file('text/javascript', 'wasm/p2pt_web_chat.js'),
  '/pkg/p2pt_web_chat_bg.wasm': file('application/wasm', 'wasm/p2pt_web_chat_bg.wasm')
}
for (const { read } of Object.values(files)) read() // says what is missing at once: tests/wasm/pages makes it

const { launch } = await import(`./${options.browser}.mjs`)
const browser = await launch({ mdns: true, files, dark: options.dark })
const page = await browser.open({}, options.search)

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

const commands = {
  async join (fields) {
    await until(() => !document.querySelector('#enter').disabled)
    for (const [id, text] of Object.entries(fields)) await type(`#${id}`, text)
    await page.keyboard.press('Enter')
  },
  async say (text) {
    await type('#line', text)
    await page.keyboard.press('Enter')
  },
  click: selector => page.click(selector),
  async await ({ in: selector, text }) {
    const shown = ({ selector, text }) =>
      [...document.querySelectorAll(selector)].filter(element => element.checkVisibility())
        .map(element => element.textContent).find(all => all.includes(text))
    emit({ event: 'shown', in: selector, text: await until(shown, { selector, text }) })
  },
  async count (selector) {
    emit({ event: 'count', count: await page.evaluate(selector => document.querySelectorAll(selector).length, selector) })
  },
  async screenshot ({ path, width, height }) {
    await (page.setViewportSize ?? page.setViewport).call(page, { width, height })
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
