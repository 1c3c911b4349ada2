//! What the benchmarks share: session descriptions and frames as they are in the wild.

pub mod mesh;

use std::time::Instant;

use p2pt_proto::{Announce, InfoHash, Offer, OfferId, PeerId};

/// As many offers as an announce usually has.
pub const OFFERS: u64 = 5;

/// Some instant to count from.
#[allow(clippy::disallowed_methods, reason = "the state machines only add to it")]
pub fn base() -> Instant {
    Instant::now()
}

/// The swarm that everything is about.
pub fn swarm() -> InfoHash {
    InfoHash::of("a swarm of the benchmarks")
}

/// A peer id; half of its bytes take two in JSON, as those of random ids do.
pub fn peer(number: u64) -> PeerId {
    PeerId::from(id(b'p', number))
}

/// An offer id, like [`peer`].
pub fn offer_id(number: u64) -> OfferId {
    OfferId::from(id(b'o', number))
}

fn id(kind: u8, number: u64) -> [u8; 20] {
    // A multiplier that spreads the bits, so that no two numbers share an id.
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut id = [kind; 20];
    for part in id[1..17].chunks_exact_mut(8) {
        part.copy_from_slice(&state.to_le_bytes());
        state = state.rotate_left(23).wrapping_mul(0xd134_2543_de82_ef95);
    }
    id
}

/// A description as a browser gathers it at home, a kilobyte with four candidates.
pub fn sdp(number: u64) -> String {
    let candidates = [
        "2113937151 1 udp 2113939711 2001:db8:85a3:8d3:1319:8a2e:370:7348 51472 typ host",
        "842163049 1 udp 1677729535 198.51.100.23 60769 typ srflx raddr 0.0.0.0 rport 0",
        "1876313031 1 tcp 1518222591 192.168.178.31 9 typ host tcptype active",
        "3041273921 1 udp 41885439 203.0.113.9 49203 typ relay raddr 198.51.100.23 rport 60769",
    ];
    let mut sdp = format!(
        "v=0\r\no=- {} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\n\
         a=msid-semantic: WMS\r\nm=application 60769 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 198.51.100.23\r\n",
        4_611_731_400_430_051_336 + number,
    );
    for candidate in candidates {
        sdp += &format!("a=candidate:{candidate} generation 0 network-id 1 network-cost 10\r\n");
    }
    sdp += "a=ice-ufrag:5Kx+\r\na=ice-pwd:tJ2M7hzqb0o9rEwY1vXcUdPA\r\na=ice-options:trickle\r\n\
            a=fingerprint:sha-256 4C:5A:1E:93:77:0B:D2:68:AF:3D:C4:19:E0:5B:86:F2:\
            31:A9:0C:7E:55:D8:B4:23:9A:6F:E1:48:07:BC:92:3E\r\n\
            a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\na=p2pt:1\r\n";
    sdp
}

/// An announce of a peer with offers, of which the first has this number.
pub fn announce(peer_number: u64, first_offer: u64) -> Announce {
    let mut announce = Announce::new(swarm(), peer(peer_number));
    let offers = first_offer..first_offer + OFFERS;
    announce.numwant = Some(OFFERS as u32);
    announce.left = Some(1);
    announce.offers = Some(offers.map(|n| Offer::new(offer_id(n), sdp(n))).collect());
    announce
}
