// What the programs of node.test.mjs share: each is a process of its own, which says what happens in lines of JSON.
export const [trackerUrl, ...given] = process.argv.slice(2)
export const options = { trackers: [trackerUrl], iceServers: [] }
export const say = event => process.stdout.write(JSON.stringify(event) + '\n')
