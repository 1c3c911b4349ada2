// The page of session.test.mjs.
import * as p2pt from 'p2pt-web/embedded'
import { scenarios } from './session.scenarios.mjs'

const all = scenarios(p2pt)
window.run = (name, url) => all[name](url)
