//! The suite, put to the memory network, and to backends that are broken on purpose.
#![cfg(all(feature = "conformance", feature = "memory"))]

#[path = "conformance/broken.rs"]
mod broken;
#[path = "conformance/unwaiting.rs"]
mod unwaiting;

use std::{cell::Cell, future::pending, num::NonZeroU32, time::Duration};

use broken::{Broken, Fault};
use p2pt_transport::{
    conformance::{self, Check, Settings},
    memory::{Conditions, MemoryConfig, MemoryNetwork},
};
use tokio::time::timeout;
use unwaiting::{Flaw, Unwaiting};

/// Longer than all checks together take, on whichever clock.
const GUARD: Duration = Duration::from_secs(1800);

async fn passes(network: MemoryNetwork, settings: &Settings) {
    let make = async || (network.transport() as _, network.transport() as _);
    let mut last = String::new();
    let running = conformance::run_with(make, settings, |progress| last = progress.to_string());
    let Ok(report) = timeout(GUARD, running).await else { panic!("it hangs: {last}") };
    assert!(report.passed(), "{report}");
    assert_eq!((network.open_channels(), network.pending()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn memory_passes() {
    passes(MemoryNetwork::new(1), &Settings::default()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_passes_with_no_latency() {
    let config = MemoryConfig::default().conditions(Conditions::default().latency(Duration::ZERO));
    passes(MemoryNetwork::with_config(2, config), &Settings::default()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_passes_on_a_slow_line_with_small_buffers() {
    let latency = Duration::from_millis(300);
    let rate = NonZeroU32::new(1_000_000).expect("it is not 0");
    let config = MemoryConfig::default()
        .conditions(Conditions::default().latency(latency).jitter(latency).bytes_per_second(rate))
        .max_frame_bytes(70_000)
        .send_buffer_bytes(20_000)
        .receive_buffer_bytes(10_000);
    passes(MemoryNetwork::with_config(3, config), &Settings::default()).await;
}

#[tokio::test]
async fn memory_passes_in_real_time() {
    let config = MemoryConfig::default()
        .conditions(Conditions::default().latency(Duration::from_millis(1)))
        .connect_timeout(Duration::from_millis(500))
        .close_timeout(Duration::from_millis(100));
    let mut settings = Settings::default();
    settings.patience = Duration::from_millis(50);
    passes(MemoryNetwork::with_config(4, config), &settings).await;
}

/// Every check, with what it must find.
const FINDS: &[(Check, Fault)] = &[
    (Check::Connects, Fault::RoleSwapped),
    (Check::ConnectsTheOtherWay, Fault::CannotOffer),
    (Check::LabelsDiffer, Fault::ConstantLabel),
    (Check::FingerprintsAgree, Fault::ForgetsFingerprint),
    (Check::FingerprintsAgree, Fault::CertificatePerConnection),
    (Check::ConnectionsDoNotMix, Fault::MixesChannels),
    (Check::ForeignLinesAreIgnored, Fault::ChokesOnForeignLines),
    (Check::GarbageOffer, Fault::VagueErrors),
    (Check::GarbageAnswer, Fault::VagueErrors),
    (Check::LateCandidates, Fault::NeedsCandidatesAtOnce),
    (Check::GarbageCandidate, Fault::TakesAnyCandidate),
    (Check::OneAnswerPerOffer, Fault::WaitsForever),
    (Check::DroppedOffer, Fault::WaitsForever),
    (Check::DroppedAnswer, Fault::WaitsForever),
    (Check::CancelledOpen, Fault::WaitsForever),
    (Check::TextAndBinary, Fault::TextAsBinary),
    (Check::EmptyFrames, Fault::DropsEmpty),
    (Check::LargestFrame, Fault::Truncates),
    (Check::TooLarge, Fault::AcceptsTooLarge),
    (Check::NotUtf8, Fault::AcceptsNotUtf8),
    (Check::Order, Fault::Reorders),
    (Check::Acknowledges, Fault::NeverAcknowledges),
    (Check::CountsBytes, Fault::CountsFrames),
    (Check::CancelledRecv, Fault::TakesOnCancel),
    (Check::CancelledLargeRecv, Fault::LosesPieces),
    (Check::SendWaits, Fault::SendsOnCancel),
    (Check::SendWaits, Fault::Unbounded),
    (Check::StalledReaderIsBounded, Fault::Unbounded),
    (Check::TrySendIsFull, Fault::NeverFull),
    (Check::AllOrNothing, Fault::SendsHalf),
    (Check::WaitingSendersGetThrough, Fault::LosesWaiters),
    (Check::StallsAlone, Fault::OneQueue),
    (Check::StallsOneWay, Fault::HalfDuplex),
    (Check::CloseFlushes, Fault::FlushesNothing),
    (Check::AcknowledgedAtClose, Fault::CountsDelivered),
    (Check::ReasonIsStable, Fault::ForgetsReason),
    (Check::UnreadFramesSurvive, Fault::DropsUnread),
    (Check::FullReceiveBufferHidesNothing, Fault::HidesTheEnd),
    (Check::CloseEndsRecv, Fault::DeafToTheEnd),
    (Check::SendAfterClose, Fault::SendsWhenClosed),
    (Check::CloseEndsSend, Fault::WaitsForRoomForever),
    (Check::RemoteCloseEndsSend, Fault::WaitsForRoomForever),
    (Check::CloseTwice, Fault::ClosesOnce),
    (Check::DroppedChannel, Fault::KeepsDropped),
    (Check::OneHalfIsEnough, Fault::ClosesWithHalf),
    (Check::ShutdownCloses, Fault::ShutdownDoesNothing),
    (Check::ShutdownEndsPending, Fault::WaitsForever),
    (Check::ShutdownIsFinal, Fault::ShutdownDoesNothing),
];

#[tokio::test(start_paused = true)]
async fn each_check_finds_what_it_is_for() {
    for (check, fault) in FINDS {
        let network = MemoryNetwork::new(5);
        let make = |fault| Broken::new(network.transport(), fault);
        let settings = Settings::default();
        if let Err(failure) = check.run(make(Fault::None), make(Fault::None), &settings).await {
            panic!("nothing is wrong, but {failure}");
        }
        let outcome = check.run(make(*fault), make(*fault), &settings).await;
        assert!(outcome.is_err(), "{check} did not find anything wrong with {fault:?}");
    }
    for check in Check::ALL {
        assert!(FINDS.iter().any(|(finds, _)| finds == check), "nothing shows that {check} can fail");
    }
}

/// One that takes no candidates that come late keeps its promises, unless it wraps one that takes them.
#[tokio::test(start_paused = true)]
async fn late_candidates_can_be_demanded() {
    let network = MemoryNetwork::new(10);
    let mut settings = Settings::default();
    for (is_demanded, fault, passes) in
        [(false, Fault::TakesNoCandidate, true), (true, Fault::TakesNoCandidate, false), (true, Fault::None, true)]
    {
        settings.late_candidates = is_demanded;
        let make = || Broken::new(network.transport(), fault);
        let outcome = Check::LateCandidates.run(make(), make(), &settings).await;
        assert_eq!(outcome.is_ok(), passes, "{fault:?}: {outcome:?}");
    }
}

/// A backend like a browser's, which cannot make the other side wait, keeps what it promises instead.
#[tokio::test(start_paused = true)]
async fn a_backend_without_back_pressure_passes() {
    let network = MemoryNetwork::new(8);
    let make = || Unwaiting::new(network.transport(), Flaw::None);
    let settings = Settings::default();
    let running = conformance::run(async || (make() as _, make() as _), &settings);
    let report = timeout(GUARD, running).await.expect("it hangs");
    assert!(report.passed(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn what_a_backend_without_back_pressure_promises_is_checked() {
    for flaw in [Flaw::HoldsEverything, Flaw::LeavesAGap, Flaw::SaysFailed, Flaw::DropsHeld, Flaw::KeepsOpen] {
        for check in [Check::StalledReaderIsBounded, Check::StallsAlone] {
            let network = MemoryNetwork::new(9);
            let make = || Unwaiting::new(network.transport(), flaw);
            let outcome = check.run(make(), make(), &Settings::default()).await;
            assert!(outcome.is_err(), "{check} did not find anything wrong with {flaw:?}");
        }
    }
}

/// With small frames alone, which come in one piece, this fault cannot be seen.
#[tokio::test(start_paused = true)]
async fn only_large_frames_show_a_receiver_that_loses_pieces() {
    let network = MemoryNetwork::new(5);
    let make = || Broken::new(network.transport(), Fault::LosesPieces);
    Check::CancelledRecv.run(make(), make(), &Settings::default()).await.unwrap();
    Check::CancelledLargeRecv.run(make(), make(), &Settings::default()).await.unwrap_err();
}

/// A check whose transports are never made shows by name; so does one that fails, when it does.
#[tokio::test(start_paused = true)]
async fn progress_names_what_fails_and_what_hangs() {
    let network = MemoryNetwork::new(7);
    let broken = || Broken::new(network.transport(), Fault::ConstantLabel);
    let made = Cell::new(0);
    let make = async || {
        if made.replace(made.get() + 1) == 3 {
            pending::<()>().await;
        }
        (broken() as _, broken() as _)
    };
    let mut lines = Vec::new();
    let settings = Settings::default();
    let running = conformance::run_with(make, &settings, |progress| lines.push(progress.to_string()));
    timeout(GUARD, running).await.unwrap_err();
    let total = Check::ALL.len();
    let starts = |check: Check, number: usize| format!("{number:>2}/{total} {check} …");
    assert_eq!(lines.len(), 7, "{lines:#?}");
    assert_eq!(lines[0], starts(Check::Connects, 1));
    assert!(lines[1].starts_with(&format!(" 1/{total} connects ok after ")), "{}", lines[1]);
    assert_eq!(lines[4], starts(Check::LabelsDiffer, 3));
    assert!(lines[5].starts_with(&format!(" 3/{total} labels_differ FAILED after ")), "{}", lines[5]);
    assert!(lines[5].ends_with("two connections have the label \"p2pt\""), "{}", lines[5]);
    assert_eq!(lines[6], starts(Check::FingerprintsAgree, 4));
}

#[tokio::test(start_paused = true)]
async fn the_report_names_what_failed() {
    let network = MemoryNetwork::new(6);
    let broken = || Broken::new(network.transport(), Fault::ConstantLabel);
    let make = async || (broken() as _, broken() as _);
    let report = conformance::run(make, &Settings::default()).await;
    let failed: Vec<_> = report.failures().map(|failure| failure.check).collect();
    assert_eq!(failed, [Check::LabelsDiffer]);
    let text = report.to_string();
    assert!(text.contains("FAILED labels_differ"), "{text}");
    assert!(text.contains("two connections have the label \"p2pt\""), "{text}");
}
