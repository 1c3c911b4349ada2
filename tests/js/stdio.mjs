// JSON Lines over standard input and output.
import { createInterface } from 'node:readline'
import { lineOf } from './core.mjs'

export const emit = event => process.stdout.write(lineOf(event) + '\n')

/** Calls `command` with each line, then `end` once: when the input ends, which it also does when the parent dies. */
export function readLines (command, end) {
  createInterface({ input: process.stdin, crlfDelay: Infinity }).on('line', command).on('close', end)
}
