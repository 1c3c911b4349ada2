// What `require('p2pt-web')` is: the class, with all that the package exports as properties.
import type * as all from './all.js' with { 'resolution-mode': 'import' }
declare const p2pt: typeof all.P2PT & typeof all
export = p2pt
