//! The decisions of the malicious tracker, and what its edits are worth.

use std::collections::BTreeSet;

use p2pt_proto::{Announce, AnswerRequest, ClientMessage, InfoHash, Offer, OfferId, PeerId, TrackerMessage};
use p2pt_trust::{
    Context, Described, DescriptionError, Features, NodeIdentity, NodeKey, Nonce, SdpHash, sign_description,
    verify_description,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::text::{Place, Signer, lines_of_p2pt, stripped};
use super::{Action, Added, Edit, Guise, Name, OnAnswer, OnOffer, Plan, Relay, SocketId};

/// A description such as nodes write, as far as it matters here.
const SDP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 0A:F1\r\n\
                   m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=setup:actpass\r\n\
                   a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n";

fn swarm() -> InfoHash {
    InfoHash::of("room")
}

fn offer_id(n: u8) -> OfferId {
    OfferId::from([n; 20])
}

/// Two peers that sign, at a tracker.
struct Table {
    relay: Relay,
    rng: StdRng,
    peers: [(NodeIdentity, SocketId); 2],
}

/// The two peers.
const ALICE: usize = 0;
const BOB: usize = 1;

impl Table {
    fn new(plan: Plan) -> Self {
        let (mut relay, mut rng) = (Relay::new(plan, 7), StdRng::seed_from_u64(8));
        let mut peer = || (NodeIdentity::new(NodeKey::draw(&mut rng), &mut rng), relay.opened());
        let peers = [peer(), peer()];
        let mut table = Self { relay, rng, peers };
        table.announce(ALICE, &[]);
        table.announce(BOB, &[]);
        table.actions();
        table
    }

    fn id(&self, peer: usize) -> PeerId {
        self.peers[peer].0.peer_id()
    }

    fn sign(&mut self, peer: usize, context: &Context) -> String {
        let (features, nonce) = (Features::of([Features::AUTH]), Nonce::draw(&mut self.rng));
        let signed = sign_description(SDP, context, &self.peers[peer].0, &features, &nonce.commitment());
        signed.expect("a description to sign")
    }

    fn announce(&mut self, peer: usize, offers: &[u8]) -> Vec<String> {
        let context = Context::offer(swarm(), self.id(peer));
        let sdps: Vec<String> = offers.iter().map(|_| self.sign(peer, &context)).collect();
        let offers = offers.iter().zip(&sdps).map(|(id, sdp)| Offer::new(offer_id(*id), sdp));
        let announce = Announce::new(swarm(), self.id(peer)).offers(offers);
        self.relay.received(self.peers[peer].1, ClientMessage::Announce(announce));
        sdps
    }

    fn answer(&mut self, peer: usize, to: PeerId, id: u8, offer: &str) -> String {
        let context = Context::answer(swarm(), self.id(peer), SdpHash::of(offer), to);
        let sdp = self.sign(peer, &context);
        let answer = AnswerRequest::new(swarm(), self.id(peer), to, offer_id(id), sdp.clone());
        self.relay.received(self.peers[peer].1, ClientMessage::Answer(answer));
        sdp
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.relay.poll_action()).collect()
    }

    /// What a peer gets beside replies: under which id, with which offer id, which description.
    fn got(&mut self, peer: usize) -> Vec<(PeerId, OfferId, String)> {
        let socket = self.peers[peer].1;
        let got = self.actions().into_iter().filter_map(|action| match action {
            Action::Send(to, TrackerMessage::Offer(offer)) if to == socket => {
                Some((offer.peer_id, offer.offer_id, offer.sdp))
            }
            Action::Send(to, TrackerMessage::Answer(answer)) if to == socket => {
                Some((answer.peer_id, answer.offer_id, answer.sdp))
            }
            _ => None,
        });
        got.collect()
    }
}

#[test]
fn without_a_plan_it_is_an_honest_tracker() {
    let mut table = Table::new(Plan::default());
    let (alice, bob) = (table.id(ALICE), table.id(BOB));
    let offers = table.announce(ALICE, &[1, 2]);
    assert_eq!(table.got(BOB), [(alice, offer_id(1), offers[0].clone())]);
    let answer = table.answer(BOB, alice, 1, &offers[0]);
    assert_eq!(table.got(ALICE), [(bob, offer_id(1), answer)]);
    // An answer to what was never offered goes nowhere.
    table.answer(BOB, alice, 2, &offers[1]);
    assert_eq!(table.got(ALICE), []);
}

/// Each edit of a signed description is one that verification sees: what a test with it shows is not that nothing happened.
#[test]
fn no_edit_leaves_a_description_that_verifies_as_its_authors() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut identity = || NodeIdentity::new(NodeKey::draw(&mut rng), &mut rng);
    let (author, signer) = (identity(), Signer::new(identity()));
    let place = Place { swarm: swarm(), answers: None };
    let (context, nonce) = (place.context(author.peer_id()), Nonce::draw(&mut rng));
    let features = Features::of([Features::AUTH]);
    let signed = sign_description(SDP, &context, &author, &features, &nonce.commitment()).expect("signed");
    let mut different = BTreeSet::new();
    for edit in Edit::ALL {
        let edited = signer.edit(edit, &signed, &place, author.peer_id(), &mut rng);
        assert!(edited != signed && different.insert(edited.clone()), "{edit:?}: {edited}");
        let read = verify_description(&edited, &context);
        let is_as_meant = match edit {
            Edit::Strip | Edit::Downgrade | Edit::Seal => matches!(read, Ok(Described::Unsigned { .. })),
            Edit::TakeSignature => matches!(read, Err(DescriptionError::SignatureMissing)),
            Edit::TakeKey | Edit::TakeMark => matches!(read, Err(DescriptionError::KeyMissing)),
            Edit::SignAgain => matches!(read, Err(DescriptionError::WrongId { .. })),
            Edit::SignTwice => matches!(read, Err(DescriptionError::TwoMarks)),
            _ => matches!(read, Err(DescriptionError::BadSignature { .. })),
        };
        assert!(is_as_meant, "{edit:?}: {read:?}");
        // But for the edit it is the author's.
        let restored = match edit {
            Edit::Strip | Edit::Downgrade | Edit::TakeSignature | Edit::TakeKey | Edit::TakeMark => stripped(&edited),
            _ => continue,
        };
        assert_eq!(restored, SDP, "{edit:?}");
    }
}

#[test]
fn an_adopted_offer_is_validly_the_trackers_and_its_answer_finds_the_way_back() {
    let mut plan = Plan::offers(OnOffer::Adopt);
    plan.answers = vec![OnAnswer::Adopt];
    let mut table = Table::new(plan);
    let own = table.relay.peer_id();
    let offers = table.announce(ALICE, &[1]);
    let (shown, id, sdp) = table.got(BOB).pop().expect("an offer");
    assert_eq!((shown, id), (own, offer_id(1)));
    assert_eq!(stripped(&sdp), SDP);
    let Ok(Described::Signed(signed)) = verify_description(&sdp, &Context::offer(swarm(), own)) else {
        panic!("not signed: {sdp}")
    };
    assert_eq!(signed.key, table.relay.key());
    table.answer(BOB, own, 1, &sdp);
    let (shown, id, sdp) = table.got(ALICE).pop().expect("an answer");
    assert_eq!((shown, id), (own, offer_id(1)));
    let context = Context::answer(swarm(), own, SdpHash::of(&offers[0]), table.id(ALICE));
    assert!(matches!(verify_description(&sdp, &context), Ok(Described::Signed(_))));
}

#[test]
fn names_replays_mixtures_and_reflections_are_what_they_say() {
    let mut table = Table::new(Plan::offers(OnOffer::Relay));
    let (alice, bob) = (table.id(ALICE), table.id(BOB));
    let first = table.announce(ALICE, &[1]);
    let earlier = table.answer(BOB, alice, 1, &first[0]);
    table.actions();

    let plans = [
        (OnOffer::Replay, ALICE, BOB, alice, Some(&first[0])),
        (OnOffer::Under(Name::Recipient), ALICE, BOB, bob, None),
        (OnOffer::Under(Name::Own), ALICE, BOB, table.relay.peer_id(), None),
        (OnOffer::Reflect, ALICE, ALICE, bob, None),
    ];
    for (n, (with, from, to, shown, sdp)) in (10..).zip(plans) {
        table.relay.set_plan(Plan::offers(with));
        let offers = table.announce(from, &[n]);
        let got = table.got(to);
        assert_eq!(got.len(), 1, "{with:?}");
        assert_eq!((got[0].0, &got[0].2), (shown, sdp.unwrap_or(&offers[0])), "{with:?}");
    }
    table.relay.set_plan(Plan { answers: vec![OnAnswer::Mix, OnAnswer::Replay, OnAnswer::Reflect], ..Plan::default() });
    let offers = table.announce(ALICE, &[20, 21]);
    table.actions();
    let answer = table.answer(BOB, alice, 20, &offers[0]);
    assert_eq!(table.got(ALICE), [(bob, offer_id(21), answer)]);
    table.answer(BOB, alice, 20, &offers[0]);
    assert_eq!(table.got(ALICE), [(bob, offer_id(20), earlier)]);
    table.answer(BOB, alice, 20, &offers[0]);
    let reflected = offers[0].replace("a=setup:actpass", "a=setup:active");
    assert_eq!(table.got(ALICE), [(bob, offer_id(20), reflected)]);
}

#[test]
fn its_own_peer_stands_between_two_others_in_each_guise() {
    for guise in Guise::ALL {
        let mut table = Table::new(Plan::offers(OnOffer::Between(guise)));
        let (alice, bob, own) = (table.id(ALICE), table.id(BOB), table.relay.peer_id());
        let offers = table.announce(ALICE, &[1]);
        let far = table.actions().into_iter().find_map(|action| match action {
            Action::Offer(end) => Some(end),
            _ => None,
        });
        let far = far.expect("an offer of its own");
        table.relay.described(far, SDP);
        let (shown, id, sdp) = table.got(BOB).pop().expect("an offer");
        let takes_a_name = !guise.is_own();
        assert_eq!(shown, if takes_a_name { alice } else { own }, "{guise:?}");
        if guise == Guise::Pasted {
            assert_eq!(lines_of_p2pt(&sdp), lines_of_p2pt(&offers[0]));
        }
        let context = Context::answer(swarm(), bob, SdpHash::of(&sdp), shown);
        let answer = table.sign(BOB, &context);
        let request = AnswerRequest::new(swarm(), bob, shown, id, answer.clone());
        table.relay.received(table.peers[BOB].1, ClientMessage::Answer(request));
        let near = table.relay.partner(far).expect("a partner");
        assert_eq!(table.actions(), [Action::Open(far, answer), Action::Answer(near, offers[0].clone())]);
        table.relay.described(near, SDP);
        let (shown, id, _) = table.got(ALICE).pop().expect("an answer");
        assert_eq!((shown, id), (if takes_a_name { bob } else { own }, offer_id(1)), "{guise:?}");
        let confirms = guise.proves();
        assert_eq!([far, near].map(|end| table.relay.confirmation(end).is_some()), [confirms; 2], "{guise:?}");
        // While it stands between the two, they get nothing else of each other.
        table.announce(BOB, &[2]);
        assert_eq!(table.got(ALICE), []);
        table.relay.ended(near);
        assert_eq!(table.relay.partner(far), None);
        table.announce(BOB, &[3]);
        assert!(table.actions().iter().any(|action| matches!(action, Action::Offer(_))), "{guise:?}");
    }
}

#[test]
fn its_own_peer_takes_the_name_of_a_peer_that_announces() {
    let mut table = Table::new(Plan::default());
    table.relay.set_plan(Plan::adding([Added::ToOthers(Name::Other, Guise::Unsigned)]));
    table.announce(ALICE, &[]);
    let actions = table.actions();
    let [Action::Send(..), Action::Offer(end)] = actions[..] else { panic!("{actions:?}") };
    table.relay.described(end, SDP);
    let (shown, _, sdp) = table.got(BOB).pop().expect("an offer");
    assert_eq!((shown, sdp), (table.id(ALICE), super::text::marked(SDP, "a=p2pt:1\r\n")));
    assert_eq!(table.relay.added(), 1);
}
