// npm p2pt in a headless browser.
// node browser.mjs <identifier> [--browser chromium|firefox] [--bundle page|page-1.6.1|page-published]
//   [--tracker URL]… [--no-mdns] [--first-id N]
// Commands more than those of peer.mjs:
//   {"crash":true}       kills the browser, as a crash would
//   {"leave_page":true}  goes to another page
//   {"freeze":MS}        stops the page's scripts for so long, as a browser does in the background; Chromium alone can
//   {"suspend":MS}       stops the whole browser for so long, as a lid that is closed does
import { options } from './arguments.mjs'
import { readLines } from './stdio.mjs'

const { launch } = await import(`./${options.browser}.mjs`)
const browser = await launch({ mdns: options.mdns, bundle: `${options.bundle}.iife.js` })

let ending = false
async function end () {
  ending = true
  await browser.close()
  process.exit(0)
}
const page = await browser.open({
  emitLine: line => { process.stdout.write(line + '\n') },
  stopped: () => { setImmediate(end) }
})
await page.evaluate(options => window.start(options), options)

async function stopped (milliseconds) {
  process.kill(-browser.pid, 'SIGSTOP')
  await new Promise(resolve => setTimeout(resolve, milliseconds))
  process.kill(-browser.pid, 'SIGCONT')
}

async function command (line) {
  if (ending) return
  if (line === '{"crash":true}') {
    process.kill(-browser.pid, 'SIGKILL')
    process.exit(1)
  }
  try {
    if (line === '{"leave_page":true}') return await page.goto('about:blank')
    const { freeze, suspend } = JSON.parse(line)
    if (freeze) return await browser.freeze(page, freeze)
    if (suspend) return await stopped(suspend)
    await page.evaluate(line => window.command(line), line)
  } catch (error) {
    if (!ending) throw error
  }
}
readLines(command, () => command('{"stop":true}'))
