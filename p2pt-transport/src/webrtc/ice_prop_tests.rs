//! One agent, and another side that does anything.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use proptest::prelude::*;

use super::{
    candidate::{Candidate, CandidateKind, may_reach},
    datagram::Datagram,
    ice::{IceAgent, IceConfig, MAX_REMOTE_CANDIDATES, Path},
    sim::{SILENCE, crypto, epoch, host_base},
    stun::{Class, Credentials, IceRole, Unverified, Writer},
};

#[derive(Debug, Clone)]
enum Op {
    Pass(u16),
    Add { remote: u8, kind: u8, priority: u32 },
    Request { base: u8, remote: u8, priority: u32, role: u8, nominates: bool, is_authentic: bool },
    Respond { to: u8, elsewhere: bool, kind: u8, is_authentic: bool },
    Remove(u8),
    Bytes(Vec<u8>),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => any::<u16>().prop_map(Op::Pass),
        3 => (any::<u8>(), any::<u8>(), any::<u32>())
            .prop_map(|(remote, kind, priority)| Op::Add { remote, kind, priority }),
        4 => (any::<u8>(), any::<u8>(), any::<u32>(), any::<u8>(), any::<bool>(), prop::bool::weighted(0.9)).prop_map(
            |(base, remote, priority, role, nominates, is_authentic)| Op::Request {
                base, remote, priority, role, nominates, is_authentic
            }
        ),
        4 => (any::<u8>(), prop::bool::weighted(0.2), any::<u8>(), prop::bool::weighted(0.9)).prop_map(
            |(to, elsewhere, kind, is_authentic)| Op::Respond { to, elsewhere, kind, is_authentic }
        ),
        1 => any::<u8>().prop_map(Op::Remove),
        1 => prop::collection::vec(any::<u8>(), 0..64).prop_map(Op::Bytes),
    ]
}

fn base(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number % 8], 5000))
}

fn remote(number: u8) -> SocketAddr {
    // Some of them are loopback, multicast and unspecified addresses.
    match number {
        0 => SocketAddr::from(([127, 0, 0, 1], 9)),
        1 => SocketAddr::from(([224, 0, 0, 1], 9)),
        2 => SocketAddr::from(([0, 0, 0, 0], 9)),
        3 => SocketAddr::from(([10, 1, 0, 1], 0)),
        _ => SocketAddr::from(([10, 1, 0, number], 7)),
    }
}

fn kind(number: u8) -> CandidateKind {
    [CandidateKind::Host, CandidateKind::ServerReflexive, CandidateKind::Relay][usize::from(number % 3)]
}

fn role(number: u8) -> IceRole {
    let tie_breaker = if number & 2 == 0 { 0 } else { u64::MAX };
    if number & 1 == 0 { IceRole::Controlling(tie_breaker) } else { IceRole::Controlled(tie_breaker) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever comes: no panic; pairs, candidates and messages stay bounded; every timer lies ahead; nothing is sent to
    /// where nothing may be sent, and no more than 28 checks along a path on which no check was answered.
    #[test]
    fn bounds_hold_whatever_comes(
        controls: bool, lite: bool, bases in 1u8..8, ops in prop::collection::vec(op(), 0..300),
    ) {
        let config =
            IceConfig { crypto: crypto(), silence: SILENCE, path_timeout: Duration::from_secs(15), destinations: crate::webrtc::Destinations::Any, epoch: epoch() };
        let mut agent = IceAgent::new(&config, 3, controls, (0..bases).map(|n| host_base(base(n))).collect());
        let ours = agent.credentials().clone();
        let theirs = Credentials { ufrag: "them".to_owned(), pwd: "p".repeat(24) };
        let wrong = Credentials { ufrag: "them".to_owned(), pwd: "q".repeat(24) };
        let writer = Writer::new(crypto());
        let mut now = epoch();
        agent.start(now, theirs.clone(), &[], lite);
        let mut requests: Vec<Datagram> = Vec::new();
        let mut unanswered: HashMap<Path, usize> = HashMap::new();
        let mut answered = HashSet::new();
        for op in ops {
            let mut allowed = 0;
            let mut messages: Vec<Datagram> = Vec::new();
            match op {
                Op::Pass(time) => {
                    let end = now + Duration::from_millis(u64::from(time) / 8);
                    for steps in 0.. {
                        prop_assert!(steps < 2000, "it is never done");
                        let due = [agent.next_check(), agent.poll_timeout()].into_iter().flatten().min();
                        let Some(due) = due.filter(|due| *due <= end) else { break };
                        now = now.max(due);
                        if agent.next_check().is_some_and(|at| at <= now) {
                            agent.check(now);
                        }
                        agent.handle_timeout(now);
                        prop_assert!(agent.poll_timeout().is_none_or(|next| next > now), "a timer in the past");
                        allowed += 2;
                    }
                    now = end;
                }
                Op::Add { remote: number, kind: k, priority } => {
                    agent.add_remote(now, Candidate { address: remote(number), kind: kind(k), priority });
                }
                Op::Request { base: b, remote: r, priority, role: number, nominates, is_authentic } => {
                    let to = if is_authentic { &ours } else { &Credentials { pwd: wrong.pwd.clone(), ..ours.clone() } };
                    let data = writer.request(rand::random(), &theirs.ufrag, to, (role(number), priority, nominates));
                    messages.push(Datagram { local: base(b % bases), remote: remote(r.max(4)), data });
                    // The response, and a check of its own.
                    allowed += 2;
                }
                Op::Respond { to, elsewhere, kind, is_authentic } => {
                    if let Some(request) = requests.len().checked_sub(1 + usize::from(to) % 8).map(|at| &requests[at]) {
                        let transaction = Unverified::parse(&request.data).expect("ours").transaction();
                        let by = if is_authentic { &theirs } else { &wrong };
                        let data = match kind % 3 {
                            0 => writer.role_conflict(transaction, by),
                            _ => writer.success(transaction, by, request.local),
                        };
                        let remote = if elsewhere { remote(200) } else { request.remote };
                        if is_authentic && !elsewhere {
                            answered.insert(Path { local: request.local, remote });
                        }
                        messages.push(Datagram { local: request.local, remote, data });
                    }
                    // The request again in another role, a nomination.
                    allowed += 2;
                }
                Op::Remove(number) => agent.remove_base(base(number % bases)),
                Op::Bytes(bytes) => messages.push(Datagram {
                    local: base(0),
                    remote: remote(9),
                    data: bytes[..].into(),
                }),
            }
            for message in messages {
                let path = Path { local: message.local, remote: message.remote };
                if let Some(read) = Unverified::parse(&message.data) {
                    agent.handle_message(now, path, read);
                }
            }
            let mut sent = 0;
            while let Some(datagram) = agent.poll_transmit() {
                sent += 1;
                prop_assert!(may_reach(datagram.local, datagram.remote), "{datagram:?}");
                if Unverified::parse(&datagram.data).expect("a message").class() == Class::Request {
                    let path = Path { local: datagram.local, remote: datagram.remote };
                    let count = unanswered.entry(path).or_default();
                    *count += 1;
                    requests.push(datagram);
                }
            }
            prop_assert!(sent <= allowed, "{sent} messages where {allowed} are allowed");
            while agent.poll_event().is_some() {}
            let shown = format!("{agent:?}");
            let count = |what| shown.matches(what).count();
            prop_assert!(count("Pair {") <= 100, "{}", shown);
            prop_assert!(count("Candidate {") <= MAX_REMOTE_CANDIDATES, "{}", shown);
            let most = unanswered.iter().filter(|(path, _)| !answered.contains(*path)).map(|(_, count)| *count).max();
            prop_assert!(most.is_none_or(|most| most <= 28), "{most:?} checks to one that never answers");
        }
    }
}
