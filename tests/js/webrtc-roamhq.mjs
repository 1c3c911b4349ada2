// What simple-peer imports from webrtc-polyfill, out of @roamhq/wrtc.
import wrtc from '@roamhq/wrtc'

export const { RTCPeerConnection, RTCSessionDescription, RTCIceCandidate } = wrtc
