// npm p2pt in Node, and what the core needs to know of Node.
import { fstatSync } from 'node:fs'
import { register } from 'node:module'
import { stack } from './arguments.mjs'

console.log = console.error // p2pt logs there, and standard output is for results

export const warn = text => console.error(text)
export const platform = {
  now: () => performance.now() * 1000,
  cpuUs: () => {
    const { user, system } = process.cpuUsage()
    return user + system
  },
  warn
}

/** Imports p2pt on the WebRTC stack that was asked for. */
export async function loadP2PT () {
  if (stack === 'addon') return (await import('../package-node.mjs')).default
  if (stack === 'roamhq') register('../webrtc-hooks.mjs', import.meta.url)
  return (await import('p2pt')).default
}

/** Calls `end` when the process that started this one and holds its input is gone. A terminal or a file does not count. */
export function endWithParent (end) {
  const input = fstatSync(0)
  if (!input.isFIFO() && !input.isSocket()) return
  process.stdin.resume()
  process.stdin.on('end', end)
  process.stdin.on('error', end)
}

/** Prints one line and ends the process, which the threads of WebRTC stacks would keep. */
export const printAndExit = result => process.stdout.write(JSON.stringify(result) + '\n', () => process.exit(0))
