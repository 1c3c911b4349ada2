//! Endpoints that honest and hostile datagrams come to, over a network in memory.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::{
    datagram::Datagram,
    endpoint::{Counters, Endpoint, Key, MAX_SETS, OFFER_SETS},
    peer::{End, Remote, Stage},
    session::DtlsRole,
    sim::{SILENCE, Sim, WINDOW, crypto, host_base, host_candidate, socket},
    stun::{Class, Credentials, IceRole, Unverified, Writer},
};
use crate::Frame;

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(super) fn unknown_address(number: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, number], 9))
}

fn unknown(sim: &Sim, node: usize) -> u64 {
    sim.nodes[node].endpoint.counters().unknown
}

/// A datagram as it arrives at the first socket of a node.
fn arrives(sim: &mut Sim, node: usize, remote: SocketAddr, data: &[u8]) {
    arrives_at(sim, node, socket(node, 0), remote, data);
}

fn arrives_at(sim: &mut Sim, node: usize, local: SocketAddr, remote: SocketAddr, data: &[u8]) {
    sim.nodes[node].endpoint.receive(Datagram { local, remote, data: BytesMut::from(data) });
    sim.pump();
}

fn check(to: &Credentials, from: &str, role: IceRole) -> BytesMut {
    Writer::new(crypto()).request(rand::random(), from, to, (role, 1, true))
}

fn is_check(data: &[u8]) -> bool {
    Unverified::parse(data).is_some_and(|message| message.class() == Class::Request)
}

#[test]
fn frames_go_both_ways() {
    let mut sim = Sim::new(2);
    let (a, b) = sim.open(0, 1);
    sim.send(0, a, Frame::text("one"));
    sim.send(1, b, Frame::binary(vec![7; 90_000]));
    sim.send(1, b, Frame::text(""));
    sim.touch(0, a);
    sim.touch(1, b);
    sim.run(ms(500));
    assert_eq!(sim.nodes[1].received(b), [Frame::text("one")]);
    assert_eq!(sim.nodes[0].received(a), [Frame::binary(vec![7; 90_000]), Frame::text("")]);
    assert!(sim.strays.is_empty());
}

/// Checks that an attacker has overheard or made up, from addresses that are not its own.
#[test]
fn a_spoofed_source_owns_nothing() {
    let mut sim = Sim::new(3);
    let (a, b) = sim.open(0, 1);
    // What the third node hears of the second has the address of the second.
    let record = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7];
    let ours = sim.nodes[0].peer(a).credentials().clone();
    let wrong = Credentials { pwd: "x".repeat(24), ..ours.clone() };
    arrives(&mut sim, 0, unknown_address(1), &check(&wrong, "any", IceRole::Controlled(1)));
    arrives(&mut sim, 0, unknown_address(1), &record);
    assert!(sim.nodes[0].log.is_none() && sim.strays.is_empty(), "it is not answered");
    // The ufrag is right, so that it is the connection's to judge: what follows it is kept until there is proof, not read.
    sim.run(ms(10));
    assert!(sim.nodes[0].is_open(a) && sim.nodes[1].is_open(b));
    // The address of the other side stays what it is.
    sim.send(0, a, Frame::text("still there"));
    sim.touch(0, a);
    sim.run(ms(20));
    assert_eq!(sim.nodes[1].received(b), [Frame::text("still there")]);
    assert!(sim.strays.is_empty());
}

#[test]
fn datagrams_of_no_connection_are_counted_and_dropped() {
    let mut sim = Sim::new(2);
    let (a, _) = sim.open(0, 1);
    let before = unknown(&sim, 0);
    let ours = sim.nodes[0].peer(a).credentials().clone();
    let others = Credentials { ufrag: "nobodys".to_owned(), ..ours.clone() };
    let record = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7];
    let response = Writer::new(crypto()).success([255; 12], &ours, unknown_address(1));
    // A wrong ufrag; a record from an address no connection owns; a response to no connection; a TURN channel; nothing; noise.
    let wrong: [&[u8]; 6] =
        [&check(&others, "any", IceRole::Controlled(1)), &record, &response, &[64, 0, 0, 0], &[], &[255; 40]];
    for (count, data) in (1..).zip(wrong) {
        arrives(&mut sim, 0, unknown_address(1), data);
        assert_eq!(unknown(&sim, 0), before + count, "{data:?}");
    }
    assert!(sim.strays.is_empty());
}

/// Two connections between the same two addresses cannot be distinguished: the first that has proven itself keeps them.
#[test]
fn the_first_owner_of_an_address_keeps_it_until_it_is_gone() {
    let mut sim = Sim::new(2);
    let (a, b) = sim.open(0, 1);
    // A second offer from the same socket, answered from the same socket: nothing that an honest answerer does.
    let (second, _) = sim.connect(0, 1, 4);
    sim.run(ms(1000));
    assert!(!sim.nodes[0].is_open(second));
    sim.send(0, a, Frame::text("mine"));
    sim.touch(0, a);
    sim.run(ms(50));
    assert_eq!(sim.nodes[1].received(b), [Frame::text("mine")]);
    assert!(sim.nodes[0].is_open(a) && sim.nodes[1].is_open(b));
    sim.run(Duration::from_secs(60));
    assert_eq!(sim.nodes[0].endpoint.len(), 1, "the second has failed");
    sim.close(0, a);
    sim.run(ms(100));
    assert_eq!((sim.nodes[0].endpoint.len(), sim.nodes[1].endpoint.len()), (0, 0));
    // The address is free again, also for a connection of another number.
    let other = sim.offer(0, 1);
    assert_eq!(other, a);
    let (a, b) = sim.open(0, 1);
    assert!(sim.nodes[0].is_open(a) && sim.nodes[1].is_open(b));
}

/// A response finds the connection that its number names, and only that one believes it.
#[test]
fn a_response_is_believed_by_the_agent_that_asked() {
    let mut sim = Sim::new(2);
    // Responses are held back, so that each agent waits for its own.
    sim.carries = Box::new(|_, datagram| is_check(&datagram.data) && datagram.local.ip() == socket(0, 0).ip());
    sim.nodes[0].log = Some(Vec::new());
    let (one, b_one) = sim.connect(0, 1, 4);
    let (two, b_two) = sim.connect(0, 1, 5);
    sim.run(ms(100));
    let log = sim.nodes[0].log.take().expect("a log");
    let sent_by = |to: &Credentials| {
        let mut requests = log.iter().map(|(_, datagram)| datagram).filter(|datagram| is_check(&datagram.data));
        requests
            .find(|request| Unverified::parse(&request.data).and_then(|m| m.recipient()) == Some(&to.ufrag))
            .cloned()
    };
    let credentials = [b_one, b_two].map(|key| sim.nodes[1].peer(key).credentials().clone());
    let requests = [0, 1].map(|index| sent_by(&credentials[index]).expect("a check"));
    let transactions = [0, 1].map(|index| Unverified::parse(&requests[index].data).expect("ours").transaction());
    let writer = Writer::new(crypto());
    // With the number of the other connection in front the number is none of that connection's requests.
    let mut swapped = transactions[0];
    swapped[..4].copy_from_slice(&transactions[1][..4]);
    for (transaction, by) in
        [(swapped, &credentials[1]), (swapped, &credentials[0]), (transactions[0], &credentials[1])]
    {
        arrives(&mut sim, 0, requests[0].remote, &writer.success(transaction, by, requests[0].local));
        for key in [one, two] {
            assert_eq!(sim.nodes[0].peer(key).selected_kinds(), None);
        }
    }
    arrives(&mut sim, 0, requests[0].remote, &writer.success(transactions[0], &credentials[0], requests[0].local));
    assert!(sim.nodes[0].peer(one).selected_kinds().is_some());
    assert_eq!(sim.nodes[0].peer(two).selected_kinds(), None);
}

/// The sets that answers leave from are chosen as a transport chooses them.
pub(super) fn free_set(sim: &mut Sim, node: usize, remote: &Remote) -> Option<usize> {
    let now = sim.now;
    let is_free = |endpoint: &Endpoint, set| endpoint.is_free(&[socket(node, set)], remote);
    let free = (OFFER_SETS..MAX_SETS).find(|set| is_free(&sim.nodes[node].endpoint, *set));
    free.or_else(|| {
        (OFFER_SETS..MAX_SETS).find(|set| sim.nodes[node].endpoint.evict(now, &[socket(node, *set)], remote))
    })
}

#[test]
fn thirty_openings_at_once_between_two_nodes() {
    let mut sim = Sim::new(2);
    let mut pairs: Vec<(usize, Key, usize, Key)> = Vec::new();
    for number in 0..30 {
        let (from, to) = (number % 2, 1 - number % 2);
        let set = sim.nodes[from].endpoint.set_for_offer();
        let offer = sim.offer(from, set);
        let remote = sim.remote((from, offer), set, DtlsRole::Client);
        let answer_set = free_set(&mut sim, to, &remote).expect("a set");
        let answer = sim.answer(to, answer_set, remote);
        let remote = sim.remote((to, answer), answer_set, DtlsRole::Server);
        sim.accept(from, offer, remote);
        pairs.push((from, offer, to, answer));
    }
    sim.run(Duration::from_secs(3));
    let open =
        pairs.iter().filter(|(a, offer, b, answer)| sim.nodes[*a].is_open(*offer) && sim.nodes[*b].is_open(*answer));
    assert_eq!(open.count(), 30);
    for (number, (a, offer, ..)) in pairs.iter().enumerate() {
        sim.send(*a, *offer, Frame::text(number.to_string()));
        sim.touch(*a, *offer);
    }
    sim.run(ms(100));
    for (number, (.., b, answer)) in pairs.iter().enumerate() {
        assert_eq!(sim.nodes[*b].received(*answer), [Frame::text(number.to_string())]);
    }
}

#[test]
fn offers_fill_one_set_after_the_other() {
    let mut sim = Sim::new(1);
    let sets: Vec<usize> = (0..24)
        .map(|_| {
            let set = sim.nodes[0].endpoint.set_for_offer();
            sim.offer(0, set);
            set
        })
        .collect();
    let full = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3];
    assert_eq!(sets[..16], full);
    assert_eq!(sets[16..], [0, 1, 2, 3, 0, 1, 2, 3], "then evenly");
}

#[test]
fn answers_fill_one_set_after_the_other() {
    let mut sim = Sim::new(1);
    let sets: Vec<usize> = (0..24)
        .map(|number| {
            let (set, _) = sim.nodes[0].endpoint.sets_for_answer()[0];
            sim.answer(0, set, made_up(number, unknown_address(number as u8)));
            set
        })
        .collect();
    let full = [4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7];
    assert_eq!(sets[..16], full);
    assert_eq!(sets[16..], [4, 5, 6, 7, 4, 5, 6, 7], "then evenly");
    // One that is not free is followed by those that carry least.
    assert_eq!(sim.nodes[0].endpoint.sets_for_answer(), [(4, 6), (5, 6), (6, 6), (7, 6)]);
}

/// An offer made up by an attacker, at an address of its choice.
pub(super) fn made_up(number: usize, address: SocketAddr) -> Remote {
    Remote {
        credentials: Credentials { ufrag: format!("made{number}"), pwd: "p".repeat(24) },
        certificate: Sim::new(1).nodes[0].hash(),
        candidates: vec![host_candidate(address)],
        dtls_role: DtlsRole::Client,
        is_lite: false,
        shares_sockets: false,
        closes_by_reset: true,
    }
}

/// Checks that no authenticated message has asked for, as a third party's address receives them.
fn checks_to_strangers(sim: &Sim) -> Vec<(Instant, SocketAddr)> {
    sim.strays.iter().map(|(at, datagram)| (*at, datagram.remote)).collect()
}

#[test]
fn checks_of_all_openings_are_paced_together_and_each_has_its_turn() {
    let mut sim = Sim::new(1);
    let from = sim.from(0, 4);
    let begin = sim.now;
    for number in 0..50u8 {
        let mut remote = made_up(usize::from(number), unknown_address(0));
        remote.candidates = (0..32).map(|n| host_candidate(SocketAddr::from(([198, 51, number, n], 9)))).collect();
        let bases = vec![host_base(socket(0, 4))];
        sim.nodes[0].endpoint.answer(sim.now, from.clone(), bases, remote).expect("a session");
    }
    sim.pump();
    sim.run(Duration::from_secs(5));
    let checks = checks_to_strangers(&sim);
    // The first checks of sixteen answers run ahead; what comes after makes up for it.
    assert!(checks[15].0 == begin && checks[16].0 > begin, "sixteen at once, and no more");
    assert!(checks[15..].windows(2).all(|pair| pair[1].0 - pair[0].0 >= ms(5)), "closer than 5 ms");
    assert!(checks[16].0 - begin >= ms(80), "ahead of the pace after {:?}", checks[16].0 - begin);
    // In 5 s there is room for 1,000 of them: each of 50 openings has its share.
    assert!((990..=1001).contains(&checks.len()), "{}", checks.len());
    for number in 0..50 {
        let of = |address: &SocketAddr| matches!(address.ip(), std::net::IpAddr::V4(ip) if ip.octets()[2] == number);
        let own: Vec<_> = checks.iter().filter(|(_, to)| of(to)).collect();
        assert!((19..=21).contains(&own.len()), "opening {number} has {} of {}", own.len(), checks.len());
        assert!(own[0].0 - begin <= ms(250 + 80), "its first after {:?}", own[0].0 - begin);
    }
    // All of them together: as many as the deadline of finding a path has room for, and none after it.
    sim.run(Duration::from_secs(60));
    assert!(checks_to_strangers(&sim).len() <= 15 * 200 + 1);
    assert_eq!(sim.nodes[0].endpoint.len(), 0);
}

#[test]
fn an_opening_beside_a_flood_of_openings_opens() {
    let mut sim = Sim::new(2);
    for number in 0..200u8 {
        let mut remote = made_up(usize::from(number), unknown_address(0));
        remote.candidates = (0..32).map(|n| host_candidate(SocketAddr::from(([198, 51, number, n], 9)))).collect();
        sim.answer(0, 4, remote);
    }
    // The honest one has 200 others before it, each of which makes one check: a second.
    let (a, b) = sim.connect(0, 1, 4);
    assert!(sim.run_until(Duration::from_secs(2), |sim| sim.nodes[0].is_open(a) && sim.nodes[1].is_open(b)));
}

#[test]
fn a_flooding_peer_does_not_keep_others_waiting() {
    let mut sim = Sim::new(3);
    let (flooder, _) = sim.open(0, 1);
    let honest = sim.connect(0, 2, 4).0;
    sim.run(ms(500));
    assert!(sim.nodes[0].is_open(honest));
    // 2,000 records of the flooder are there before one honest datagram.
    let theirs = sim.nodes[0].peer(honest).credentials().clone();
    for _ in 0..2000 {
        let data = BytesMut::from(&[23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 0][..]);
        sim.nodes[0].endpoint.receive(Datagram { local: socket(0, 0), remote: socket(1, 4), data });
    }
    let ours = &Credentials { pwd: theirs.pwd.clone(), ufrag: theirs.ufrag.clone() };
    let from = sim.nodes[2].endpoint.keys()[0];
    let from = sim.nodes[2].peer(from).credentials().ufrag.clone();
    let data = check(ours, &from, IceRole::Controlled(1));
    sim.nodes[0].endpoint.receive(Datagram { local: socket(0, 0), remote: socket(2, 4), data });
    // Two quanta of work: the first is the flooder's, the second begins with the honest one.
    let out = sim.nodes[0].turn(sim.now, 33);
    let answered = out.iter().any(|datagram| datagram.remote == socket(2, 4) && datagram.data[..2] == [1, 1]);
    assert!(answered, "{flooder} has kept it waiting: {out:?}");
    assert_eq!(sim.nodes[0].endpoint.counters().overflowed, 0);
    // The queue of one connection is bounded.
    for _ in 0..5000 {
        let data = BytesMut::from(&[23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 0][..]);
        sim.nodes[0].endpoint.receive(Datagram { local: socket(0, 0), remote: socket(1, 4), data });
    }
    let Counters { overflowed, .. } = sim.nodes[0].endpoint.counters();
    assert_eq!(overflowed, 5000 - (2048 - (2000 - 32)));
    // In bytes too, of which some 2.9 MB are two windows; and what has had its turn makes room.
    for _ in 0..2 {
        sim.nodes[0].turn(sim.now, usize::MAX);
        let before = sim.nodes[0].endpoint.counters().overflowed;
        for _ in 0..60 {
            let data = BytesMut::from(&[23; 60_000][..]);
            sim.nodes[0].endpoint.receive(Datagram { local: socket(0, 0), remote: socket(1, 4), data });
        }
        assert_eq!(sim.nodes[0].endpoint.counters().overflowed - before, 60 - 48);
    }
}

/// Where a path is long a whole window is sent at once: in turns, so that the first datagrams do not wait for the last.
#[test]
fn a_connection_that_has_much_to_send_takes_turns() {
    let mut sim = Sim::new(3);
    sim.delay = ms(10);
    let (a, b) = sim.open(0, 1);
    let other = sim.connect(0, 2, 4).0;
    for _ in 0..20 {
        sim.send(0, a, Frame::binary(vec![1; 60_000]));
    }
    sim.touch(0, a);
    sim.run(Duration::from_secs(3));
    assert_eq!(sim.nodes[1].received(b).len(), 20, "its congestion window has grown");
    assert!(sim.nodes[0].is_open(other));
    for key in [a, other] {
        for _ in 0..5 {
            sim.send(0, key, Frame::binary(vec![2; 60_000]));
        }
        sim.nodes[0].endpoint.list(key);
    }
    let (now, mut bursts) = (sim.now, Vec::new());
    let endpoint = &mut sim.nodes[0].endpoint;
    while let Some(key) = endpoint.poll_listed() {
        let mut out = VecDeque::new();
        assert!(endpoint.transmit(now, key, &mut out));
        bursts.push((key, out.len()));
        assert!(out.len() <= 52, "{bursts:?}");
    }
    assert_eq!(bursts[0], (a, 52), "{bursts:?}");
    assert_eq!(bursts[1].0, other, "then the other one has its turn: {bursts:?}");
    assert!(bursts.iter().filter(|(key, _)| *key == a).map(|(_, sent)| sent).sum::<usize>() > 250, "{bursts:?}");
}

/// The windows that a node announces in its acknowledgements are no larger than its share of the receive buffer.
#[test]
fn the_receive_budget_is_shared_by_those_who_send() {
    const BUDGET: u32 = 400_000;
    let mut sim = Sim::new(5);
    sim.nodes[0].endpoint.set_windows(WINDOW, BUDGET);
    let senders: Vec<(usize, Key, Key)> = (1..5)
        .map(|node| {
            let offer = sim.offer(node, 0);
            let remote = sim.remote((node, offer), 0, DtlsRole::Client);
            let answer = sim.answer(0, 4, remote);
            let remote = sim.remote((0, answer), 4, DtlsRole::Server);
            sim.accept(node, offer, remote);
            (node, offer, answer)
        })
        .collect();
    // Handshakes are of large datagrams too.
    sim.run(Duration::from_secs(3));
    let window = |sim: &mut Sim, key: Key| sim.nodes[0].peer(key).session().reported_window();
    // One sends: it may have all.
    let send = |sim: &mut Sim, (node, offer, _): (usize, Key, Key)| {
        for _ in 0..20 {
            sim.send(node, offer, Frame::binary(vec![1; 10_000]));
        }
        sim.touch(node, offer);
    };
    send(&mut sim, senders[0]);
    sim.run(ms(100));
    assert_eq!(window(&mut sim, senders[0].2), BUDGET);
    // All send: a quarter each.
    for _ in 0..3 {
        senders.iter().for_each(|sender| send(&mut sim, *sender));
        sim.run(ms(100));
    }
    for sender in &senders {
        assert_eq!(window(&mut sim, sender.2), BUDGET / 4, "{sender:?}");
    }
    // And after a pause the first has all again.
    sim.run(Duration::from_secs(3));
    send(&mut sim, senders[0]);
    sim.run(ms(100));
    assert_eq!(window(&mut sim, senders[0].2), BUDGET);
    let received: BTreeSet<usize> = senders.iter().map(|(.., key)| sim.nodes[0].received(*key).len()).collect();
    assert_eq!(received, BTreeSet::from([60, 100]));
}

/// Each set has a buffer of its own; no connection has more of it than those of the set that most of them leave from.
#[test]
fn the_receive_budget_is_that_of_the_fullest_set() {
    const BUDGET: u32 = 400_000;
    let mut sim = Sim::new(7);
    sim.nodes[0].endpoint.set_windows(WINDOW, BUDGET);
    let senders: Vec<(usize, Key, Key)> = (1..7)
        .map(|node| {
            let (offer, answer) = sim.connect(node, 0, if node <= 4 { 4 } else { 5 });
            (node, offer, answer)
        })
        .collect();
    sim.run(Duration::from_secs(3));
    for _ in 0..3 {
        for (node, offer, _) in &senders {
            for _ in 0..20 {
                sim.send(*node, *offer, Frame::binary(vec![1; 10_000]));
            }
            sim.touch(*node, *offer);
        }
        sim.run(ms(100));
    }
    for (.., answer) in &senders {
        assert_eq!(sim.nodes[0].peer(*answer).session().reported_window(), BUDGET / 4);
    }
}

/// However many share it, a share keeps a connection going.
#[test]
fn no_share_is_too_small() {
    let mut sim = Sim::new(2);
    sim.nodes[1].endpoint.set_windows(WINDOW, 100);
    let (a, b) = sim.open(0, 1);
    sim.send(0, a, Frame::binary(vec![1; 90_000]));
    sim.touch(0, a);
    sim.run(Duration::from_secs(2));
    assert_eq!(sim.nodes[1].peer(b).session().reported_window(), 12_000);
    assert_eq!(sim.nodes[1].received(b).len(), 1);
}

/// The SCTP stack says nothing when its window opens again; without an update the sender would wait for a time-out.
#[test]
fn a_reader_that_catches_up_is_sent_to_at_once() {
    let mut sim = Sim::new(2);
    let (a, b) = sim.open(0, 1);
    sim.nodes[1].reads = false;
    let frames = 2 * WINDOW as usize / 60_000;
    for _ in 0..frames {
        sim.send(0, a, Frame::binary(vec![1; 60_000]));
    }
    sim.touch(0, a);
    sim.run(ms(300));
    assert!(sim.nodes[1].peer(b).session().reported_window() < 10_000, "the window is full");
    sim.nodes[1].reads = true;
    sim.touch(1, b);
    let begin = sim.now;
    assert!(sim.run_until(Duration::from_secs(30), |sim| sim.nodes[1].received(b).len() == frames));
    assert!(sim.now - begin < ms(100), "it takes {:?}", sim.now - begin);
}

/// What is read makes room, but for the part of a frame that has come and cannot be read yet.
#[test]
fn an_update_says_what_there_is_room_for() {
    const SMALL: u32 = 100_000;
    // What is read, in tenths of the window, and whether that is enough to say so.
    for (read, is_said) in [(4, false), (6, true)] {
        let mut sim = Sim::new(2);
        sim.nodes[1].endpoint.set_windows(SMALL, u32::MAX);
        let (a, b) = sim.open(0, 1);
        sim.nodes[1].reads = false;
        for tenths in [read, 9] {
            sim.send(0, a, Frame::binary(vec![1; SMALL as usize / 10 * tenths]));
        }
        sim.touch(0, a);
        sim.run(ms(300));
        let window = |sim: &mut Sim| sim.nodes[1].peer(b).session().reported_window() as usize;
        assert!(window(&mut sim) < SMALL as usize / 20, "the window is full");
        // Nothing more comes, so that what it says next is about what was read.
        sim.carries = Box::new(|_, datagram| datagram.local == socket(1, 4));
        sim.nodes[1].reads = true;
        sim.touch(1, b);
        assert_eq!(sim.nodes[1].received(b).len(), 1, "the other one is not whole");
        let tenths = (window(&mut sim) * 10).div_ceil(SMALL as usize);
        assert!(if is_said { (6..=7).contains(&tenths) } else { tenths <= 1 }, "{tenths} tenths after {read}");
    }
}

/// Junk from the other side's address is no sign of life: only what it alone could have written is.
#[test]
fn junk_keeps_nothing_alive() {
    let mut sim = Sim::new(2);
    let (a, _) = sim.open(0, 1);
    sim.run(Duration::from_secs(10));
    sim.carries = Box::new(|_, _| false);
    let received = sim.now;
    let ours = sim.nodes[0].peer(a).credentials().clone();
    let wrong = Credentials { pwd: "x".repeat(24), ..ours };
    while sim.nodes[0].end(a).is_none() && sim.now < received + Duration::from_secs(60) {
        sim.run(ms(500));
        for data in [
            &check(&wrong, "any", IceRole::Controlled(1))[..],
            &[23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4],
            &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4],
            &[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40],
        ] {
            arrives(&mut sim, 0, socket(1, 4), data);
        }
    }
    assert_eq!(sim.nodes[0].end(a), Some((Stage::Open, End::IdleTimeout)));
    assert!(sim.now - received <= SILENCE + ms(500));
    assert_eq!(sim.nodes[0].endpoint.len(), 0);
}

/// A process that stood still has received nothing, which says nothing of the other side.
#[test]
fn a_pause_of_this_process_is_no_silence() {
    let mut sim = Sim::new(2);
    let (a, b) = sim.open(0, 1);
    sim.run(Duration::from_secs(10));
    // Neither process runs for an hour.
    sim.now += Duration::from_secs(3600);
    sim.pump();
    sim.run(Duration::from_secs(10));
    assert!(sim.nodes[0].is_open(a) && sim.nodes[1].is_open(b));
    sim.send(0, a, Frame::text("awake"));
    sim.touch(0, a);
    sim.run(ms(100));
    assert_eq!(sim.nodes[1].received(b), [Frame::text("awake")]);
}

/// An idle connection sends a check and answers one each quarter of the silence timeout, and nothing besides.
#[test]
fn an_idle_connection_costs_two_datagrams_a_keepalive() {
    let mut sim = Sim::new(2);
    sim.open(0, 1);
    sim.run(Duration::from_secs(5));
    sim.nodes[0].log = Some(Vec::new());
    sim.run(Duration::from_secs(1000));
    let sent = sim.nodes[0].log.take().expect("a log").len();
    assert!((2000..2300).contains(&sent), "{sent} in 1,000 s");
}
