// Partners and measurers in pages of one headless Chromium.
import { readdirSync, readFileSync } from 'node:fs'
import { launch } from '../chromium.mjs'
import { pageOf } from '../pages.mjs'

const MICROSECONDS_PER_TICK = 10_000 // Linux counts CPU time in hundredths of a second

/** The CPU time of a process and of all that it has started and that still run. */
function treeCpuUs (root) {
  const processes = new Map()
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      processes.set(Number(pid), { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) })
    } catch {
      // It has ended meanwhile.
    }
  }
  const belongs = pid => {
    while (pid && pid !== root) pid = processes.get(pid)?.parent
    return pid === root
  }
  let ticks = 0
  for (const [pid, process] of processes) if (belongs(pid)) ticks += process.ticks
  return ticks * MICROSECONDS_PER_TICK
}

export async function openBrowser ({ mdns }) {
  const browser = await launch({ mdns, files: pageOf('bench.iife.js') })
  const page = () => browser.open({ browserCpuUs: () => treeCpuUs(browser.pid) })
  return {
    serve: async options => (await page()).evaluate(options => window.serve(options), options),
    measure: async options => (await page()).evaluate(options => window.measure(options), options),
    close: () => browser.close()
  }
}
