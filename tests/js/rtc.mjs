// One bare peer connection at a time, for tests that handle descriptions themselves.
// node rtc.mjs [--webrtc ndc|roamhq|chromium|firefox]: in Node, or in a page of a headless browser
//
// Commands: {"offer":true}, {"answer":SDP} (the offer it answers), {"accept":SDP} (the answer to its offer), {"send":TEXT},
// {"close":true}, {"stop":true}. An offer or the answer to one takes the place of the connection before, without a close.
// Events, each with the time `at` in ms since 1970: "description" with `sdp`, complete with all candidates, "open",
// "message" with `text` or `bytes` (their number), "channel_error", "channel_closed", "state" of the connection, "error".
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { commandsFor } from './rtc-core.mjs'
import { emit, readLines } from './stdio.mjs'

const { webrtc } = parseArgs({ options: { webrtc: { type: 'string', default: 'roamhq' } } }).values

async function inNode () {
  const { RTCPeerConnection } = webrtc === 'roamhq' ? (await import('@roamhq/wrtc')).default : await import('webrtc-polyfill')
  return { command: commandsFor(RTCPeerConnection, emit), end: () => process.exit(0) }
}

/** A page that hides its addresses behind `.local` names, as pages do. */
async function inPage () {
  const { launch } = await import(`./${webrtc}.mjs`)
  const script = `
    import { commandsFor } from '/rtc-core.mjs'
    // One after the other: functions that WebDriver BiDi exposes are not called in order.
    let said = Promise.resolve()
    window.command = commandsFor(RTCPeerConnection, event => { said = said.then(() => window.emitEvent(event)) })`
  const browser = await launch({
    mdns: true,
    files: {
      '/': { type: 'text/html', read: () => `<!doctype html><link rel="icon" href="data:,"><title>rtc</title><script type="module">${script}</script>` },
      '/rtc-core.mjs': { type: 'text/javascript', read: () => readFileSync(new URL('rtc-core.mjs', import.meta.url)) }
    }
  })
  const page = await browser.open({ emitEvent: emit })
  let ending = false
  return {
    async command (name, value) {
      try {
        await page.evaluate(([name, value]) => window.command(name, value), [name, value])
      } catch (error) {
        // The page goes away under the last commands.
        if (!ending) throw error
      }
    },
    async end () {
      ending = true
      await browser.close()
      process.exit(0)
    }
  }
}

const { command, end } = await (['chromium', 'firefox'].includes(webrtc) ? inPage() : inNode())
emit({ event: 'ready', at: Date.now() })
readLines(async line => {
  const [[name, value]] = Object.entries(JSON.parse(line))
  if (name !== 'stop') return command(name, value)
  emit({ event: 'stopped', at: Date.now() })
  await end()
}, end)
