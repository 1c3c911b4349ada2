// What the pages of every browser stand on: the script they run, a server on loopback for it, and a directory for what
// the browser leaves behind.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'

// Where each browser's directory lies; in one another, the paths of sockets in them would become too long.
const base = tmpdir()

/** The files of a page that runs the script `bundle`, which lies beside this file. */
export function pageOf (bundle) {
  const script = new URL(bundle, import.meta.url)
  if (!existsSync(script)) throw new Error(`${bundle} is missing: run setup.sh`)
  return {
    '/': { type: 'text/html', read: () => '<!doctype html><link rel="icon" href="data:,"><title>p2pt</title><script src="/page.js"></script>' },
    '/page.js': { type: 'text/javascript', read: () => readFileSync(script) }
  }
}

/** Serves `files`, by their paths, to pages in `browser`; resolves to the URL of the root. */
export async function servePages ({ browser, executablePath, files }) {
  if (!existsSync(executablePath)) {
    throw new Error(`no ${browser} at ${executablePath}: install it or set ${browser.toUpperCase()}`)
  }

  // Browsers leave files behind when they are killed.
  const temporary = mkdtempSync(path.join(base, `p2pt-${browser}-`))
  process.env.TMPDIR = temporary
  process.on('exit', () => rmSync(temporary, { recursive: true, force: true, maxRetries: 5 }))

  const server = http.createServer((request, response) => {
    // A page that is isolated from others has a clock of microseconds.
    response.setHeader('cross-origin-opener-policy', 'same-origin')
    response.setHeader('cross-origin-embedder-policy', 'require-corp')
    const file = files[new URL(request.url, 'http://localhost').pathname]
    if (!file) {
      response.statusCode = 404
      return response.end()
    }
    response.setHeader('content-type', file.type)
    response.end(file.read())
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${server.address().port}/`
}

/** A browser that runs, as its tests use it: what it is made of is the browser's own. */
export function running ({ pid, url, newContext, close, freeze, hide }) {
  let closed
  return {
    pid,
    freeze,
    hide,
    /** Opens a page that knows these functions, in a context of its own, so that no two share a process. */
    async open (functions, search = '', site = url) {
      const page = await (await newContext()).newPage()
      page.on('pageerror', error => console.error(`page: ${error.stack}`))
      page.on('console', message => console.error(`page: ${message.text()}`))
      for (const [name, call] of Object.entries(functions)) await page.exposeFunction(name, call)
      await page.goto(site + search)
      return page
    },
    /** Ends the browser once, and resolves for every caller when it has ended and left nothing behind. */
    close: () => (closed ??= close())
  }
}
