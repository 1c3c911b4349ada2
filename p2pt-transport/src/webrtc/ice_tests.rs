//! Two agents and what comes between them, under virtual time.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration, time::Instant};

use super::{
    candidate::{Candidate, CandidateKind},
    datagram::Datagram,
    ice::{Base, IceAgent, IceConfig, IceEvent, MAX_REMOTE_CANDIDATES, Path},
    sim::{SILENCE, crypto, epoch, host_base, host_candidate},
    stun::{Credentials, IceRole, Unverified, Writer},
};

pub(super) fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn config() -> IceConfig {
    IceConfig {
        crypto: crypto(),
        silence: SILENCE,
        path_timeout: Duration::from_secs(15),
        destinations: crate::webrtc::Destinations::Any,
        epoch: epoch(),
    }
}

fn candidate(address: &str, kind: CandidateKind) -> Candidate {
    Candidate { address: at(address), kind, priority: kind.priority(0) }
}

fn base(address: &str, kind: CandidateKind) -> Base {
    Base { address: at(address), kind, priority: kind.priority(0) }
}

fn agent(key: u32, controls: bool, bases: &[Base]) -> IceAgent {
    IceAgent::new(&config(), key, controls, bases.to_vec())
}

const A: &str = "10.0.0.1:5000";
const B: &str = "10.0.0.2:5000";
const C: &str = "10.0.0.3:5000";

/// What happens to a datagram on its way: it arrives as it is, elsewhere, or never.
type Way = Box<dyn FnMut(Datagram) -> Option<Datagram>>;

/// Two agents half a round trip apart.
struct Two {
    agents: [IceAgent; 2],
    now: Instant,
    delay: Duration,
    way: Way,
    queue: BTreeMap<(Instant, usize), (usize, Datagram)>,
    /// Requests and responses as they were sent: when, by which agent, and what.
    sent: Vec<(Duration, usize, Datagram)>,
    events: [Vec<(Duration, IceEvent)>; 2],
}

impl Two {
    fn new(a: IceAgent, b: IceAgent) -> Self {
        Self {
            agents: [a, b],
            now: epoch(),
            delay: ms(5),
            way: Box::new(Some),
            queue: BTreeMap::new(),
            sent: Vec::new(),
            events: [Vec::new(), Vec::new()],
        }
    }

    /// One host address each.
    fn hosts() -> Self {
        Self::new(agent(1, true, &[host_base(at(A))]), agent(2, false, &[host_base(at(B))]))
    }

    fn start(&mut self, agent: usize, candidates: &[Candidate]) {
        let remote = self.agents[1 - agent].credentials().clone();
        self.agents[agent].start(self.now, remote, candidates, false);
        self.collect();
    }

    fn start_hosts(&mut self) {
        self.start(1, &[host_candidate(at(A))]);
        self.start(0, &[host_candidate(at(B))]);
    }

    fn since(&self) -> Duration {
        self.now - epoch()
    }

    fn collect(&mut self) {
        let since = self.since();
        for index in 0..2 {
            while self.agents[index].next_check().is_some_and(|at| at <= self.now) {
                self.agents[index].check(self.now);
            }
            while let Some(event) = self.agents[index].poll_event() {
                self.events[index].push((since, event));
            }
            while let Some(datagram) = self.agents[index].poll_transmit() {
                self.sent.push((since, index, datagram.clone()));
                if let Some(datagram) = (self.way)(datagram) {
                    let Datagram { local, remote, data } = datagram;
                    let arrived = Datagram { local: remote, remote: local, data };
                    self.queue.insert((self.now + self.delay, self.sent.len()), (1 - index, arrived));
                }
            }
        }
    }

    fn hand(&mut self, to: usize, datagram: &Datagram) -> bool {
        let path = Path { local: datagram.local, remote: datagram.remote };
        let message = Unverified::parse(&datagram.data).expect("a STUN message");
        let was_authentic = self.agents[to].handle_message(self.now, path, message);
        self.collect();
        was_authentic
    }

    fn run(&mut self, time: Duration) {
        let last = self.now + time;
        loop {
            let timers = self.agents.iter().flat_map(|agent| [agent.next_check(), agent.poll_timeout()]).flatten();
            let arrival = self.queue.keys().next().map(|(at, _)| *at);
            let Some(next) = timers.chain(arrival).min().filter(|next| *next <= last) else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, datagram) = entry.remove();
                self.hand(to, &datagram);
            }
            self.agents.iter_mut().for_each(|agent| agent.handle_timeout(self.now));
            self.collect();
            let late = self.agents.iter().filter_map(|agent| agent.poll_timeout()).min();
            assert!(late.is_none_or(|late| late > self.now), "a timer that fired is set again in the past");
        }
        self.now = last;
    }

    /// When each agent has selected which path last.
    fn selected(&self, agent: usize) -> Option<(Duration, Path)> {
        let selected = self.events[agent].iter().rev().find_map(|(at, event)| match event {
            IceEvent::Selected(path) => Some((*at, *path)),
            IceEvent::Validated(_) => None,
        });
        let now = selected.map(|(_, path)| path);
        assert!(now.is_none() || self.agents[agent].best_path() == now);
        selected
    }

    fn requests(&self, agent: usize) -> impl Iterator<Item = (Duration, &Datagram)> {
        let is_request = |data: &[u8]| data[..2] == [0, 1];
        self.sent
            .iter()
            .filter(move |(_, by, datagram)| *by == agent && is_request(&datagram.data))
            .map(|(at, _, datagram)| (*at, datagram))
    }
}

fn path(local: &str, remote: &str) -> Path {
    Path { local: at(local), remote: at(remote) }
}

#[test]
fn hosts_that_reach_each_other_need_two_round_trips() {
    let mut two = Two::hosts();
    two.start_hosts();
    two.run(ms(100));
    // One for the check, one for the nomination; the controlled side has it when the nomination arrives.
    assert_eq!(two.selected(0), Some((ms(20), path(A, B))));
    assert_eq!(two.selected(1), Some((ms(15), path(B, A))));
    assert_eq!(two.agents[0].selected_kinds(), Some((CandidateKind::Host, CandidateKind::Host)));
    assert_eq!(two.agents[0].round_trip(), Some(ms(10)));
}

/// What the offerer waits for before it decides, when the pair that works first is not the best that might.
#[test]
fn better_pairs_are_waited_for_as_long_as_the_kind_of_the_first_allows() {
    use CandidateKind::{Host, Relay, ServerReflexive};
    for (ours, works, hopeless, expected) in [
        // Nothing better can come.
        (Host, Host, false, ms(20)),
        (Host, ServerReflexive, false, ms(20)),
        (Host, Relay, false, ms(20)),
        (Relay, Host, false, ms(20)),
        // Something better never answers.
        (Host, ServerReflexive, true, ms(50 + 10)),
        (Host, Relay, true, ms(200 + 10)),
        (Relay, Host, true, ms(200 + 10)),
    ] {
        let mut bases = vec![base(A, ours)];
        if ours == Relay {
            bases.push(base(C, Host));
        }
        let mut two = Two::new(agent(1, true, &bases), agent(2, false, &[host_base(at(B))]));
        let mut candidates = vec![candidate(B, works)];
        if hopeless && ours != Relay {
            candidates.push(candidate("10.9.9.9:1", Host));
        }
        if !hopeless && ours == Relay {
            two.agents[0] = agent(1, true, &bases[..1]);
        }
        // What comes from the host address is lost, as between two networks that only the relay connects.
        two.way =
            Box::new(|datagram| (datagram.local != at(C) && datagram.remote != at("10.9.9.9:1")).then_some(datagram));
        two.start(1, &[]);
        two.start(0, &candidates);
        two.run(ms(1000));
        let (when, path) = two.selected(0).expect("a path");
        assert_eq!((when, path.remote), (expected, at(B)), "{ours} to {works}, {hopeless}");
        assert!(two.selected(1).is_some_and(|(followed, _)| followed < when));
    }
}

#[test]
fn a_nomination_that_is_lost_is_made_again() {
    let mut two = Two::hosts();
    let mut seen = 0;
    two.way = Box::new(move |datagram| {
        let nominates = datagram.data.windows(4).any(|window| window == [0, 0x25, 0, 0]);
        seen += usize::from(nominates);
        (!nominates || seen > 3).then_some(datagram)
    });
    two.start_hosts();
    two.run(ms(2000));
    // After the first one 100, 200 and 400 ms.
    assert_eq!(two.selected(0), Some((ms(10 + 100 + 200 + 400 + 10), path(A, B))));
}

#[test]
fn both_offerers_agree_on_one() {
    for both_control in [true, false] {
        // Several pairs, so that several checks meet the conflict at once.
        let bases = |one: &str, two: &str| [host_base(at(one)), base(two, CandidateKind::Host)];
        for _ in 0..20 {
            let a = agent(1, both_control, &bases(A, "10.0.0.1:6000"));
            let b = agent(2, both_control, &bases(B, "10.0.0.2:6000"));
            let mut two = Two::new(a, b);
            two.start(1, &[host_candidate(at(A)), host_candidate(at("10.0.0.1:6000"))]);
            two.start(0, &[host_candidate(at(B)), host_candidate(at("10.0.0.2:6000"))]);
            two.run(ms(300));
            let (a, b) = (two.selected(0).expect("a path").1, two.selected(1).expect("a path").1);
            assert_eq!((a.local, a.remote), (b.remote, b.local));
            assert!(two.sent.len() < 60, "{} messages", two.sent.len());
        }
    }
}

/// Roles are switched for the role of the request that was refused, not for each refusal.
#[test]
fn several_refusals_switch_the_role_once() {
    let mut two = Two::new(
        agent(1, true, &[host_base(at(A)), host_base(at("10.0.0.1:6000"))]),
        agent(2, true, &[host_base(at(B))]),
    );
    let (ours, theirs) = (two.agents[0].credentials().clone(), two.agents[1].credentials().clone());
    two.agents[0].start(two.now, theirs.clone(), &[host_candidate(at(B))], false);
    two.way = Box::new(|_| None);
    two.collect();
    let writer = Writer::new(crypto());
    let requests: Vec<Datagram> = two.requests(0).map(|(_, datagram)| datagram.clone()).collect();
    assert_eq!(requests.len(), 2);
    for request in requests {
        let transaction = Unverified::parse(&request.data).expect("a request").transaction();
        let data = writer.role_conflict(transaction, &theirs);
        two.hand(0, &Datagram { data, ..request });
    }
    let again: Vec<_> = two.requests(0).skip(2).map(|(_, datagram)| role_of(datagram, &theirs, &ours)).collect();
    assert!(matches!(again[..], [Some(IceRole::Controlled(_)), Some(IceRole::Controlled(_))]), "{again:?}");
}

fn role_of(datagram: &Datagram, to: &Credentials, from: &Credentials) -> Option<IceRole> {
    let message = Unverified::parse(&datagram.data).expect("a STUN message");
    message.request(to, &from.ufrag, &*crypto()).expect("an authentic request").role
}

#[test]
fn a_lite_side_is_decided_for() {
    let mut two = Two::hosts();
    let (ours, theirs) = (two.agents[1].credentials().clone(), two.agents[0].credentials().clone());
    // The offer says that it is of a lite agent, so that the answerer controls.
    two.agents[1].start(two.now, theirs.clone(), &[host_candidate(at(A))], true);
    two.agents[0].start(two.now, ours.clone(), &[], false);
    two.way = Box::new(|_| None);
    two.run(ms(1));
    let role = two.requests(1).map(|(_, datagram)| role_of(datagram, &theirs, &ours)).next();
    assert!(matches!(role, Some(Some(IceRole::Controlling(_)))), "{role:?}");
    let writer = Writer::new(crypto());
    let request = two.requests(1).next().expect("a check").1.clone();
    let transaction = Unverified::parse(&request.data).expect("a request").transaction();
    two.hand(1, &Datagram { data: writer.success(transaction, &theirs, at(B)), ..request });
    assert!(two.sent.last().is_some_and(|(.., last)| last.data.windows(4).any(|at| at == [0, 0x25, 0, 0])));
}

#[test]
fn candidates_may_come_late() {
    for before_start in [true, false] {
        let mut two = Two::hosts();
        if before_start {
            let now = two.now;
            two.agents[0].add_remote(now, host_candidate(at(B)));
            assert_eq!(two.agents[0].next_check(), None, "its password is not known");
            two.start(1, &[]);
            two.start(0, &[]);
        } else {
            two.start(1, &[]);
            two.start(0, &[]);
            two.run(ms(3000));
            assert!(two.sent.is_empty());
            let now = two.now;
            two.agents[0].add_remote(now, host_candidate(at(B)));
        }
        let begin = two.since();
        two.run(ms(100));
        assert_eq!(two.selected(0).map(|(at, _)| at - begin), Some(ms(20)), "{before_start}");
        assert!(two.selected(1).is_some());
    }
}

#[test]
fn an_address_that_never_answers_is_checked_seven_times() {
    let mut two = Two::hosts();
    two.way = Box::new(|_| None);
    two.start(0, &[host_candidate(at(B))]);
    two.run(Duration::from_secs(3600));
    let at: Vec<u128> = two.requests(0).map(|(at, _)| at.as_millis()).collect();
    assert_eq!(at, [0, 250, 750, 1750, 3750, 7750, 15_750]);
}

/// An authentic check begins a new series, but an address that is named again and again is not checked for ever.
#[test]
fn a_check_from_an_address_renews_its_series_up_to_a_bound() {
    let mut two = Two::hosts();
    two.way = Box::new(|_| None);
    two.start(0, &[host_candidate(at(B))]);
    let ours = two.agents[0].credentials().clone();
    let theirs = two.agents[1].credentials().clone();
    let writer = Writer::new(crypto());
    let mut counts = Vec::new();
    for round in 0..50u8 {
        two.run(Duration::from_secs(60));
        let data = writer.request([round; 12], &theirs.ufrag, &ours, (IceRole::Controlled(1), 1, false));
        assert!(two.hand(0, &Datagram { local: at(A), remote: at(B), data }), "it is authentic");
        counts.push(two.requests(0).count());
    }
    assert_eq!(counts[..5], [8, 15, 22, 28, 28]);
    assert_eq!(two.requests(0).count(), 28);
}

#[test]
fn what_a_description_costs_is_bounded() {
    let bases: Vec<Base> = (1..=8).map(|n| base(&format!("10.0.0.{n}:5000"), CandidateKind::Host)).collect();
    let mut two = Two::new(agent(1, true, &bases), agent(2, false, &[host_base(at(B))]));
    two.way = Box::new(|_| None);
    let relays = (0..200).map(|n| candidate(&format!("10.1.0.{n}:7"), CandidateKind::Relay));
    two.start(0, &relays.collect::<Vec<_>>());
    // What is learned from checks counts too, however many there are.
    let (ours, theirs) = (two.agents[0].credentials().clone(), two.agents[1].credentials().clone());
    let writer = Writer::new(crypto());
    for n in 0..200u8 {
        let data = writer.request([n; 12], &theirs.ufrag, &ours, (IceRole::Controlled(1), 1, false));
        two.hand(0, &Datagram { local: at(A), remote: at(&format!("10.2.0.{n}:7")), data });
    }
    two.run(Duration::from_secs(3600));
    let reached: std::collections::BTreeSet<_> = two.requests(0).map(|(_, datagram)| datagram.remote).collect();
    assert!(reached.len() <= MAX_REMOTE_CANDIDATES, "{reached:?}");
    assert!(two.requests(0).count() <= 100 * 7, "{}", two.requests(0).count());
}

#[test]
fn thirty_two_addresses_of_the_other_side_are_looked_at_wherever_they_come_from() {
    for (described, learned) in [(200, 0), (0, 200), (20, 200)] {
        let mut two = Two::hosts();
        two.way = Box::new(|_| None);
        two.start(0, &(0..described).map(|n| host_candidate(at(&format!("10.1.0.{n}:7")))).collect::<Vec<_>>());
        let (ours, theirs) = (two.agents[0].credentials().clone(), two.agents[1].credentials().clone());
        let writer = Writer::new(crypto());
        for n in 0..learned {
            let data = writer.request([n; 12], &theirs.ufrag, &ours, (IceRole::Controlled(1), 1, false));
            two.hand(0, &Datagram { local: at(A), remote: at(&format!("10.2.0.{n}:7")), data });
        }
        two.run(Duration::from_secs(60));
        let reached: std::collections::BTreeSet<_> = two.requests(0).map(|(_, datagram)| datagram.remote).collect();
        assert_eq!(reached.len(), 32, "{described} described, {learned} learned");
    }
}

#[test]
fn better_pairs_take_the_places_of_worse_ones() {
    let bases: Vec<Base> = (1..=4).map(|n| base(&format!("10.0.0.{n}:5000"), CandidateKind::Host)).collect();
    let mut two = Two::new(agent(1, true, &bases), agent(2, false, &[host_base(at(B))]));
    two.way = Box::new(|_| None);
    let remote = two.agents[1].credentials().clone();
    let mut candidates: Vec<_> = (0..25).map(|n| candidate(&format!("10.1.0.{n}:7"), CandidateKind::Relay)).collect();
    // 100 pairs lead to relays, and the last candidate is a host.
    candidates.push(candidate("10.3.0.1:7", CandidateKind::Host));
    two.agents[0].start(two.now, remote, &candidates, false);
    two.collect();
    let first: Vec<_> = two.requests(0).map(|(_, datagram)| datagram.remote).take(4).collect();
    assert_eq!(first, [at("10.3.0.1:7"); 4], "the best are checked first");
    assert_eq!(two.requests(0).count(), 100);
    // Worse ones replace nothing.
    let now = two.now;
    two.agents[0].add_remote(now, Candidate { priority: 1, ..candidate("10.4.0.1:7", CandidateKind::Relay) });
    two.run(ms(1));
    assert!(two.requests(0).all(|(_, datagram)| datagram.remote != at("10.4.0.1:7")));
}

#[test]
fn a_response_from_elsewhere_proves_nothing() {
    let mut two = Two::hosts();
    // Another host answers in B's name, or a translation between them changes addresses.
    two.way = Box::new(|datagram| {
        let local = if datagram.local == at(B) { at(C) } else { datagram.local };
        (datagram.data[..2] != [0, 1] || datagram.local == at(A)).then_some(Datagram { local, ..datagram })
    });
    two.start_hosts();
    two.run(ms(100));
    assert!(two.events[0].is_empty(), "{:?}", two.events[0]);
    assert_eq!(two.agents[0].best_path(), None);
}

/// Whatever an agent does not authenticate changes neither role, nor idle timeout, nor anything it sends.
#[test]
fn what_is_not_authentic_changes_nothing() {
    let mut two = Two::hosts();
    two.way = Box::new(|_| None);
    two.start(0, &[host_candidate(at(B))]);
    let before = format!("{:?}", two.agents[0]);
    let (ours, theirs) = (two.agents[0].credentials().clone(), two.agents[1].credentials().clone());
    let request = two.requests(0).next().expect("a check").1.clone();
    let transaction = Unverified::parse(&request.data).expect("a request").transaction();
    let writer = Writer::new(crypto());
    let wrong = |credentials: &Credentials| Credentials { pwd: "x".repeat(24), ..credentials.clone() };
    let conflicting = (IceRole::Controlling(u64::MAX), 1, true);
    for data in [
        writer.request([1; 12], &theirs.ufrag, &wrong(&ours), conflicting),
        writer.request([1; 12], "others", &ours, conflicting),
        writer.success(transaction, &wrong(&theirs), at(A)),
        writer.role_conflict(transaction, &wrong(&theirs)),
        // Authentic, but to no request of this agent.
        writer.success([9; 12], &theirs, at(A)),
        writer.role_conflict([9; 12], &theirs),
    ] {
        assert!(!two.hand(0, &Datagram { data, ..request.clone() }));
        assert_eq!(format!("{:?}", two.agents[0]), before);
    }
    assert_eq!((two.sent.len(), two.events[0].len()), (1, 0));
    // The response to it is still believed.
    let data = writer.success(transaction, &theirs, at(A));
    assert!(two.hand(0, &Datagram { data: data.clone(), ..request.clone() }));
    assert_eq!(two.events[0].len(), 1);
    // Once: it says nothing the second time.
    assert!(!two.hand(0, &Datagram { data, ..request }));
}

/// An integrity attribute that is cut short, or empty, is none.
#[test]
fn a_part_of_an_integrity_is_none() {
    let two = Two::hosts();
    let (ours, theirs) = (two.agents[0].credentials().clone(), two.agents[1].credentials().clone());
    let request = Writer::new(crypto()).request([1; 12], &theirs.ufrag, &ours, (IceRole::Controlled(1), 1, false));
    // MESSAGE-INTEGRITY is followed by the fingerprint, of 8 bytes.
    let tag = request.len() - 8 - 20;
    for kept in [0u8, 4, 16] {
        let mut short = request[..tag + usize::from(kept)].to_vec();
        short[tag - 1] = kept;
        let length = (short.len() - 20) as u16;
        short[2..4].copy_from_slice(&length.to_be_bytes());
        let message = Unverified::parse(&short).expect("well-formed");
        assert_eq!(message.request(&ours, &theirs.ufrag, &*crypto()), None, "{kept} bytes");
    }
}

/// The other side's translation gives it another address: what comes from there takes over as soon as the old path is
/// silent, and not before.
#[test]
fn a_path_that_falls_silent_gives_way() {
    let mut two = Two::hosts();
    two.start_hosts();
    two.run(ms(2500));
    assert_eq!(two.selected(0).map(|(_, path)| path.remote), Some(at(B)));
    let rebound = two.since();
    two.way = Box::new(|datagram| match (datagram.local, datagram.remote) {
        // What goes to the old address is lost, and what B sends comes from the new one.
        (_, to) if to == at(B) => None,
        (from, _) if from == at(B) => Some(Datagram { local: at(C), ..datagram }),
        (_, to) if to == at(C) => Some(Datagram { remote: at(B), ..datagram }),
        _ => Some(datagram),
    });
    two.run(ms(6000));
    let (when, path) = two.selected(0).expect("a path");
    assert_eq!(path.remote, at(C), "rebound at {rebound:?}");
    // One keepalive to arrive from there, half of one more for the old path to be silent, and the next from there.
    assert!(when - rebound <= SILENCE * 3 / 4, "{:?}", when - rebound);
    assert!(when - rebound >= SILENCE / 4, "{:?}", when - rebound);
}

#[test]
fn a_path_that_works_is_not_left_for_another() {
    let mut two = Two::hosts();
    two.start_hosts();
    two.run(ms(2500));
    // Checks from elsewhere by the other side itself, while the path in use answers.
    let (ours, theirs) = (two.agents[0].credentials().clone(), two.agents[1].credentials().clone());
    let writer = Writer::new(crypto());
    for n in 0..20 {
        let data = writer.request([n; 12], &theirs.ufrag, &ours, (IceRole::Controlled(1), 1, false));
        two.hand(0, &Datagram { local: at(A), remote: at(C), data });
        two.run(ms(300));
    }
    assert_eq!(two.selected(0).map(|(_, path)| path.remote), Some(at(B)));
}

/// Keepalives of all agents fall on the same moments, so that a process wakes once for them; four a silence timeout.
#[test]
fn keepalives_are_aligned() {
    let mut times = Vec::new();
    for begin in [0, 137, 401, 999] {
        let mut two = Two::hosts();
        two.run(ms(begin));
        two.start_hosts();
        two.run(Duration::from_secs(60));
        let kept: Vec<Duration> = two.requests(0).map(|(at, _)| at).filter(|at| *at > ms(begin + 100)).collect();
        assert!((56..=80).contains(&kept.len()), "{} in a minute", kept.len());
        assert!(kept.windows(2).all(|pair| pair[1] - pair[0] <= SILENCE / 4));
        times.push(kept);
    }
    assert!(times.iter().flatten().all(|at| at.as_millis() % 250 == 0), "{times:?}");
}

/// A local address that is gone takes its paths with it, and another pair that works is used at once.
#[test]
fn a_base_that_is_gone_is_left() {
    let second = "10.0.0.1:6000";
    let mut two = Two::new(
        agent(1, true, &[host_base(at(A)), Base { priority: 7, ..host_base(at(second)) }]),
        agent(2, false, &[host_base(at(B))]),
    );
    two.start_hosts();
    two.run(ms(500));
    assert_eq!(two.selected(0).map(|(_, path)| path), Some(path(A, B)));
    two.agents[0].remove_base(at(A));
    two.way = Box::new(|datagram| (datagram.local != at(A) && datagram.remote != at(A)).then_some(datagram));
    assert_eq!(two.agents[0].best_path(), Some(path(second, B)));
    two.run(ms(500));
    assert_eq!(two.selected(0).map(|(_, path)| path), Some(path(second, B)));
}

/// A nomination under way on an address that goes away is given up for another pair.
#[test]
fn a_nomination_on_a_base_that_is_gone_is_given_up() {
    let second = "10.0.0.1:6000";
    let mut two = Two::new(
        agent(1, true, &[host_base(at(A)), Base { priority: 7, ..host_base(at(second)) }]),
        agent(2, false, &[host_base(at(B))]),
    );
    two.way = Box::new(|datagram| {
        let nominates = datagram.data.windows(4).any(|window| window == [0, 0x25, 0, 0]);
        (!nominates || datagram.local != at(A)).then_some(datagram)
    });
    two.start_hosts();
    two.run(ms(15));
    two.agents[0].remove_base(at(A));
    two.run(ms(100));
    assert_eq!(two.selected(0).map(|(_, path)| path), Some(path(second, B)));
}
