// Takes the pictures of the pages in this folder: `tests/js/setup.sh`, `examples/web/build`, `cargo build -p p2pt-cli`, then
// `node docs/pages.mjs`. Needs chromium.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const path = name => fileURLToPath(new URL(name, import.meta.url))
const lines = child => createInterface({ input: child.stdout })[Symbol.asyncIterator]()

const program = spawn(process.env.P2PT_BINARY ?? path('../target/debug/p2pt'), ['tracker', '--listen', '127.0.0.1:0'])
const tracker = (await lines(program).next()).value.replace('listening on ', '')

async function open (page, name) {
  const child = spawn('node', [path('../tests/js/demo.mjs'), '--page', page, '--tracker', tracker, '--search', `#room=garden&name=${name}`], { stdio: ['pipe', 'pipe', 'inherit'] })
  const said = lines(child)
  await said.next()
  const act = command => child.stdin.write(JSON.stringify(command) + '\n')
  const ask = async command => {
    act(command)
    for (;;) {
      const event = JSON.parse((await said.next()).value)
      if (event.event !== 'evaluated') return event
    }
  }
  act({ resize: { width: 360, height: 640 } })
  act({ join: {} })
  const shows = (selector, text) => ask({ await: { in: selector, text } })
  await shows('#title', 'garden')
  return { act, ask, shows, end: () => child.stdin.end(), picture: name => ask({ screenshot: { path: path(`${name}.png`), width: 360, height: 640 } }) }
}

const [ann, bob] = [await open('chat', 'Ann'), await open('chat', 'Bob')]
await ann.shows('#log', 'is Bob')
const dashboard = await open('dashboard', '')
for (const [speaker, other, line] of [
  [ann, bob, 'Are the tomatoes in?'], [bob, ann, 'Since Sunday, see https://example.org/beds'], [ann, bob, 'Then I bring the basil']
]) {
  speaker.act({ say: line })
  await other.shows('#log', line)
}
await dashboard.shows('#peers li:nth-child(2)', ' ms')
await new Promise(resolve => setTimeout(resolve, 6000)) // for the chart to have a line
bob.act({ type: { in: '#line', text: 'a' } })
await ann.shows('#typing', 'Bob is writing…')
await ann.picture('pages-chat')
await dashboard.picture('pages-dashboard')

const [paper, other] = [await open('board', 'Ann'), await open('board', 'Bob')]
await paper.shows('#who', '(2)')
const circle = (x, y, r, from = 0, to = 2) => Array.from({ length: 25 }, (_, step) => {
  const angle = (from + (to - from) * step / 24) * Math.PI
  return [x + r * Math.cos(angle), y + r * 1.6 * Math.sin(angle)]
})
const draw = (page, colour, width, points) => {
  page.act({ click: `#colours input[value="${colour}"]` })
  page.act({ evaluate: `void (document.querySelector('#width').value = ${width})` })
  page.act({ drag: { in: '#canvas', points } })
}
draw(paper, '#1a7f37', 26, [[0.03, 0.9], [0.3, 0.86], [0.6, 0.9], [0.97, 0.86]])
draw(other, '#e8710a', 22, circle(0.82, 0.2, 0.07))
for (const [x, height, colour] of [[0.2, 0.5, '#c62828'], [0.42, 0.4, '#8a3ab9'], [0.64, 0.55, '#0b62c4']]) {
  draw(paper, '#1a7f37', 14, [[x, 0.88], [x + 0.01, height + 0.2], [x, height]])
  for (let petal = 0; petal < 5; petal++) draw(other, colour, 20, circle(x + 0.045 * Math.cos(petal * 1.257), height + 0.072 * Math.sin(petal * 1.257), 0.022))
}
await paper.shows('#strokes', '20 strokes')
await new Promise(resolve => setTimeout(resolve, 1000)) // for the rest of the last one
paper.act({ evaluate: 'scrollTo(0, 0)' })
await paper.picture('pages-board')
for (const page of [ann, bob, dashboard, paper, other]) page.end()
program.kill()
