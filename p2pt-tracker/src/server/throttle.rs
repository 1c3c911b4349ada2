//! How fast one connection may send, and all those of one address together.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// How many addresses without a connection are remembered because their messages are not paid for. More are forgotten,
/// which gives each of them a burst.
const MAX_DEBTORS: usize = 4096;

/// Connections that open bring the wait of their address no further than to this. Nothing holds up who opens and closes
/// them, so that without it a minute of that would keep all others behind the address out for longer than a minute, and
/// for as long again once it is over. It is shorter than the time after which clients give a silent tracker up.
const MAX_OPENING_WAIT: Duration = Duration::from_secs(10);

/// How many messages may be caused in the long run, and at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// The time that one message takes in the long run.
    step: Duration,
    /// How far ahead of the clock a burst may run.
    slack: Duration,
}

impl Rate {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let step = Duration::from_secs(1) / per_second.max(1);
        Self { step, slack: step.saturating_mul(burst.max(1) - 1) }
    }
}

/// A token bucket, kept as the time at which it will be full again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    pub(super) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// When the next message may be read; `None` is now.
    pub(super) fn wait_until(&self, rate: Rate, now: Instant) -> Option<Instant> {
        self.full_at.checked_sub(rate.slack).filter(|at| *at > now)
    }

    /// Counts what came in and what it made to be sent, as so many messages.
    pub(super) fn spend(&mut self, rate: Rate, now: Instant, messages: u32) {
        self.full_at = self.full_at.max(now) + rate.step.saturating_mul(messages);
    }
}

/// What the connections of each address have caused together.
///
/// An address that causes more than its rate has to wait. Each of its connections is told how long when it has caused
/// something, so that they go on one after another and not all at the same moment; and none waits longer than it would
/// if each had an equal part of the rate, so that a flood holds up others of its address for little more than themselves.
#[derive(Debug)]
pub(super) struct AddressThrottle {
    rate: Rate,
    addresses: HashMap<IpAddr, Address>,
    /// How many of them have no connection.
    debtors: usize,
}

#[derive(Debug)]
struct Address {
    bucket: Bucket,
    connections: u32,
}

impl AddressThrottle {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, addresses: HashMap::new(), debtors: 0 }
    }

    /// Counts a connection of this address, as one message too unless it has to wait [long](MAX_OPENING_WAIT) as it is,
    /// so that closing and opening gains nothing. Returns when its first message may be read; `None` is now.
    pub(super) fn opened(&mut self, now: Instant, address: IpAddr) -> Option<Instant> {
        let held = self.addresses.entry(address).or_insert_with(|| {
            self.debtors += 1;
            Address { bucket: Bucket::new(now), connections: 0 }
        });
        if held.connections == 0 {
            self.debtors -= 1;
        }
        held.connections += 1;
        if held.bucket.wait_until(self.rate, now).is_none_or(|at| at < now + MAX_OPENING_WAIT) {
            held.bucket.spend(self.rate, now, 1);
        }
        held.bucket.wait_until(self.rate, now)
    }

    /// Counts what a connection of this address has caused, as so many messages. Returns when its next message may be
    /// read; `None` is now.
    pub(super) fn spend(&mut self, now: Instant, address: IpAddr, messages: u32) -> Option<Instant> {
        let held = self.addresses.get_mut(&address)?;
        held.bucket.spend(self.rate, now, messages);
        let part = self.rate.step.saturating_mul(messages).saturating_mul(held.connections);
        held.bucket.wait_until(self.rate, now).map(|at| at.min(now + part))
    }

    /// A connection of this address is gone. What it has caused is remembered until that is paid for.
    pub(super) fn closed(&mut self, now: Instant, address: IpAddr) {
        let Some(held) = self.addresses.get_mut(&address) else { return };
        held.connections -= 1;
        if held.connections == 0 {
            self.debtors += 1;
            if held.bucket.full_at <= now {
                self.addresses.remove(&address);
                self.debtors -= 1;
            } else if self.debtors > MAX_DEBTORS {
                self.forget(now);
            }
        }
    }

    /// Forgets the addresses without connections that have paid, or all if that makes no room.
    fn forget(&mut self, now: Instant) {
        self.addresses.retain(|_, held| held.connections > 0 || held.bucket.full_at > now);
        self.debtors = self.addresses.values().filter(|held| held.connections == 0).count();
        // Not for a single one: the next would go through all of them again.
        if self.debtors > MAX_DEBTORS / 2 {
            self.addresses.retain(|_, held| held.connections > 0);
            self.debtors = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn a_burst_passes_then_one_at_a_time() {
        let (start, rate) = (start(), Rate::new(10, 3));
        let mut bucket = Bucket::new(start);
        for _ in 0..3 {
            assert_eq!(bucket.wait_until(rate, start), None);
            bucket.spend(rate, start, 1);
        }
        let next = bucket.wait_until(rate, start).expect("the burst is spent");
        assert_eq!(next, start + Duration::from_millis(100));
        assert_eq!(bucket.wait_until(rate, next), None);
        bucket.spend(rate, next, 1);
        assert_eq!(bucket.wait_until(rate, next), Some(start + Duration::from_millis(200)));
        // After a rest the whole burst is there again, and no more.
        let rested = start + Duration::from_secs(60);
        for _ in 0..3 {
            assert_eq!(bucket.wait_until(rate, rested), None);
            bucket.spend(rate, rested, 1);
        }
        assert!(bucket.wait_until(rate, rested).is_some());
    }

    /// Lets connections send as fast as they may for ten seconds, each message at this cost; returns what each caused.
    fn flood(rate: Rate, costs: &[u32]) -> Vec<u32> {
        let start = start();
        let mut throttle = AddressThrottle::new(rate);
        let mut due: Vec<(Instant, usize)> =
            (0..costs.len()).map(|number| (throttle.opened(start, ip(1)).unwrap_or(start), number)).collect();
        let mut caused = vec![0; costs.len()];
        loop {
            let Some((at, number)) = due.iter_mut().min().map(|next| *next) else { break caused };
            if at >= start + Duration::from_secs(10) {
                break caused;
            }
            caused[number] += costs[number];
            // As fast as on its own it may.
            let own = at + Duration::from_millis(20) * costs[number];
            let next = throttle.spend(at, ip(1), costs[number]).map_or(own, |next| next.max(own));
            for entry in &mut due {
                if entry.1 == number {
                    entry.0 = next;
                }
            }
        }
    }

    #[test]
    fn many_sockets_of_an_address_cause_little_more_than_its_rate_and_a_good_client_among_them_goes_on() {
        // On their own they would cause 12,500 a second.
        let caused = flood(Rate::new(1000, 8000), &[8; 250]);
        let all: u32 = caused.iter().sum();
        assert!((18_000..=30_000).contains(&all), "{all} in ten seconds");
        let (least, most) = (caused.iter().min(), caused.iter().max());
        assert!(most <= least.map(|least| least + 3 * 8).as_ref(), "{least:?} to {most:?}");
        // Expensive messages bring no more, and take nothing from one that sends cheap ones.
        let mut costs = [100; 250];
        costs[0] = 1;
        let caused = flood(Rate::new(1000, 8000), &costs);
        let all: u32 = caused.iter().sum();
        assert!(all <= 55_000, "{all} in ten seconds");
        assert!(caused[0] >= 30, "{} messages in ten seconds", caused[0]);
    }

    #[test]
    fn addresses_are_apart_and_a_burst_is_not_had_twice() {
        let (start, rate) = (start(), Rate::new(10, 5));
        let mut throttle = AddressThrottle::new(rate);
        for round in 0..3 {
            let held = throttle.opened(start, ip(1));
            assert_eq!(held.is_some(), round > 0, "round {round}");
            throttle.spend(start, ip(1), 4);
            throttle.closed(start, ip(1));
            // Another address is not held up by it.
            assert_eq!(throttle.opened(start, ip(2 + round)), None);
        }
        assert_eq!(throttle.addresses.len(), 4);
        let paid = start + Duration::from_secs(10);
        throttle.opened(paid, ip(1));
        throttle.closed(paid, ip(1));
        assert_eq!(throttle.opened(paid + Duration::from_secs(1), ip(1)), None);
        throttle.closed(paid + Duration::from_secs(2), ip(1));
        assert_eq!(throttle.addresses.len(), 3, "what is paid is forgotten");
    }

    #[test]
    fn opening_and_closing_keeps_no_other_connection_of_an_address_out_for_long() {
        let (start, rate) = (start(), Rate::new(1000, 8000));
        let mut throttle = AddressThrottle::new(rate);
        let mut now = start;
        // Five thousand a second, for a minute.
        for _ in 0..300_000 {
            now += Duration::from_micros(200);
            throttle.opened(now, ip(1));
            throttle.closed(now, ip(1));
        }
        let first = throttle.opened(now, ip(1)).expect("it has to wait");
        assert!(first <= now + MAX_OPENING_WAIT + rate.step, "{:?}", first - now);
        // What it then sends costs it no more than before.
        assert!(throttle.spend(first, ip(1), 10).is_none_or(|next| next <= first + rate.step * 10));
    }

    #[test]
    fn addresses_without_connections_are_bounded() {
        let start = start();
        let mut throttle = AddressThrottle::new(Rate::new(1, 1));
        for number in 0..3 * MAX_DEBTORS as u32 {
            let address = IpAddr::from(number.to_be_bytes());
            throttle.opened(start, address);
            throttle.closed(start, address);
            assert!(throttle.addresses.len() <= MAX_DEBTORS);
        }
    }

    #[derive(Debug, Clone)]
    enum Op {
        Open(u8),
        Close(u8),
        Spend(u8, u32),
        Wait(u64),
    }

    proptest! {
        #[test]
        fn connections_are_counted_and_no_wait_is_longer_than_an_equal_part(
            ops in vec(prop_oneof![
                (0..3u8).prop_map(Op::Open),
                (0..3u8).prop_map(Op::Close),
                (0..3u8, 1..200u32).prop_map(|(address, cost)| Op::Spend(address, cost)),
                (0..5000u64).prop_map(Op::Wait),
            ], 0..200),
        ) {
            let mut now = start();
            let mut throttle = AddressThrottle::new(Rate::new(100, 50));
            let mut open = [0u32; 3];
            for op in ops {
                match op {
                    Op::Open(address) => {
                        open[usize::from(address)] += 1;
                        throttle.opened(now, ip(address));
                    }
                    Op::Close(address) if open[usize::from(address)] > 0 => {
                        open[usize::from(address)] -= 1;
                        throttle.closed(now, ip(address));
                    }
                    Op::Spend(address, cost) if open[usize::from(address)] > 0 => {
                        let part = Duration::from_millis(10) * cost * open[usize::from(address)];
                        let until = throttle.spend(now, ip(address), cost);
                        prop_assert!(until.is_none_or(|until| now < until && until <= now + part));
                    }
                    Op::Close(_) | Op::Spend(..) => {}
                    Op::Wait(millis) => now += Duration::from_millis(millis),
                }
                for (address, connections) in (0..).zip(open) {
                    let held = throttle.addresses.get(&ip(address));
                    prop_assert_eq!(held.map_or(0, |held| held.connections), connections);
                }
                let debtors = throttle.addresses.values().filter(|held| held.connections == 0).count();
                prop_assert_eq!(throttle.debtors, debtors);
            }
        }
    }
}
