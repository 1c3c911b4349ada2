// The command line shared by peer.mjs and browser.mjs: that of `p2pt pipe`, and what tests need besides.
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tracker: { type: 'string', multiple: true, default: [] },
    'first-id': { type: 'string', default: '100000' },
    webrtc: { type: 'string', default: 'ndc' }, // peer.mjs: ndc (what p2pt ships with) or roamhq
    browser: { type: 'string', default: 'chromium' }, // browser.mjs: chromium, chromium-tabs or firefox
    bundle: { type: 'string', default: 'page' }, // browser.mjs: page, page-1.6.1 or page-published
    options: { type: 'string', default: '{}' }, // of the class of p2pt-web, as JSON
    'no-mdns': { type: 'boolean', default: false } // browser.mjs: plain addresses instead of .local names
  }
})
if (positionals.length !== 1) throw new Error('expected one identifier')

export const options = {
  identifier: positionals[0],
  trackers: values.tracker,
  firstId: Number(values['first-id']),
  webrtc: values.webrtc,
  browser: values.browser,
  bundle: values.bundle,
  options: JSON.parse(values.options),
  mdns: !values['no-mdns']
}
