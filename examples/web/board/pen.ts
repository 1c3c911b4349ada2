// What draws: fingers, pens, pointers and keys.
import { HEIGHT, WIDTH } from './picture.js'

/** What becomes of a stroke that is drawn; points are in the units of the board. */
export interface Hand {
  begin: (x: number, y: number) => void
  move: (points: number[]) => void
  end: () => void
  undo: () => void
  /** The pen of the keyboard is elsewhere, or was put down or lifted. */
  penMoved: (x: number, y: number, isDown: boolean, isWorthSaying: boolean) => void
  /** The canvas has the focus by the keyboard, or no more. */
  penShown: (isShown: boolean) => void
}

/** How far an arrow key moves the pen, and with Shift. */
const STEP = 20
const LONG_STEP = 100
/** After a pen, a hand that lies on the board draws nothing for so long. */
const PALM_MS = 3000

const within = (value: number, max: number): number => Math.min(max, Math.max(0, Math.round(value)))

/** Draws what pointers and keys do on the canvas, until the signal. */
export function follow (canvas: HTMLCanvasElement, hand: Hand, signal: AbortSignal): void {
  const listening = { signal }
  let drawing: number | undefined
  let lastPen = -PALM_MS

  const place = ({ clientX, clientY }: { clientX: number, clientY: number }): [number, number] => {
    const { left, top, width, height } = canvas.getBoundingClientRect()
    return [within((clientX - left) / width * WIDTH, WIDTH), within((clientY - top) / height * HEIGHT, HEIGHT)]
  }

  canvas.addEventListener('pointerdown', event => {
    if (event.button !== 0 || drawing !== undefined) return
    if (event.pointerType === 'pen') lastPen = event.timeStamp
    if (event.pointerType === 'touch' && event.timeStamp - lastPen < PALM_MS) return
    drawing = event.pointerId
    canvas.setPointerCapture(event.pointerId)
    hand.begin(...place(event))
  }, listening)
  canvas.addEventListener('pointermove', event => {
    if (event.pointerType === 'pen') lastPen = event.timeStamp
    if (event.pointerId !== drawing) return
    const all = event.getCoalescedEvents?.() ?? []
    hand.move((all.length > 0 ? all : [event]).flatMap(place))
  }, listening)
  const end = (event: PointerEvent): void => {
    if (event.pointerId !== drawing) return
    drawing = undefined
    hand.end()
  }
  canvas.addEventListener('pointerup', end, listening)
  canvas.addEventListener('pointercancel', end, listening)

  let x = WIDTH / 2
  let y = HEIGHT / 2
  let isDown = false
  const lift = (): void => {
    if (!isDown) return
    isDown = false
    hand.end()
    hand.penMoved(x, y, isDown, true)
  }
  canvas.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const step = event.shiftKey ? LONG_STEP : STEP
    const by = ({ ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] } as Record<string, [number, number]>)[event.key]
    if (by !== undefined) {
      x = within(x + by[0], WIDTH)
      y = within(y + by[1], HEIGHT)
      if (isDown) hand.move([x, y])
      hand.penMoved(x, y, isDown, !event.repeat)
    } else if (event.key === ' ') {
      if (event.repeat) return event.preventDefault()
      if (isDown) {
        lift()
      } else {
        isDown = true
        hand.begin(x, y)
        hand.penMoved(x, y, isDown, true)
      }
    } else if (event.key === 'u' || event.key === 'U') {
      lift()
      hand.undo()
    } else if (event.key === 'Escape') {
      lift()
    } else {
      return
    }
    event.preventDefault()
  }, listening)
  canvas.addEventListener('focus', () => { hand.penShown(canvas.matches(':focus-visible')) }, listening)
  canvas.addEventListener('blur', () => {
    lift()
    hand.penShown(false)
  }, listening)
}
