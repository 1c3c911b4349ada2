//! What can be set about a tracker client.

use std::time::Duration;

use crate::setters::setters;

/// Timing and limits of one tracker client. The defaults suit the public trackers; tests and unusual trackers may
/// want others. Start from [`ClientConfig::default`] and set what is to differ. Durations over a year count as a year.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// How long one attempt to connect may take, from name lookup to the end of the WebSocket handshake. Default 30 s.
    pub connect_timeout: Duration,
    /// The shortest wait before another attempt to connect. It doubles with each attempt. Default 1 s.
    pub backoff_min: Duration,
    /// The longest wait before another attempt to connect. Default 60 s.
    pub backoff_max: Duration,
    /// A socket that lasted this long was a good one: the next wait is the shortest again. Default 60 s.
    pub stable_after: Duration,
    /// How often a WebSocket ping is sent. Default 30 s, below the idle limits of proxies (usually 60 s).
    pub ping_interval: Duration,
    /// How long after a ping the tracker may be silent before the socket counts as dead. Default 20 s.
    pub ping_timeout: Duration,
    /// How long the tracker may take to read one frame before the socket counts as dead. Default 10 s.
    pub write_timeout: Duration,
    /// The shortest time between announces for one info hash, whatever the tracker says. Default 10 s.
    pub interval_min: Duration,
    /// The longest time between announces for one info hash, whatever the tracker says. Default 120 s: some trackers
    /// forget a peer after 180 s.
    pub interval_max: Duration,
    /// An announce that got no reply is repeated, with other offers, after this time. Default 30 s.
    pub retry_interval: Duration,
    /// The shortest time between announces that [`Input::Announce`](crate::Input) asks for. Default 1 s.
    pub request_spacing: Duration,
    /// How long an announce waits for the offers it asked for. Default 2 s.
    pub offer_wait: Duration,
    /// How long an offer lives after it was handed in. Default 100 s, below the 120 s after which aquatic refuses an
    /// answer.
    pub offer_lifetime: Duration,
    /// An offer with less than this left to live is not announced any more. Default 30 s.
    pub offer_min_remaining: Duration,
    /// The most offers of one info hash that may be alive; offers beyond it are returned at once. Default 250:
    /// in a swarm that forms, ten are announced every three seconds for more than a minute, and those that were declined
    /// live on. With fewer, the last announces would carry none.
    pub max_offers: usize,
    /// The most offers of other peers that are passed on in a minute, for each info hash. Default 300: in a
    /// swarm that forms, as many arrive as are announced by each member.
    pub max_incoming_offers_per_minute: u32,
    /// How long a scrape may remain unanswered. Default 15 s.
    pub scrape_timeout: Duration,
    /// A socket that serves no swarm and no scrape is closed after this time. Default 10 s.
    pub idle_timeout: Duration,
    /// While a tracker can be reached over the other address family too, and our swarms have no other members there, the
    /// client looks over the other one: for the first time after between this time and twice as long. Default 15 s.
    pub dwell_min: Duration,
    /// The time after which the client changes the family again doubles each time, up to this. Default 240 s.
    pub dwell_max: Duration,
    /// How long stopping may take: `stopped` for every info hash and the closing handshake. Default 2 s.
    pub stop_timeout: Duration,
    /// Decides all that is left to chance, so that a simulation can be repeated. Two peers must not share one: they
    /// would do everything at the same time. Drawn at random unless set.
    pub seed: Option<u64>,
}

setters!(ClientConfig {
    connect_timeout: Duration,
    backoff_min: Duration,
    backoff_max: Duration,
    stable_after: Duration,
    ping_interval: Duration,
    ping_timeout: Duration,
    write_timeout: Duration,
    interval_min: Duration,
    interval_max: Duration,
    retry_interval: Duration,
    request_spacing: Duration,
    offer_wait: Duration,
    offer_lifetime: Duration,
    offer_min_remaining: Duration,
    max_offers: usize,
    max_incoming_offers_per_minute: u32,
    scrape_timeout: Duration,
    idle_timeout: Duration,
    dwell_min: Duration,
    dwell_max: Duration,
    stop_timeout: Duration,
    seed: Option<u64>,
});

/// Enough for "never" and little enough for the clock to be added to.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl ClientConfig {
    /// This configuration with all durations limited to a year, so that adding them to the present time cannot overflow.
    pub(crate) fn limited(mut self) -> Self {
        for duration in [
            &mut self.connect_timeout,
            &mut self.backoff_min,
            &mut self.backoff_max,
            &mut self.stable_after,
            &mut self.ping_interval,
            &mut self.ping_timeout,
            &mut self.write_timeout,
            &mut self.interval_min,
            &mut self.interval_max,
            &mut self.retry_interval,
            &mut self.request_spacing,
            &mut self.offer_wait,
            &mut self.offer_lifetime,
            &mut self.offer_min_remaining,
            &mut self.scrape_timeout,
            &mut self.idle_timeout,
            &mut self.dwell_min,
            &mut self.dwell_max,
            &mut self.stop_timeout,
        ] {
            *duration = (*duration).min(MAX_DURATION);
        }
        self.interval_max = self.interval_max.max(self.interval_min);
        self
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            stable_after: Duration::from_secs(60),
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(10),
            interval_min: Duration::from_secs(10),
            interval_max: Duration::from_secs(120),
            retry_interval: Duration::from_secs(30),
            request_spacing: Duration::from_secs(1),
            offer_wait: Duration::from_secs(2),
            offer_lifetime: Duration::from_secs(100),
            offer_min_remaining: Duration::from_secs(30),
            max_offers: 250,
            max_incoming_offers_per_minute: 300,
            scrape_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(10),
            dwell_min: Duration::from_secs(15),
            dwell_max: Duration::from_secs(240),
            stop_timeout: Duration::from_secs(2),
            seed: None,
        }
    }
}
