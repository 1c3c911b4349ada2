//! Servers that are of no use, and what is said of them.

use p2pt_transport::{ServerProblem, Transport as _};
use tokio::time::{Instant, sleep};

use super::*;

/// The URLs and problems of the warnings that come in a time.
async fn warnings(transport: &WebRtc, time: Duration) -> Vec<(String, ServerProblem)> {
    let until = Instant::now() + time;
    let mut warnings = Vec::new();
    while let Ok(warning) = tokio::time::timeout_at(until, transport.warning()).await {
        warnings.push((warning.url, warning.problem));
    }
    warnings.sort_by(|one, other| one.0.cmp(&other.0));
    warnings
}

#[tokio::test(start_paused = true)]
async fn each_server_that_is_of_no_use_is_warned_of_once_however_many_offers_want_it() {
    let internet = Internet::new(1);
    let good = internet.stun_server().unwrap();
    let host = internet.host(line(20)).unwrap();
    let servers = [
        IceServer::stun(format!("stun:{good}")),
        IceServer::stun("stun:192.0.2.99"),
        IceServer::stun("stun:no.such.example"),
        IceServer::turn("turn:192.0.2.98", "user", "word"),
        // It is no relay, and does not answer what asks for one.
        IceServer::turn(format!("turn:{good}"), "user", "word"),
    ];
    let transport = transport_with(&host, WebRtcConfig::default().ice_servers(servers));
    let mut offers = Vec::new();
    for _ in 0..5 {
        offers.push(within(transport.offer()).await.unwrap());
    }
    let mut expected = vec![
        ("stun:192.0.2.99".to_owned(), ServerProblem::Silent),
        ("stun:no.such.example".to_owned(), ServerProblem::NoAddress),
        ("turn:192.0.2.98".to_owned(), ServerProblem::Silent),
        (format!("turn:{good}"), ServerProblem::Silent),
    ];
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(warnings(&transport, ms(20_000)).await, expected);
    for _ in 0..20 {
        offers.push(within(transport.offer()).await.unwrap());
        sleep(ms(30_000)).await;
    }
    assert_eq!(warnings(&transport, ms(60_000)).await, [], "once is enough");
    drop(offers);
    transport.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_warning_waits_until_it_is_asked_for() {
    let internet = Internet::new(1);
    let host = internet.host(line(20)).unwrap();
    let transport = asking(&host, "192.0.2.99:3478".parse().unwrap());
    let offer = within(transport.offer()).await.unwrap();
    sleep(ms(10_000)).await;
    assert!(timeout(ms(1), async { drop(transport.warning()) }).await.is_ok());
    assert_eq!(within(transport.warning()).await.url, "stun:192.0.2.99:3478");
    drop(offer);
    transport.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_pairs_that_work_are_in_the_numbers_of_a_channel() {
    let internet = Internet::new(1);
    let [(_, alice), (_, bob)] = pair(&internet, line(20));
    let (a, b) = connect(&alice, &bob).await;
    for channel in [a, b] {
        let stats = channel.sender.stats().await;
        let selected = (stats.local_candidate.unwrap(), stats.remote_candidate.unwrap());
        assert!(stats.working_pairs.contains(&selected), "{selected:?} is not among {:?}", stats.working_pairs);
    }
}
