// A Node loader hook: @roamhq/wrtc (libwebrtc) in the place of webrtc-polyfill (libdatachannel).
const roamhq = new URL('./webrtc-roamhq.mjs', import.meta.url).href

export const resolve = async (specifier, context, next) =>
  specifier === 'webrtc-polyfill' ? { url: roamhq, shortCircuit: true } : next(specifier, context)
