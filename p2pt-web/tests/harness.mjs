// What the tests of the package stand on: the `p2pt` program as tracker and as peer, a server for pages, and Chromium.
// Waits are guards: nothing here waits for a time to pass.
import { spawn } from 'node:child_process'
import { createReadStream, existsSync } from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

export const folder = path.dirname(fileURLToPath(import.meta.url))
export const dist = path.join(folder, '../dist')
/** After so long, in milliseconds, a wait has failed. */
export const GUARD = 60_000

const program = process.env.P2PT_BINARY
if (!program) throw new Error('P2PT_BINARY is to name the program p2pt: run p2pt-web/check')

/** Waits for a promise, or fails with what was waited for. */
export function within (what, promise, guard = GUARD) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain: ${what}`)), guard)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

class Lines {
  #lines = []
  #wake = () => {}

  constructor (stream) {
    createInterface(stream).on('line', line => {
      this.#lines.push(line)
      this.#wake()
    })
  }

  /** The first line, of those not taken yet, for which `take` returns something; those before it are dropped. */
  next (what, take) {
    const search = async () => {
      for (;;) {
        while (this.#lines.length > 0) {
          const taken = take(this.#lines.shift())
          if (taken !== undefined) return taken
        }
        await new Promise(resolve => { this.#wake = resolve })
      }
    }
    return within(what, search())
  }
}

function running (t, argv) {
  const child = spawn(program, argv, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise(resolve => child.once('exit', resolve))
  t.after(() => {
    child.kill()
    return ended
  })
  return { child, lines: new Lines(child.stdout) }
}

/** Starts a tracker, and returns its announce URL and what ends it. */
export async function startTracker (t) {
  const { lines, child } = running(t, ['tracker', '--listen', '127.0.0.1:0'])
  const url = await lines.next('a tracker', line => /^listening on (\S+)/.exec(line)?.[1])
  return { url, stop: () => child.kill() }
}

/** Starts `p2pt pipe`. */
export function startPipe (t, identifier, trackerUrl) {
  const { child, lines } = running(t, ['pipe', identifier, '--no-default-stun', '--tracker', trackerUrl])
  return {
    command: command => child.stdin.write(JSON.stringify(command) + '\n'),
    event: (name, is = () => true) => lines.next(`${name} at the pipe`, line => {
      const event = JSON.parse(line)
      return event.event === name && is(event) ? event : undefined
    }),
    end: () => child.stdin.end()
  }
}

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm' }

/** Serves a folder to pages, with these headers; texts for paths come before files. */
export async function serve (t, root, { headers = {}, texts = {} } = {}) {
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost')
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    if (texts[pathname] !== undefined) {
      response.setHeader('content-type', TYPES[path.extname(pathname)] ?? 'text/html')
      return response.end(texts[pathname])
    }
    const file = path.join(root, path.normalize(pathname === '/' ? '/index.html' : pathname))
    if (!existsSync(file)) {
      response.statusCode = 404
      return response.end()
    }
    response.setHeader('content-type', TYPES[path.extname(file)] ?? 'application/octet-stream')
    createReadStream(file).pipe(response)
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  return `http://127.0.0.1:${server.address().port}`
}

let browser
/** A new page at a URL. What fails in it unseen fails the test; `errors` are the texts of those. */
export async function openPage (t, url, { mayFail = false } = {}) {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
  browser ??= await chromium.launch({
    executablePath,
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-sync']
  })
  const context = await browser.newContext()
  const page = await context.newPage()
  page.setDefaultTimeout(GUARD)
  const errors = []
  page.on('pageerror', error => errors.push(String(error.stack ?? error)))
  page.on('console', message => { if (message.type() === 'error') errors.push(message.text()) })
  t.after(async () => {
    await context.close()
    if (!mayFail && errors.length > 0) throw new Error(`the page failed: ${errors.join('\n')}`)
  })
  await page.goto(url)
  return Object.assign(page, { errors })
}

/** Ends the browser, after the last test of a file. */
export async function closeBrowser () {
  await browser?.close()
}
