/** What was reported as unhandled or uncaught while something ran and all that it caused. */
export async function unhandled (act) {
  const seen = []
  const see = reason => { seen.push(reason) }
  // Those of the test runner would end the test.
  const events = ['unhandledRejection', 'uncaughtException']
  const others = events.map(event => process.listeners(event))
  for (const event of events) process.removeAllListeners(event)
  process.on('unhandledRejection', see)
  process.on('uncaughtException', see)
  try {
    await act()
    // Node reports after the microtasks of a turn.
    for (let turn = 0; turn < 3; turn++) await new Promise(resolve => setImmediate(resolve))
  } finally {
    process.off('unhandledRejection', see)
    process.off('uncaughtException', see)
    events.forEach((event, place) => { for (const other of others[place]) process.on(event, other) })
  }
  return seen
}
