// The picture on a canvas.
import { HEIGHT, WIDTH, type Picture, type Stroke } from './picture.js'

const PAPER = '#ffffff'

function draw (context: CanvasRenderingContext2D, { colour, width, points }: Stroke): void {
  context.strokeStyle = context.fillStyle = colour
  context.lineWidth = width
  context.lineCap = context.lineJoin = 'round'
  context.beginPath()
  const [x = 0, y = 0] = points
  context.moveTo(x, y)
  // A line to where it begins is a dot.
  context.lineTo(x, y)
  for (let place = 2; place + 1 < points.length; place += 2) context.lineTo(points[place] ?? 0, points[place + 1] ?? 0)
  context.stroke()
}

export function paint (context: CanvasRenderingContext2D, picture: Picture, scale: number): void {
  // Whole pixels, of which the last row may be a part of the board only: a part would let what was there shine through.
  context.setTransform(1, 0, 0, 1, 0, 0)
  context.fillStyle = PAPER
  context.fillRect(0, 0, context.canvas.width, context.canvas.height)
  context.setTransform(scale, 0, 0, scale, 0, 0)
  for (const stroke of picture.strokes()) draw(context, stroke)
}

/** The picture as a PNG, in the size of the board. */
export async function png (picture: Picture): Promise<Blob> {
  const canvas = document.createElement('canvas')
  canvas.width = WIDTH
  canvas.height = HEIGHT
  const context = canvas.getContext('2d')
  if (context === null) throw new Error('there is no canvas here')
  paint(context, picture, 1)
  return await new Promise((resolve, reject) => {
    canvas.toBlob(blob => { blob === null ? reject(new Error('the picture is too large')) : resolve(blob) }, 'image/png')
  })
}

/** The cross of the pen that the keyboard moves. */
export function paintPen (context: CanvasRenderingContext2D, scale: number, x: number, y: number, width: number, isDown: boolean, colour: string): void {
  context.setTransform(1, 0, 0, 1, 0, 0)
  context.clearRect(0, 0, context.canvas.width, context.canvas.height)
  context.setTransform(scale, 0, 0, scale, 0, 0)
  const line = 2 / Math.min(scale, 1)
  for (const [stroke, more] of [['#ffffff', line], ['#000000', 0]] as const) {
    context.strokeStyle = stroke
    context.lineWidth = line + more
    context.beginPath()
    context.arc(x, y, Math.max(width / 2, 3 * line), 0, 2 * Math.PI)
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]] as const) {
      context.moveTo(x + dx * 12 * line, y + dy * 12 * line)
      context.lineTo(x + dx * 22 * line, y + dy * 22 * line)
    }
    context.stroke()
  }
  if (isDown) {
    context.fillStyle = colour
    context.beginPath()
    context.arc(x, y, Math.max(width / 2, 3 * line), 0, 2 * Math.PI)
    context.fill()
  }
}

/** Makes a canvas as large as it is shown, in pixels of the screen, and returns its scale. */
export function fit (canvas: HTMLCanvasElement): number {
  const width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio))
  const height = Math.round(width * HEIGHT / WIDTH)
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width
    canvas.height = height
  }
  return width / WIDTH
}
