// npm p2pt in a headless browser.
// node browser.mjs <identifier> [--browser chromium|chromium-tabs|firefox] [--bundle page|page-1.6.1|page-published]
//   [--tracker URL]… [--no-mdns] [--first-id N]
// Commands more than those of peer.mjs:
//   {"crash":true}       kills the browser, as a crash would
//   {"leave_page":true}  goes to another page
//   {"hide":MS}          puts another tab before the page for so long; chromium-tabs alone can;
//                        {"event":"hidden"}, then {"event":"visible"}
//   {"freeze":MS}        hides the page and stops its scripts for so long, as a browser does in the background; the
//                        same alone can; {"event":"frozen"}
//   {"suspend":MS}       stops the whole browser for so long, as a lid that is closed does
import { options } from './arguments.mjs'
import { pageOf } from './pages.mjs'
import { emit, readLines } from './stdio.mjs'

const { launch } = await import(`./${options.browser}.mjs`)
const browser = await launch({ mdns: options.mdns, files: pageOf(`${options.bundle}.iife.js`) })

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
    const { freeze, hide, suspend } = JSON.parse(line)
    if (freeze) return await browser.freeze(page, freeze, emit)
    if (hide) return await browser.hide(page, hide, emit)
    if (suspend) return await stopped(suspend)
    await page.evaluate(line => window.command(line), line)
  } catch (error) {
    if (!ending) throw error
  }
}
readLines(command, () => command('{"stop":true}'))
