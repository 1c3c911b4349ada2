//! Which connections are in the way of an answer: those that may take its path, and no others.

use std::{sync::Arc, time::Duration};

use super::{
    endpoint::{From, Key, MAX_SETS, OFFER_SETS},
    endpoint_tests::{free_set, made_up, ms, unknown_address},
    peer::{End, Remote, Stage},
    session::DtlsRole,
    sim::{Sim, host_base, host_candidate, socket},
};

#[test]
fn claims_of_offers_that_lead_nowhere_give_way_and_others_do_not() {
    let mut sim = Sim::new(2);
    let victim = socket(1, 0);
    let made: Vec<Key> = (0..4)
        .map(|number| {
            let remote = made_up(number, victim);
            let set = free_set(&mut sim, 0, &remote).expect("a set");
            assert_eq!(set, OFFER_SETS + number);
            sim.run(ms(10));
            sim.answer(0, set, remote)
        })
        .collect();
    // The owner of the address comes with an honest offer: the oldest gives way.
    let offer = sim.offer(1, 0);
    let remote = sim.remote((1, offer), 0, DtlsRole::Client);
    let free = |sim: &Sim, set, remote: &Remote| sim.nodes[0].endpoint.is_free(&[socket(0, set)], remote);
    assert!((OFFER_SETS..MAX_SETS).all(|set| !free(&sim, set, &remote)));
    let set = free_set(&mut sim, 0, &remote).expect("a set");
    assert_eq!(set, OFFER_SETS, "the oldest");
    assert!(free(&sim, set, &remote), "at once");
    let answer = sim.answer(0, set, remote);
    assert_eq!(sim.nodes[0].end(made[0]), Some((Stage::Checking, End::Local)));
    let remote = sim.remote((0, answer), set, DtlsRole::Server);
    sim.accept(1, offer, remote);
    sim.run(ms(500));
    assert!(sim.nodes[0].is_open(answer) && sim.nodes[1].is_open(offer));
    // However many more an attacker makes up, what has proven itself stays.
    for number in 4..40 {
        let remote = made_up(number, victim);
        let set = free_set(&mut sim, 0, &remote).expect("a set");
        assert_ne!(set, OFFER_SETS);
        sim.answer(0, set, remote);
        sim.run(ms(10));
    }
    assert!(sim.nodes[0].is_open(answer) && sim.nodes[1].is_open(offer));
    assert_eq!(sim.nodes[0].endpoint.len(), 4);
    // An address that no claim is on is free everywhere.
    assert!((OFFER_SETS..MAX_SETS).all(|set| free(&sim, set, &made_up(99, unknown_address(1)))));
}

#[test]
fn addresses_of_others_are_claimed_by_no_connection_that_is_heard_elsewhere() {
    let mut sim = Sim::new(3);
    let named = host_candidate(socket(1, 0));
    let mut made = Vec::new();
    for number in 0..MAX_SETS - OFFER_SETS {
        // The third node opens connections, and names the second's address beside its own.
        let offer = sim.offer(2, 0);
        let mut remote = sim.remote((2, offer), 0, DtlsRole::Client);
        remote.candidates.push(named);
        let set = free_set(&mut sim, 0, &remote).expect("a set");
        assert_eq!(set, OFFER_SETS + number);
        let answer = sim.answer(0, set, remote);
        let remote = sim.remote((0, answer), set, DtlsRole::Server);
        sim.accept(2, offer, remote);
        sim.run(ms(500));
        assert!(sim.nodes[0].is_open(answer));
        made.push(answer);
    }
    let offer = sim.offer(1, 0);
    let remote = sim.remote((1, offer), 0, DtlsRole::Client);
    let set = free_set(&mut sim, 0, &remote).expect("a set");
    let answer = sim.answer(0, set, remote);
    let remote = sim.remote((0, answer), set, DtlsRole::Server);
    sim.accept(1, offer, remote);
    sim.run(ms(500));
    assert!(sim.nodes[0].is_open(answer) && sim.nodes[1].is_open(offer));
    assert!(made.iter().all(|key| sim.nodes[0].is_open(*key)), "none has to end for that");
}

/// Four open connections to one node leave no set: the next is refused rather than one of them broken.
#[test]
fn open_connections_never_give_way() {
    let mut sim = Sim::new(2);
    for set in OFFER_SETS..MAX_SETS {
        sim.connect(0, 1, set);
    }
    sim.run(ms(500));
    let offer = sim.offer(0, 0);
    let remote = sim.remote((0, offer), 0, DtlsRole::Client);
    assert_eq!(free_set(&mut sim, 1, &remote), None);
    // Where the other side hides its addresses but shares its sockets, it may be any of them.
    let hidden = Remote { candidates: Vec::new(), ..remote.clone() };
    assert!(!sim.nodes[1].endpoint.is_free(&[socket(1, 4)], &hidden));
    // A browser, which does not, is no concern of theirs.
    assert!(sim.nodes[1].endpoint.is_free(&[socket(1, 4)], &Remote { shares_sockets: false, ..hidden }));
}

/// What an offer of `node` says that names no address of it, as of a host that has none this side may send to.
fn hidden(sim: &mut Sim, node: usize, offer: Key, set: usize) -> Remote {
    Remote { candidates: Vec::new(), ..sim.remote((node, offer), set, DtlsRole::Client) }
}

/// Node 0 answers such an offer of `node`. The keys of both sides, and the set of the answer.
fn answer_hidden(sim: &mut Sim, node: usize, change: impl Fn(&Sim, &mut Remote)) -> Option<(Key, Key, usize)> {
    let offer = sim.offer(node, 0);
    let mut remote = hidden(sim, node, offer, 0);
    change(sim, &mut remote);
    let set = free_set(sim, 0, &remote)?;
    let answer = sim.answer(0, set, remote);
    let remote = sim.remote((0, answer), set, DtlsRole::Server);
    sim.accept(node, offer, remote);
    Some((offer, answer, set))
}

/// An attacker holds all the sets that answers leave from, with connections that are open. Another node that names no address
/// either is answered; a further offer of the attacker is not, since it could not be distinguished from the others.
#[test]
fn nodes_without_addresses_are_in_the_way_of_themselves_alone() {
    let mut sim = Sim::new(3);
    for set in OFFER_SETS..MAX_SETS {
        let (_, answer, from) = answer_hidden(&mut sim, 2, |_, _| {}).expect("a set");
        assert_eq!(from, set);
        sim.run(ms(500));
        assert!(sim.nodes[0].is_open(answer));
    }
    assert_eq!(answer_hidden(&mut sim, 2, |_, _| {}), None);
    let (offer, answer, _) = answer_hidden(&mut sim, 1, |_, _| {}).expect("a set");
    sim.run(ms(500));
    assert!(sim.nodes[0].is_open(answer) && sim.nodes[1].is_open(offer));
    assert_eq!(sim.nodes[0].endpoint.len(), 5, "none had to end for that");
}

/// An attacker names another node's certificate, and proves that it is there, but never completes a handshake.
#[test]
fn a_certificate_that_is_not_proven_gives_way() {
    let mut sim = Sim::new(3);
    let is_stun = |data: &[u8]| data.first().is_some_and(|first| *first < 4);
    sim.carries = Box::new(move |_, datagram| is_stun(&datagram.data) || datagram.local.ip() != socket(2, 0).ip());
    let copies = |sim: &Sim, remote: &mut Remote| remote.certificate = sim.nodes[1].hash();
    for _ in OFFER_SETS..MAX_SETS {
        let (_, answer, _) = answer_hidden(&mut sim, 2, copies).expect("a set");
        sim.run(ms(100));
        assert_eq!(sim.nodes[0].peer(answer).stage(), Stage::Handshaking);
    }
    let (offer, answer, _) = answer_hidden(&mut sim, 1, |_, _| {}).expect("a set");
    sim.run(ms(500));
    assert!(sim.nodes[0].is_open(answer) && sim.nodes[1].is_open(offer));
    // What is open does not.
    for _ in 0..8 {
        let _ = answer_hidden(&mut sim, 2, copies);
        sim.run(ms(100));
    }
    assert!(sim.nodes[0].is_open(answer) && sim.nodes[1].is_open(offer));
}

/// A node with IPv6 is offered connections by nodes without: there is no path between those of another family, and so none that
/// two connections could both take.
#[test]
fn many_nodes_of_one_family_are_answered_from_two() {
    let mut sim = Sim::new(1);
    let v4 = socket(0, OFFER_SETS);
    let v6 = std::net::SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 5004));
    let from = From { set: OFFER_SETS, sockets: Arc::from([v4, v6]) };
    for number in 0..20 {
        let remote = Remote { shares_sockets: true, ..made_up(number, unknown_address(number as u8)) };
        assert!(sim.nodes[0].endpoint.is_free(&[v4, v6], &remote), "{number}");
        let bases = vec![host_base(v4), host_base(v6)];
        sim.nodes[0].endpoint.answer(sim.now, from.clone(), bases, remote).expect("a session");
    }
    sim.run(Duration::from_secs(1));
    assert_eq!(sim.nodes[0].endpoint.len(), 20);
}

/// Opens a connection of nodes 0 and 1, and one more between the same addresses after node 1 has forgotten the first.
fn one_after_the_other(closes: bool) -> (Sim, Key, Key) {
    let mut sim = Sim::new(2);
    let (first, forgotten) = sim.connect(0, 1, OFFER_SETS);
    assert!(sim.run_until(ms(1000), |sim| sim.nodes[0].is_open(first) && sim.nodes[1].is_open(forgotten)));
    if closes {
        sim.close(0, first);
        let last = sim.now + ms(1000);
        while !sim.nodes[0].peer(first).is_leaving() {
            assert!(sim.step(last), "all is acknowledged");
        }
    }
    sim.nodes[1].endpoint.remove(forgotten);
    let (offer, answer) = sim.connect(0, 1, OFFER_SETS);
    (sim, offer, answer)
}

#[test]
fn a_connection_that_says_goodbye_gives_way_to_the_next_from_the_same_address() {
    let (mut sim, offer, answer) = one_after_the_other(true);
    assert!(sim.run_until(ms(200), |sim| sim.nodes[0].is_open(offer) && sim.nodes[1].is_open(answer)));
}

#[test]
fn a_path_whose_owner_has_ended_is_that_of_the_next_connection() {
    let (mut sim, offer, answer) = one_after_the_other(false);
    let is_open = |sim: &Sim| sim.nodes[0].is_open(offer) && sim.nodes[1].is_open(answer);
    assert!(!sim.run_until(ms(1000), is_open), "the owner lives, for all that is known");
    assert!(sim.run_until(ms(8000), is_open), "it has fallen silent");
}
