/** For a script tag: the global `P2PT` is the class, and has all else that the package exports as its properties. */
import P2PT, * as all from './embedded.js'

Object.assign(globalThis, { P2PT: Object.assign(P2PT, all) })
