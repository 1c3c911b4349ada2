// Partners and measurers in pages of one headless Chromium.
import { readdirSync, readFileSync } from 'node:fs'
import { launch } from '../chromium.mjs'
import { pageOf } from '../pages.mjs'

const MICROSECONDS_PER_TICK = 10_000 // Linux counts CPU time in hundredths of a second

/** A process and all that it has started and that still run: CPU time in ticks, by process. */
function tree (root) {
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
  return new Map([...processes].filter(([pid]) => belongs(pid)).map(([pid, { ticks }]) => [pid, ticks]))
}

const treeCpuUs = root => [...tree(root).values()].reduce((sum, ticks) => sum + ticks, 0) * MICROSECONDS_PER_TICK

/** What they have in RAM that comes from no file, in KiB: of files, other browsers that run take their part. */
function treeMemoryKb (root) {
  let kb = 0
  for (const pid of tree(root).keys()) {
    try {
      kb += Number(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').match(/^Pss_Anon: +(\d+) kB$/m)[1])
    } catch {
      // It has ended meanwhile.
    }
  }
  return kb
}

export async function openBrowser ({ mdns, bundle }) {
  const browser = await launch({ mdns, files: pageOf(`${bundle}.iife.js`) })
  const page = () => browser.open({ browserCpuUs: () => treeCpuUs(browser.pid) })
  return {
    serve: async options => (await page()).evaluate(options => window.serve(options), options),
    measure: async options => (await page()).evaluate(options => window.measure(options), options),
    /** Starts the node whose memory is measured; resolves to its id and what tells how many peers it has. */
    hub: async options => {
      const opened = await page()
      const id = await opened.evaluate(options => window.hub(options), options)
      return { id, peers: () => opened.evaluate(() => window.peers()) }
    },
    visit: async (options, hub, count) => {
      const visiting = ({ options, hub, count }) => window.visit(options, hub, count)
      return (await page()).evaluate(visiting, { options, hub, count })
    },
    memoryKb: () => treeMemoryKb(browser.pid),
    close: () => browser.close()
  }
}
