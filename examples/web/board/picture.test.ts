// Boards that exchange parts of their pictures in any order come to be the same. Run by `examples/web/check`.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HEIGHT, MAX_POINTS, MAX_STROKES, Picture, WIDTH, type Change } from './picture.js'

const ids = ['a', 'b', 'c'].map(letter => letter.repeat(40))

/** Numbers that follow from a seed. */
function random (seed: number): (below: number) => number {
  return below => {
    seed = Math.imul(seed ^ seed >>> 15, 0x2c1b3c6d) + 0x9e3779b9 >>> 0
    return ((seed ^ seed >>> 13) >>> 0) % below
  }
}

const seen = (picture: Picture): string => JSON.stringify(picture.strokes())

/** What travels, as it arrives. */
const sent = <T>(value: T): T => JSON.parse(JSON.stringify(value))

test('whatever is lost and in whatever order the rest comes, boards that exchange wholes are the same', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const draw = random(seed)
    const boards = ids.map(id => new Picture(id))
    const under: Array<string | undefined> = [undefined, undefined, undefined]
    // What each peer still has to take, in order for each author.
    const queues: Change[][][] = ids.map(() => ids.map(() => []))
    let cleared = 0
    for (let step = 0; step < 80; step++) {
      const at = draw(3)
      const board = boards[at]!
      let change: Change | undefined
      switch (draw(6)) {
        case 0:
          change = board.begin('#c62828', 8, draw(WIDTH), draw(HEIGHT))
          if (change !== undefined && 'stroke' in change) under[at] = change.stroke.id
          break
        case 1:
        case 2:
          if (under[at] !== undefined) change = board.extend(under[at], [draw(WIDTH), draw(HEIGHT)])
          break
        case 3: change = board.undo(); break
        case 4: {
          const [queue, author] = [draw(3), draw(3)]
          const next = queues[queue]![author]!.shift()
          if (next !== undefined) boards[queue]!.take(ids[author]!, sent(next))
          break
        }
        case 5:
          if (draw(4) === 0) board.add(sent(boards[draw(3)]!.whole()))
          // All have agreed, also where some of it has not arrived.
          if (draw(30) === 0) {
            cleared = Math.max(...boards.map(({ time }) => time))
            for (const each of boards) if (each.see(cleared)) each.clear(cleared)
          }
          break
      }
      if (change !== undefined) {
        ids.forEach((_, other) => {
          // Some of it is lost, for which there was no room.
          if (other !== at && draw(10) > 0) queues[other]![at]!.push(sent(change!))
        })
      }
    }
    for (let round = 0; round < 2; round++) for (const one of boards) for (const other of boards) one.add(sent(other.whole()))
    const [first, ...others] = boards
    for (const other of others) {
      assert.equal(seen(other), seen(first!), `seed ${seed}`)
      assert.equal(other.digest(), first!.digest(), `seed ${seed}`)
    }
    assert.ok(first!.strokes().every(({ time }) => time > cleared))
  }
})

test('a peer speaks for its own strokes alone', () => {
  const [a, b] = [new Picture(ids[0]!), new Picture(ids[1]!)]
  const begun = a.begin('#c62828', 8, 1, 1) as { stroke: { id: string } }
  assert.equal(b.take(ids[2]!, begun), false)
  assert.equal(b.take(ids[0]!, begun), true)
  assert.equal(b.take(ids[2]!, { undo: begun.stroke.id }), false)
  assert.equal(b.take(ids[2]!, { more: begun.stroke.id, from: 2, points: [5, 5] }), false)
  assert.equal(b.undo(), undefined)
  assert.equal(b.take(ids[0]!, { undo: begun.stroke.id }), true)
  assert.equal(b.count, 0)
  // What was undone stays so, whatever a whole says.
  b.add({ strokes: [begun.stroke], cleared: 0 })
  assert.equal(b.count, 0)
})

test('what is no stroke is passed over', () => {
  const picture = new Picture(ids[0]!)
  const good = { id: `${ids[1]}/1`, time: 1, colour: '#000000', width: 8, points: [1, 1], isUndone: false }
  for (const wrong of [
    { id: 'x/1' }, { id: `${ids[2]}/1` }, { time: -1 }, { time: 2 ** 50 }, { colour: 'red' }, { colour: 'url(https://a)' }, { width: 0 }, { width: 1e9 },
    { width: 1.5 }, { points: [1] }, { points: [-1, 1] }, { points: [WIDTH + 1, 1] }, { points: ['1', '1'] }, { points: null },
    { points: Array(2 * MAX_POINTS + 2).fill(1) }, { isUndone: 'no' }
  ]) assert.equal(picture.take(ids[1]!, { stroke: { ...good, ...wrong } }), false, JSON.stringify(wrong))
  for (const wrong of [null, 1, 'x', [], {}, { strokes: 1 }, { strokes: [null, 1, {}] }, { stroke: null }, { more: 1 }, { undo: 1 }]) {
    assert.equal(picture.take(ids[1]!, wrong), false)
    assert.equal(picture.add(wrong), false)
  }
  assert.equal(picture.take(ids[1]!, { stroke: good }), true)
  assert.equal(picture.take(ids[1]!, { more: good.id, from: 4, points: [1, 1] }), false, 'there is a gap')
  assert.equal(picture.take(ids[1]!, { more: good.id, from: 0, points: [1, 1] }), false, 'nothing of it is new')
})

test('a board takes no more than it holds, and is cleared elsewhere only by its own word', () => {
  const picture = new Picture(ids[0]!)
  for (let count = 0; count < MAX_STROKES; count++) assert.notEqual(picture.begin('#000000', 2, 1, 1), undefined)
  assert.equal(picture.begin('#000000', 2, 1, 1), undefined)
  assert.equal(picture.add({ strokes: [], cleared: MAX_STROKES }), false)
  assert.equal(picture.clearedElsewhere(MAX_STROKES), MAX_STROKES)
  assert.equal(picture.count, MAX_STROKES)
  assert.equal(picture.see(2 ** 39), false)
  assert.equal(picture.clear(MAX_STROKES), true)
  assert.equal(picture.count, 0)
  const late = new Picture(ids[1]!)
  assert.equal(late.add(picture.whole()), true)
  assert.equal(late.digest(), picture.digest())
})
