//! One transport to which many connect.

use std::collections::BTreeSet;

use p2pt_transport::{Transport, emulator::Internet, webrtc::WebRtc};
use tokio::time::Instant;

use super::{asking, line, ms, within};

/// Answers so many offers, one after the other; says from which ports, and the longest that an answer took but for the
/// first.
async fn answer_many(internet: &Internet, node: &WebRtc, offers: usize) -> (BTreeSet<String>, std::time::Duration) {
    let (mut ports, mut longest) = (BTreeSet::new(), ms(0));
    let mut open = Vec::new();
    for number in 0..offers {
        let peer = super::transport(&internet.host(line(20)).unwrap());
        let offer = within(peer.offer()).await.unwrap();
        let begin = Instant::now();
        let answer = within(node.answer(offer.sdp())).await.unwrap();
        if number > 0 {
            longest = longest.max(begin.elapsed());
        }
        let sdp = answer.sdp().to_owned();
        let host = sdp.lines().find(|line| line.contains("typ host")).expect("a candidate");
        ports.insert(host.split(' ').nth(5).expect("a port").to_owned());
        let (offerer, answerer) = within(async { tokio::join!(offer.open(&sdp), answer.open()) }).await;
        open.push((peer, offerer.unwrap(), answerer.unwrap()));
    }
    (ports, longest)
}

/// Answers leave from further sockets, each of which servers must be asked about, and none waits for that.
#[tokio::test(start_paused = true)]
async fn answers_are_spread_and_wait_for_no_server() {
    let internet = Internet::new(1);
    let stun = internet.stun_server().unwrap();
    let node = asking(&internet.host(line(200)).unwrap(), stun);
    let (ports, longest) = answer_many(&internet, &node, 24).await;
    assert_eq!(ports.len(), 4, "{ports:?}");
    assert!(longest < ms(10), "an answer took {longest:?}");
}

#[tokio::test(start_paused = true)]
async fn answers_are_spread_without_servers_too() {
    let internet = Internet::new(1);
    for (offers, sets) in [(4, 1), (16, 4)] {
        let node = super::transport(&internet.host(line(20)).unwrap());
        let (ports, _) = answer_many(&internet, &node, offers).await;
        assert_eq!(ports.len(), sets, "a set has room for four");
    }
}
