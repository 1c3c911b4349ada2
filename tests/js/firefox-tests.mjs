#!/usr/bin/env node
// Runs compiled tests in a page of headless Firefox, as cargo's runner: node firefox-tests.mjs FILE.wasm [ARGUMENTS…]
// Firefox's own driver of wasm-bindgen-test-runner is geckodriver, which Debian does not have. So the runner
// ($WASM_BINDGEN_TEST_RUNNER) only serves the page here, and this script opens it. It ends well only if the page says that
// tests were run and all have passed.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { launch } from './firefox.mjs'

// As for the runner itself, in seconds; a guard against a page that hangs.
const DEADLINE_MS = 1000 * Number(process.env.WASM_BINDGEN_TEST_TIMEOUT ?? 600)
const POLL_MS = 200

const runner = spawn(process.env.WASM_BINDGEN_TEST_RUNNER ?? 'wasm-bindgen-test-runner', process.argv.slice(2), {
  env: { ...process.env, NO_HEADLESS: '1', WASM_BINDGEN_TEST_ADDRESS: '127.0.0.1:0' },
  stdio: ['ignore', 'pipe', 'inherit']
})
process.on('exit', () => runner.kill())

/** The address at which the runner serves the page. */
async function served () {
  for await (const line of createInterface({ input: runner.stdout })) {
    const url = line.match(/http:\/\/[\d.]+:\d+/)
    if (url) return url[0]
    console.log(line)
  }
  throw new Error('the runner has ended and serves no page')
}

/** Prints what the page says until it says how many tests have passed; whether all have. */
async function watched (page) {
  let printed = ''
  for (;;) {
    const text = await page.evaluate(() => document.getElementById('output')?.textContent ?? '')
    // A line may yet be completed: "test … ", and later "ok".
    const whole = text.slice(0, text.lastIndexOf('\n') + 1)
    if (whole !== printed) process.stdout.write(whole.startsWith(printed) ? whole.slice(printed.length) : whole)
    printed = whole
    const result = text.match(/^test result: (\w+)\. (\d+) passed; (\d+) failed/m)
    if (result) {
      process.stdout.write(text.slice(whole.length) + '\n')
      const [, verdict, passed, failed] = result
      return verdict === 'ok' && Number(passed) > 0 && Number(failed) === 0
    }
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
}

const late = new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error(`no result within ${DEADLINE_MS / 1000} s`)), DEADLINE_MS)
})
late.catch(() => {}) // it is raced below, and may come while the browser is closed
let browser

async function passed () {
  const url = await served()
  const blank = { type: 'text/html', read: () => '<!doctype html><link rel="icon" href="data:,"><title>tests</title>' }
  browser = await launch({ mdns: true, files: { '/': blank } })
  const page = await browser.open({})
  await page.goto(url)
  return await watched(page)
}

let code = 1
try {
  if (await Promise.race([passed(), late])) code = 0
} catch (error) {
  console.error(error.message)
}
await browser?.close()
process.exit(code)
