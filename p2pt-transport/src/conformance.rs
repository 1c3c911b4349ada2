//! The promises of [`Transport`] as checks, for authors of backends.
//!
//! [`run`] puts every [`Check`] to a fresh pair of transports and returns a [`Report`]; [`run_with`] also says which one is
//! being put, and a single one can be asked with [`Check::run`]. Nothing here looks at a backend's insides, and nothing passes or fails on speed: each wait ends at a
//! generous deadline. Checks that a connection fails take as long as the backend waits for the other side, so configure
//! it to give up early: around WebRTC all checks take about 90 s with the default 30 s of `WebRtcConfig::connect_timeout`,
//! and less with, say, 4 s. Backends that keep to tokio's clock can be checked under paused time.
//!
//! A backend has to take frames of 1,000 bytes, and ten of them that the other side does not read. What it declares in its
//! [`Capabilities`](crate::Capabilities) that it cannot do, it has to do without in the way that is documented there; that is
//! checked in place of it. Not checked: that
//! [`Transport::shutdown`] waits and what it frees, that this side's channels end with `ShutDown` by it, and that a peer
//! that falls silent ends its channels with `Timeout`, without which a dead peer stays connected.
//!
//! ```
//! # #[cfg(feature = "memory")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use p2pt_transport::{Transport, conformance, memory::MemoryNetwork};
//!
//! let network = MemoryNetwork::new(1);
//! let make = async || (network.transport() as _, network.transport() as _);
//! let report = conformance::run(make, &conformance::Settings::default()).await;
//! assert!(report.passed(), "{report}");
//! # }
//! # #[cfg(not(feature = "memory"))]
//! # fn main() {}
//! ```

mod closing;
mod frames;
mod harness;
mod leaving;
mod opening;
mod pressure;

use std::{fmt, sync::Arc, time::Duration};

use harness::Harness;
use p2pt_rt::now;

use crate::{Transport, TransportError};

/// How long to wait, and how much to send.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The longest any single step may take, 30 s by default. It must exceed the backend's own deadlines.
    pub deadline: Duration,
    /// A sender that has not got on for this long counts as waiting, and what was delivered this long ago counts as
    /// acknowledged; 300 ms by default. It must exceed the time a backend may delay its acknowledgements, which is
    /// 200 ms in SCTP (RFC 9260 section 6.2).
    pub patience: Duration,
    /// The most a backend may accept while the other side reads nothing, 64 MiB by default; without back-pressure, until it
    /// ends the channel.
    pub max_accepted_bytes: usize,
    /// How many small frames are sent where order is checked, 2000 by default.
    pub many_frames: usize,
    /// Whether a transport has to take candidates that come late. It need not by default, since one that takes none keeps
    /// its promises; a wrapper around one that takes them is checked with `true`, and fails if it does not pass them on.
    pub late_candidates: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            patience: Duration::from_millis(300),
            max_accepted_bytes: 64 * 1024 * 1024,
            many_frames: 2000,
            late_candidates: false,
        }
    }
}

/// What a check found wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A step did not finish in time.
    #[error("{step} did not finish within {after:?}")]
    Timeout {
        /// What was waited for.
        step: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// A connection that should have been prepared or opened was not.
    #[error("{step} failed")]
    Transport {
        /// What was tried.
        step: &'static str,
        /// What came instead.
        #[source]
        source: TransportError,
    },
    /// Something else than what the trait promises happened; the text says what.
    #[error("{0}")]
    Broken(String),
}

/// A check that did not pass.
#[derive(Debug, thiserror::Error)]
#[error("{check}: {problem}")]
#[non_exhaustive]
pub struct Failure {
    /// Which one.
    pub check: Check,
    /// Why.
    #[source]
    pub problem: Problem,
}

/// Lists the checks once: for each its documentation, its name, and the function that makes it.
macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $check:ident => $module:ident::$function:ident,)+) => {
        /// One promise of the trait.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Check {
            $($(#[doc = $doc])+ $check,)+
        }

        impl Check {
            /// Every check, simple ones first.
            pub const ALL: &[Self] = &[$(Self::$check),+];

            /// Its name, for people and for filters.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$check => stringify!($function),)+
                }
            }

            /// What it checks, in a sentence.
            pub fn promise(self) -> &'static str {
                match self {
                    $(Self::$check => concat!($($doc),+).trim_ascii_start(),)+
                }
            }

            async fn put_to(self, harness: &Harness<'_>) -> Result<(), Problem> {
                match self {
                    $(Self::$check => Box::pin($module::$function(harness)).await,)+
                }
            }
        }
    };
}

checks! {
    /// An offer and its answer open one channel with the same label on both sides, each knowing its role.
    Connects => opening::connects,
    /// Either transport can make the offer.
    ConnectsTheOtherWay => opening::connects_the_other_way,
    /// Every connection has a label of its own.
    LabelsDiffer => opening::labels_differ,
    /// Where fingerprints are known, each side knows the other's.
    FingerprintsAgree => opening::fingerprints_agree,
    /// Several connections between the same two transports open at the same time and do not mix.
    ConnectionsDoNotMix => opening::connections_do_not_mix,
    /// SDP lines that were added on the way are ignored.
    ForeignLinesAreIgnored => opening::foreign_lines_are_ignored,
    /// An offer that makes no sense is `InvalidSdp`, and harms nothing.
    GarbageOffer => opening::garbage_offer,
    /// An answer that makes no sense is `InvalidSdp`, and harms nothing.
    GarbageAnswer => opening::garbage_answer,
    /// Candidates that come after the description that lacks them connect, to either side. Passed too by a backend whose
    /// descriptions have none, or that says `Unsupported`.
    LateCandidates => opening::late_candidates,
    /// A candidate that makes no sense is `Invalid` (or `Unsupported`), and harms nothing.
    GarbageCandidate => opening::garbage_candidate,
    /// Of two answers to one offer only the one that was applied opens.
    OneAnswerPerOffer => opening::one_answer_per_offer,
    /// An answer to an offer that has been dropped fails to open.
    DroppedOffer => opening::dropped_offer,
    /// An offerer that opens with an answer that has been dropped fails, or finds the channel closed.
    DroppedAnswer => opening::dropped_answer,
    /// Cancelling an `open` under way closes the connection.
    CancelledOpen => opening::cancelled_open,

    /// Text arrives as text and bytes as bytes, both ways.
    TextAndBinary => frames::text_and_binary,
    /// Empty frames arrive.
    EmptyFrames => frames::empty_frames,
    /// Frames as large as the channel says arrive whole, both ways.
    LargestFrame => frames::largest_frame,
    /// A frame one byte larger is refused and harms nothing.
    TooLarge => frames::too_large,
    /// Text that is not UTF-8 is refused and harms nothing.
    NotUtf8 => frames::not_utf8,
    /// Many frames, both ways at once, arrive in order.
    Order => frames::order,
    /// What has been delivered is acknowledged in the end.
    Acknowledges => frames::acknowledges,
    /// The channel's byte counters count payload.
    CountsBytes => frames::counts_bytes,
    /// A `recv` that is cancelled loses nothing.
    CancelledRecv => frames::cancelled_recv,
    /// A `recv` that is cancelled in the middle of a frame of the largest size loses nothing of it.
    CancelledLargeRecv => frames::cancelled_large_recv,

    /// A full channel makes `send` wait; when there is room again, all that was accepted arrives and nothing else.
    SendWaits => pressure::send_waits,
    /// What a reader that stalls makes the backend hold is bounded: the sender waits; or, without back-pressure, the channel
    /// ends with `Overflow` after what was held.
    StalledReaderIsBounded => pressure::stalled_reader_is_bounded,
    /// A full channel makes `try_send` say `Full` and give the frame back.
    TrySendIsFull => pressure::try_send_is_full,
    /// `try_send_all` sends all of its frames in order or none, and says which will never fit.
    AllOrNothing => pressure::all_or_nothing,
    /// Senders that wait at the same time all get through.
    WaitingSendersGetThrough => pressure::waiting_senders_get_through,
    /// A stalled channel does not stall another between the same transports.
    StallsAlone => pressure::stalls_alone,
    /// A stalled direction does not stall the other one.
    StallsOneWay => pressure::stalls_one_way,

    /// A graceful close delivers what was accepted, then the other side sees `Remote`.
    CloseFlushes => closing::close_flushes,
    /// After a graceful close by the other side, nothing that it has received counts as unacknowledged.
    AcknowledgedAtClose => closing::acknowledged_at_close,
    /// The reason of the end is the same however often it is asked for, and `closed` names it too.
    ReasonIsStable => closing::reason_is_stable,
    /// `closed` resolves while received frames wait to be read, and these can still be read.
    UnreadFramesSurvive => closing::unread_frames_survive,
    /// `closed` resolves although the other side filled the channel before it closed, and nothing is read.
    FullReceiveBufferHidesNothing => closing::full_receive_buffer_hides_nothing,
    /// A receiver that waits learns of its own side's close.
    CloseEndsRecv => closing::close_ends_recv,
    /// Nothing can be sent on a closed channel, by either side.
    SendAfterClose => closing::send_after_close,
    /// A sender that waits for room gets `Closed` when its side closes.
    CloseEndsSend => closing::close_ends_send,
    /// A sender that waits for room gets `Closed` when the other side closes.
    RemoteCloseEndsSend => closing::remote_close_ends_send,
    /// Closing again, from several tasks and from both sides at once, is harmless.
    CloseTwice => closing::close_twice,

    /// Dropping a channel closes it, and the other side notices.
    DroppedChannel => leaving::dropped_channel,
    /// One half keeps a channel open after the other has been dropped.
    OneHalfIsEnough => leaving::one_half_is_enough,
    /// Shutdown closes open channels, and both sides notice.
    ShutdownCloses => leaving::shutdown_closes,
    /// Shutdown ends what waits for the other side.
    ShutdownEndsPending => leaving::shutdown_ends_pending,
    /// After shutdown nothing more is begun, and shutting down again is harmless.
    ShutdownIsFinal => leaving::shutdown_is_final,
}

impl Check {
    /// Puts this check to a pair of transports that can reach each other. It may shut them down.
    ///
    /// # Errors
    /// What it found wrong.
    pub async fn run(self, a: Arc<dyn Transport>, b: Arc<dyn Transport>, settings: &Settings) -> Result<(), Failure> {
        let harness = Harness { a, b, settings };
        self.put_to(&harness).await.map_err(|problem| Failure { check: self, problem })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Puts every check to a pair of its own, made by `make` and shut down afterwards.
pub async fn run(make: impl AsyncFn() -> (Arc<dyn Transport>, Arc<dyn Transport>), settings: &Settings) -> Report {
    run_with(make, settings, |_| {}).await
}

/// Runs every check like [`run`], and calls `observe` for each check when it starts and when it has ended.
///
/// The last check that has started and not ended is the one that hangs: in a step of the backend that blocks its
/// thread, where no deadline can reach it, or in `make`.
///
/// ```
/// # #[cfg(feature = "memory")]
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// # use p2pt_transport::{Transport, conformance, memory::MemoryNetwork};
/// # let network = MemoryNetwork::new(1);
/// # let make = async || (network.transport() as _, network.transport() as _);
/// let settings = conformance::Settings::default();
/// // Prints " 1/46 connects …", then " 1/46 connects ok after 250ms", and so on.
/// let report = conformance::run_with(make, &settings, |progress| println!("{progress}")).await;
/// # assert!(report.passed(), "{report}");
/// # }
/// # #[cfg(not(feature = "memory"))]
/// # fn main() {}
/// ```
pub async fn run_with(
    make: impl AsyncFn() -> (Arc<dyn Transport>, Arc<dyn Transport>),
    settings: &Settings,
    mut observe: impl FnMut(Progress<'_>),
) -> Report {
    let total = Check::ALL.len();
    let mut results = Vec::with_capacity(total);
    for (check, number) in Check::ALL.iter().zip(1..) {
        observe(Progress { check: *check, number, total, state: CheckState::Started });
        let started = now();
        let (a, b) = make().await;
        let mut result = check.run(a.clone(), b.clone(), settings).await;
        let shut_down = async { tokio::join!(a.shutdown(), b.shutdown()) };
        if p2pt_rt::timeout(settings.deadline, shut_down).await.is_err() && result.is_ok() {
            let problem = Problem::Timeout { step: "shutting down after the check", after: settings.deadline };
            result = Err(Failure { check: *check, problem });
        }
        let state = CheckState::Ended { after: now() - started, failure: result.as_ref().err() };
        observe(Progress { check: *check, number, total, state });
        results.push((*check, result));
    }
    Report { results }
}

/// How far [`run_with`] has come. Prints a line.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The check at hand.
    pub check: Check,
    /// Its place among all checks, from 1 on.
    pub number: usize,
    /// How many checks there are.
    pub total: usize,
    /// Whether it starts or has ended.
    pub state: CheckState<'a>,
}

/// Whether a check starts or has ended.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum CheckState<'a> {
    /// Its transports are about to be made.
    Started,
    /// Its transports have been shut down.
    #[non_exhaustive]
    Ended {
        /// How long it took, with the making and the shutting down.
        after: Duration,
        /// What it found wrong; nothing if it passed.
        failure: Option<&'a Failure>,
    },
}

impl fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, number, total, state } = self;
        write!(f, "{number:>2}/{total} {check} ")?;
        match state {
            CheckState::Started => f.write_str("…"),
            CheckState::Ended { after, failure: None } => write!(f, "ok after {after:.0?}"),
            CheckState::Ended { after, failure: Some(failure) } => {
                write!(f, "FAILED after {after:.0?}: {}", failure.problem)
            }
        }
    }
}

/// How the checks went. Prints a line for each.
#[derive(Debug)]
#[must_use]
pub struct Report {
    results: Vec<(Check, Result<(), Failure>)>,
}

impl Report {
    /// Whether every check passed.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The checks that did not.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.results.iter().filter_map(|(_, result)| result.as_ref().err())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (check, result) in &self.results {
            let verdict = if result.is_ok() { "ok    " } else { "FAILED" };
            writeln!(f, "{verdict} {check:<28} {}", check.promise())?;
            if let Err(failure) = result {
                let mut source: Option<&dyn std::error::Error> = Some(&failure.problem);
                while let Some(error) = source {
                    writeln!(f, "       > {error}")?;
                    source = error.source();
                }
            }
        }
        write!(f, "{} of {} passed", self.results.len() - self.failures().count(), self.results.len())
    }
}
