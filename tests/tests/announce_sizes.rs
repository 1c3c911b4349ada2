//! How many signed and sealed offers an announce holds: offers of native nodes as the endpoint makes them, and offers of
//! browsers as they were recorded.

use p2pt::{InfoHash, PeerId};
use p2pt_proto::{Announce, ClientMessage, Offer};
use p2pt_transport::emulator::{HostConfig, Internet, NatBehavior, NatConfig, Path};
use p2pt_transport::webrtc::{WebRtc, WebRtcConfig};
use p2pt_transport::{IceServer, Transport as _};
use p2pt_trust::{
    Context, Described, Features, NodeIdentity, NodeKey, Nonce, RoomLink, open, seal, sign_description,
    verify_description,
};

/// What the client of trackers keeps announces below: aquatic closes the socket at 16 KiB.
const ANNOUNCE_BYTES: usize = 15 * 1024;

/// An offer of Chromium as simple-peer sends it, of five candidates, and one of Firefox, of four.
const CHROMIUM: &str = include_str!("../../fuzz/corpus/sdp/34be2f68dbac");
const FIREFOX: &str = include_str!("../../fuzz/corpus/sdp/9340ded41279");

/// A node of a room with a secret.
struct Author {
    identity: NodeIdentity,
    room: RoomLink,
    swarm: InfoHash,
}

impl Author {
    fn new() -> Self {
        let mut rng = rand::rng();
        let room = RoomLink::draw("room", &mut rng);
        let swarm = InfoHash::of(&room.secret().hidden_identifier());
        Self { identity: NodeIdentity::new(NodeKey::draw(&mut rng), &mut rng), room, swarm }
    }

    fn peer_id(&self) -> PeerId {
        self.identity.peer_id()
    }

    fn place(&self) -> Context {
        Context::offer(self.swarm, self.peer_id())
    }

    fn signed(&self, sdp: &str) -> String {
        let commitment = Nonce::draw(&mut rand::rng()).commitment();
        sign_description(sdp, &self.place(), &self.identity, &Features::of([Features::AUTH]), &commitment)
            .expect("it can be signed")
    }

    /// Signed, sealed, and read again, so that what is counted is what a member of the room understands.
    fn sealed(&self, sdp: &str) -> String {
        let seal_key = self.room.secret().seal_key();
        let sealed = seal(&self.signed(sdp), &self.place(), &seal_key, &mut rand::rng()).expect("it can be sealed");
        let opened = open(&sealed, &self.place(), &seal_key).expect("it opens");
        let Ok(Described::Signed(signed)) = verify_description(&opened, &self.place()) else { panic!("unsigned") };
        assert_eq!(signed.key, self.identity.public_key());
        sealed
    }

    /// The bytes of an announce with these descriptions. The info hash and the peer id are of bytes that take six each in its
    /// JSON, which is the most; ids of offers take one each, as a node draws them.
    fn announce(&self, offers: &[String]) -> usize {
        let offer = |(number, sdp): (usize, &String)| {
            Offer::new([b'A' + u8::try_from(number).expect("few"); 20].into(), sdp.clone())
        };
        let announce = Announce::new(InfoHash::from([1; 20]), PeerId::from([2; 20]))
            .numwant(10)
            .offers(offers.iter().enumerate().map(offer));
        ClientMessage::Announce(announce).encode().len()
    }

    /// How many of them an announce holds.
    fn fitting(&self, offer: &str) -> usize {
        let offers = vec![offer.to_owned(); 30];
        (1..=offers.len()).take_while(|count| self.announce(&offers[..*count]) <= ANNOUNCE_BYTES).last().unwrap_or(0)
    }

    /// What docs/trust.md has.
    fn report(&self, sdp: &str) {
        let (signed, sealed) = (self.signed(sdp), self.sealed(sdp));
        let (bytes, fit) =
            ([sdp.len(), signed.len(), sealed.len()], [sdp, &signed, &sealed].map(|sdp| self.fitting(sdp)));
        println!("{} candidates: {bytes:?} bytes, of which {fit:?} fit (plain, signed, sealed)", candidates(sdp));
    }
}

/// The addresses of a native node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addresses {
    /// One of a local network, and that of its NAT.
    Ipv4,
    /// One of IPv6 besides.
    DualStack,
    /// Those of a second network besides, of both families.
    TwoNetworks,
}

async fn native_offers(count: usize, addresses: Addresses) -> Vec<String> {
    let internet = Internet::new(1);
    let nat = internet.nat(NatConfig::new(NatBehavior::EndpointIndependent, NatBehavior::EndpointIndependent));
    let config = HostConfig::default().ipv6(addresses != Addresses::Ipv4);
    let host = nat.expect("an address").host(config).expect("an address");
    if addresses == Addresses::TwoNetworks {
        host.join_internet(Path::default()).expect("an address");
    }
    let server = IceServer::stun(format!("stun:{}", internet.stun_server().expect("an address")));
    let config = WebRtcConfig::default().ice_servers([server]);
    let transport = WebRtc::with_network(config, host.network()).expect("a certificate");
    let mut offers = Vec::new();
    for _ in 0..count {
        offers.push(transport.offer().await.expect("an offer").sdp().to_owned());
    }
    transport.shutdown().await;
    offers
}

fn candidates(sdp: &str) -> usize {
    sdp.matches("a=candidate:").count()
}

#[tokio::test(start_paused = true)]
async fn ten_native_offers_of_a_room_fit_into_an_announce() {
    let author = Author::new();
    for (addresses, its_candidates) in [(Addresses::Ipv4, 2), (Addresses::DualStack, 3), (Addresses::TwoNetworks, 5)] {
        let offers = native_offers(10, addresses).await;
        assert!(offers.iter().all(|sdp| candidates(sdp) == its_candidates), "{offers:#?}");
        let sealed: Vec<String> = offers.iter().map(|sdp| author.sealed(sdp)).collect();
        let bytes = author.announce(&sealed);
        assert!(bytes <= ANNOUNCE_BYTES, "ten take {bytes} bytes");
        author.report(&offers[0]);
    }
}

#[test]
fn six_offers_of_a_browser_fit_into_an_announce() {
    let author = Author::new();
    for (sdp, its_candidates) in [(CHROMIUM, 5), (FIREFOX, 4)] {
        assert_eq!(candidates(sdp), its_candidates);
        let fitting = author.fitting(&author.sealed(sdp));
        assert!(fitting >= 6, "{fitting} fit");
        author.report(sdp);
    }
}
