//! The frames of the tracker protocol, beside those of aquatic's crate, which reads them with simd-json.
//!
//! Both are given the same frames, and data that say the same.

use aquatic_ws_protocol::{common as theirs, incoming, outgoing};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use p2pt_benches::{OFFERS, announce, offer_id, peer, sdp, swarm};
use p2pt_proto::{AnnounceReply, AnswerRequest, ClientMessage, ForwardedAnswer, ForwardedOffer, TrackerMessage};

fn main() {
    divan::main();
}

/// What a peer says.
#[derive(Debug, Clone, Copy)]
enum Request {
    AnnounceWith5Offers,
    Announce,
    Answer,
}

/// What a tracker says.
#[derive(Debug, Clone, Copy)]
enum Reply {
    Announced,
    Offer,
    Answer,
}

const REQUESTS: [Request; 3] = [Request::AnnounceWith5Offers, Request::Announce, Request::Answer];
const REPLIES: [Reply; 3] = [Reply::Announced, Reply::Offer, Reply::Answer];

impl Request {
    fn ours(self) -> ClientMessage {
        match self {
            Self::AnnounceWith5Offers => ClientMessage::Announce(announce(1, 1)),
            Self::Announce => {
                let mut announce = announce(1, 1);
                announce.offers = None;
                ClientMessage::Announce(announce)
            }
            Self::Answer => ClientMessage::Answer(AnswerRequest::new(swarm(), peer(1), peer(2), offer_id(1), sdp(1))),
        }
    }

    fn theirs(self) -> incoming::InMessage {
        let offer = |n| incoming::AnnounceRequestOffer {
            offer: theirs::RtcOffer { t: theirs::RtcOfferType::Offer, sdp: sdp(n) },
            offer_id: theirs::OfferId(*offer_id(n).as_bytes()),
        };
        let mut request = incoming::AnnounceRequest {
            action: theirs::AnnounceAction::Announce,
            info_hash: theirs::InfoHash(*swarm().as_bytes()),
            peer_id: theirs::PeerId(*peer(1).as_bytes()),
            bytes_left: None,
            event: None,
            offers: None,
            numwant: None,
            answer: None,
            answer_to_peer_id: None,
            answer_offer_id: None,
        };
        match self {
            Self::AnnounceWith5Offers | Self::Announce => {
                request.bytes_left = Some(1);
                request.numwant = Some(OFFERS as usize);
                if matches!(self, Self::AnnounceWith5Offers) {
                    request.offers = Some((1..=OFFERS).map(offer).collect());
                }
            }
            Self::Answer => {
                request.answer = Some(theirs::RtcAnswer { t: theirs::RtcAnswerType::Answer, sdp: sdp(1) });
                request.answer_to_peer_id = Some(theirs::PeerId(*peer(2).as_bytes()));
                request.answer_offer_id = Some(theirs::OfferId(*offer_id(1).as_bytes()));
            }
        }
        incoming::InMessage::AnnounceRequest(request)
    }
}

impl Reply {
    fn ours(self) -> TrackerMessage {
        let (info_hash, peer_id, offer_id) = (swarm(), peer(1), offer_id(1));
        match self {
            Self::Announced => {
                let mut reply = AnnounceReply::new(info_hash);
                reply.interval = Some(std::time::Duration::from_secs(120));
                reply.complete = Some(3);
                reply.incomplete = Some(40);
                TrackerMessage::Announced(reply)
            }
            Self::Offer => TrackerMessage::Offer(ForwardedOffer::new(info_hash, peer_id, offer_id, sdp(1))),
            Self::Answer => TrackerMessage::Answer(ForwardedAnswer::new(info_hash, peer_id, offer_id, sdp(1))),
        }
    }

    fn theirs(self) -> outgoing::OutMessage {
        let (action, info_hash) = (theirs::AnnounceAction::Announce, theirs::InfoHash(*swarm().as_bytes()));
        let (peer_id, offer_id) = (theirs::PeerId(*peer(1).as_bytes()), theirs::OfferId(*offer_id(1).as_bytes()));
        match self {
            Self::Announced => outgoing::OutMessage::AnnounceResponse(outgoing::AnnounceResponse {
                action,
                info_hash,
                complete: 3,
                incomplete: 40,
                announce_interval: 120,
            }),
            Self::Offer => outgoing::OutMessage::OfferOutMessage(outgoing::OfferOutMessage {
                action,
                peer_id,
                info_hash,
                offer: theirs::RtcOffer { t: theirs::RtcOfferType::Offer, sdp: sdp(1) },
                offer_id,
            }),
            Self::Answer => outgoing::OutMessage::AnswerOutMessage(outgoing::AnswerOutMessage {
                action,
                peer_id,
                info_hash,
                answer: theirs::RtcAnswer { t: theirs::RtcAnswerType::Answer, sdp: sdp(1) },
                offer_id,
            }),
        }
    }
}

/// Measures reading a frame, which is made anew each time: theirs is read in place, as the socket's own memory.
fn read<T>(bencher: Bencher<'_, '_>, frame: &str, read: impl Fn(&mut [u8]) -> T) {
    let bencher = bencher.counter(BytesCount::of_str(frame)).with_inputs(|| frame.as_bytes().to_vec());
    bencher.bench_local_refs(|frame| drop(black_box(read(frame))));
}

/// Measures writing a frame.
fn write(bencher: Bencher<'_, '_>, write: impl Fn() -> String) {
    bencher.counter(BytesCount::of_str(&write())).bench_local(|| drop(black_box(write())));
}

/// By a tracker.
#[divan::bench_group]
mod requests_read {
    use super::*;

    #[divan::bench(args = REQUESTS)]
    fn p2pt(bencher: Bencher<'_, '_>, request: Request) {
        read(bencher, &request.ours().encode(), |frame| ClientMessage::decode(frame).expect("a frame"));
    }

    #[divan::bench(args = REQUESTS)]
    fn aquatic(bencher: Bencher<'_, '_>, request: Request) {
        let parse = |frame: &mut [u8]| simd_json::serde::from_slice::<incoming::InMessage>(frame).expect("a frame");
        read(bencher, &request.ours().encode(), parse);
    }
}

/// By a peer.
#[divan::bench_group]
mod requests_written {
    use super::*;

    #[divan::bench(args = REQUESTS)]
    fn p2pt(bencher: Bencher<'_, '_>, request: Request) {
        let message = request.ours();
        write(bencher, || message.encode());
    }

    #[divan::bench(args = REQUESTS)]
    fn aquatic(bencher: Bencher<'_, '_>, request: Request) {
        let message = request.theirs();
        write(bencher, || serde_json::to_string(&message).expect("JSON"));
    }
}

/// By a peer.
#[divan::bench_group]
mod replies_read {
    use super::*;

    #[divan::bench(args = REPLIES)]
    fn p2pt(bencher: Bencher<'_, '_>, reply: Reply) {
        read(bencher, &reply.ours().encode(), |frame| TrackerMessage::decode(frame).expect("a frame"));
    }

    #[divan::bench(args = REPLIES)]
    fn aquatic(bencher: Bencher<'_, '_>, reply: Reply) {
        let parse = |frame: &mut [u8]| simd_json::serde::from_slice::<outgoing::OutMessage>(frame).expect("a frame");
        read(bencher, &reply.ours().encode(), parse);
    }
}

/// By a tracker.
#[divan::bench_group]
mod replies_written {
    use super::*;

    #[divan::bench(args = REPLIES)]
    fn p2pt(bencher: Bencher<'_, '_>, reply: Reply) {
        let message = reply.ours();
        write(bencher, || message.encode());
    }

    #[divan::bench(args = REPLIES)]
    fn aquatic(bencher: Bencher<'_, '_>, reply: Reply) {
        let message = reply.theirs();
        write(bencher, || serde_json::to_string(&message).expect("JSON"));
    }
}
