//! Which STUN and TURN servers are of use, and the one warning of each that is not.
//!
//! A server has up to two addresses, and is asked from many sockets, again and again. It counts as unreachable once it has
//! failed at each address that a socket could ask, and never has answered. A socket that leads nowhere, such as that of a
//! virtual network, says nothing against a server that another socket reaches: the answer comes first, since it takes a round trip,
//! and silence takes 3.75 s.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{ServerProblem, ServerWarning};

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// It tells a socket's reflexive address.
    Stun,
    /// It relays.
    Turn,
}

/// What came of asking a server.
pub(crate) type Outcome = Result<(), ServerProblem>;

/// What is known of all servers, by their URLs.
#[derive(Debug, Default)]
pub(crate) struct Reachability {
    servers: BTreeMap<String, Server>,
    warnings: VecDeque<ServerWarning>,
}

#[derive(Debug)]
struct Server {
    service: Service,
    addresses: BTreeMap<SocketAddr, Standing>,
    /// It has answered, or it was warned of: nothing more is said.
    is_settled: bool,
}

/// How it stands with one address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// No socket can ask there.
    Unasked,
    Asked,
    Failed,
}

impl Reachability {
    /// A server has been looked up: its addresses, or none.
    pub(crate) fn looked_up(&mut self, url: &str, service: Service, addresses: &[SocketAddr]) {
        let new = || Server { service, addresses: BTreeMap::new(), is_settled: false };
        let server = self.servers.entry(url.to_owned()).or_insert_with(new);
        for address in addresses {
            server.addresses.entry(*address).or_insert(Standing::Unasked);
        }
        if addresses.is_empty() {
            self.warnings.extend(server.settle(url, ServerProblem::NoAddress));
        }
    }

    /// A socket asks a server.
    pub(crate) fn asked(&mut self, service: Service, address: SocketAddr) {
        for server in self.servers.values_mut().filter(|server| server.service == service) {
            if let Some(standing @ Standing::Unasked) = server.addresses.get_mut(&address) {
                *standing = Standing::Asked;
            }
        }
    }

    /// What came of it.
    pub(crate) fn ended(&mut self, service: Service, address: SocketAddr, outcome: Outcome) {
        for (url, server) in &mut self.servers {
            let Some(standing) = server.addresses.get_mut(&address).filter(|_| server.service == service) else {
                continue;
            };
            match outcome {
                Ok(()) => server.is_settled = true,
                Err(problem) => {
                    *standing = Standing::Failed;
                    if server.addresses.values().all(|standing| *standing != Standing::Asked) {
                        self.warnings.extend(server.settle(url, problem));
                    }
                }
            }
        }
    }

    /// The next warning.
    pub(crate) fn poll_warning(&mut self) -> Option<ServerWarning> {
        self.warnings.pop_front()
    }
}

impl Server {
    /// The one warning of this server, unless it has answered or was warned of.
    fn settle(&mut self, url: &str, problem: ServerProblem) -> Option<ServerWarning> {
        if std::mem::replace(&mut self.is_settled, true) {
            return None;
        }
        let warning = ServerWarning::new(url, problem);
        tracing::warn!(url, %problem, "a STUN or TURN server is of no use; {}", warning.advice());
        Some(warning)
    }
}

/// The same, shared by what looks servers up, what asks them, and what waits for warnings.
#[derive(Debug, Default)]
pub(crate) struct SharedReachability {
    state: Mutex<Reachability>,
    changed: Notify,
}

impl SharedReachability {
    fn lock(&self) -> MutexGuard<'_, Reachability> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something, and wakes what waits for warnings if there is one.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Reachability)) {
        let mut state = self.lock();
        change(&mut state);
        let warns = !state.warnings.is_empty();
        drop(state);
        if warns {
            self.changed.notify_waiters();
        }
    }

    /// The next warning, once there is one.
    pub(crate) async fn warning(&self) -> ServerWarning {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(warning) = self.lock().poll_warning() {
                return warning;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const URL: &str = "stun:a.example";

    fn at(last: u8) -> SocketAddr {
        ([203, 0, 113, last], 3478).into()
    }

    fn v6() -> SocketAddr {
        "[2001:db8::1]:3478".parse().expect("an address")
    }

    fn warnings(state: &mut Reachability) -> Vec<ServerProblem> {
        std::iter::from_fn(|| state.poll_warning()).map(|warning| warning.problem).collect()
    }

    #[test]
    fn a_server_that_fails_at_each_address_that_was_asked_is_warned_of_once() {
        let mut state = Reachability::default();
        state.looked_up(URL, Service::Stun, &[at(1), v6()]);
        state.asked(Service::Stun, at(1));
        state.asked(Service::Stun, v6());
        state.ended(Service::Stun, at(1), Err(ServerProblem::Silent));
        assert_eq!(warnings(&mut state), [], "the other address may answer");
        state.ended(Service::Stun, v6(), Err(ServerProblem::Silent));
        assert_eq!(warnings(&mut state), [ServerProblem::Silent]);
        state.ended(Service::Stun, at(1), Err(ServerProblem::Silent));
        state.looked_up(URL, Service::Stun, &[]);
        state.looked_up(URL, Service::Stun, &[at(2)]);
        state.asked(Service::Stun, at(2));
        state.ended(Service::Stun, at(2), Err(ServerProblem::Silent));
        assert_eq!(warnings(&mut state), [], "once is enough");
    }

    #[test]
    fn an_address_that_no_socket_can_ask_says_nothing_for_a_server() {
        let mut state = Reachability::default();
        state.looked_up(URL, Service::Stun, &[at(1), v6()]);
        state.asked(Service::Stun, at(1));
        state.ended(Service::Stun, at(1), Err(ServerProblem::Silent));
        assert_eq!(warnings(&mut state), [ServerProblem::Silent]);
    }

    #[test]
    fn a_server_that_has_answered_is_not_warned_of_again() {
        let mut state = Reachability::default();
        state.looked_up(URL, Service::Stun, &[at(1)]);
        state.asked(Service::Stun, at(1));
        state.ended(Service::Stun, at(1), Ok(()));
        state.ended(Service::Stun, at(1), Err(ServerProblem::Silent));
        assert_eq!(warnings(&mut state), []);
    }

    #[test]
    fn each_server_and_each_service_of_it_is_judged_by_itself() {
        let mut state = Reachability::default();
        state.looked_up(URL, Service::Stun, &[at(1)]);
        state.looked_up("turn:a.example", Service::Turn, &[at(1)]);
        state.looked_up("stun:b.example", Service::Stun, &[]);
        assert_eq!(warnings(&mut state), [ServerProblem::NoAddress]);
        state.asked(Service::Stun, at(1));
        state.asked(Service::Turn, at(1));
        state.ended(Service::Stun, at(1), Ok(()));
        state.ended(Service::Turn, at(1), Err(ServerProblem::Refused { code: 401 }));
        let warning = state.poll_warning().expect("one of the relay");
        assert_eq!((warning.url.as_str(), warning.problem), ("turn:a.example", ServerProblem::Refused { code: 401 }));
        assert!(warning.advice().contains("password"));
        assert_eq!(warnings(&mut state), []);
    }

    proptest! {
        #[test]
        fn there_is_one_warning_of_a_server_at_most(steps in proptest::collection::vec((0..4_u8, 0..3_u8, any::<bool>()), 0..60)) {
            let mut state = Reachability::default();
            let address = [SocketAddr::from(([203, 0, 113, 1], 1))];
            let mut count = BTreeMap::<String, usize>::new();
            for (step, which, flag) in steps {
                let (url, service) = if flag { ("stun:x", Service::Stun) } else { ("turn:x", Service::Turn) };
                match step {
                    0 => state.looked_up(url, service, if which == 0 { &[][..] } else { &address }),
                    1 => state.asked(service, ([203, 0, 113, which], 1).into()),
                    2 => state.ended(service, ([203, 0, 113, which], 1).into(), Err(ServerProblem::Silent)),
                    _ => state.ended(service, ([203, 0, 113, which], 1).into(), Ok(())),
                }
                while let Some(warning) = state.poll_warning() {
                    *count.entry(warning.url).or_default() += 1;
                }
            }
            prop_assert!(count.values().all(|count| *count == 1));
        }
    }
}
