// The list of pages: its links lead into the room that `config.json` or the address proposes.
import { byId } from './shared/page.js'

let room = new URLSearchParams(location.hash.slice(1)).get('room')
try {
  room ??= (await (await fetch('config.json')).json()).room ?? null
} catch {
  // The pages say what is wrong with it.
}
if (room !== null) {
  for (const page of ['chat', 'board', 'dashboard']) byId<HTMLAnchorElement>(`to-${page}`).hash = String(new URLSearchParams({ room }))
}
export {}
