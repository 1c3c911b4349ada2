//! Paths with delay and loss, and what goes over them.

use tokio::time::Instant;

use super::*;

/// Round trips from two descriptions to an open channel: one for the checks, three for DTLS with its cookie, and one each
/// for the two halves of SCTP's handshake.
const ROUND_TRIPS: u32 = 6;

#[tokio::test(start_paused = true)]
async fn an_opening_takes_its_round_trips_and_no_time_besides() {
    for round_trip in [20, 100, 400] {
        let internet = Internet::new(1);
        let [(_, alice), (_, bob)] = pair(&internet, line(round_trip));
        let begin = Instant::now();
        let (mut a, mut b) = connect(&alice, &bob).await;
        let took = begin.elapsed();
        println!("{round_trip} ms: {took:?}");
        assert!(took <= ms(round_trip) * ROUND_TRIPS + GRAIN * 8, "{took:?} at {round_trip} ms");
        carries(&mut a, &mut b).await;
        shut_down([&alice, &bob]).await;
    }
}

/// Of each part of the handshakes, some copy is lost with some seed: whichever it is, both sides go on.
#[tokio::test(start_paused = true)]
async fn loss_delays_an_opening_and_does_not_prevent_it() {
    for (loss, round_trip, seeds) in [(0.02, 20, 100), (0.02, 400, 20), (0.1, 20, 40), (0.1, 100, 40)] {
        let mut slowest = Duration::ZERO;
        for seed in 0..seeds {
            let internet = Internet::new(seed);
            // Each way takes two lines.
            let [(_, alice), (_, bob)] = pair(&internet, line(round_trip).loss(loss / 2.0));
            let begin = Instant::now();
            let (mut a, mut b) = connect(&alice, &bob).await;
            slowest = slowest.max(begin.elapsed());
            carries(&mut a, &mut b).await;
            shut_down([&alice, &bob]).await;
        }
        println!("loss {loss}, {round_trip} ms: at most {slowest:?}");
        assert!(slowest < Duration::from_secs(15), "{slowest:?} at a loss of {loss} and {round_trip} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bulk_transfer_with_loss_arrives_whole() {
    let internet = Internet::new(2);
    let [(host, alice), (_, bob)] = pair(&internet, line(20).loss(0.0025));
    let (mut a, mut b) = connect(&alice, &bob).await;
    let begin = Instant::now();
    transfer(&mut a, &mut b, 64, 64 << 10).await;
    println!("4 MiB with a loss of 0.5 % after {:?}", begin.elapsed());
    assert!(host.counters().lost > 5, "{:?}", host.counters());
    within(a.sender.close()).await;
    assert_eq!(within(b.receiver.recv()).await, Err(ChannelClosed::Remote));
    assert_eq!(a.sender.unacknowledged_bytes(), 0);
    shut_down([&alice, &bob]).await;
}

#[tokio::test(start_paused = true)]
async fn jitter_that_reorders_harms_nothing() {
    let internet = Internet::new(3);
    let [(_, alice), (_, bob)] = pair(&internet, line(20).jitter(ms(10)));
    let (mut a, mut b) = connect(&alice, &bob).await;
    transfer(&mut a, &mut b, 300, 3000).await;
    transfer(&mut b, &mut a, 300, 3000).await;
    shut_down([&alice, &bob]).await;
}

/// Two swarms that meet at once and offers that cross: 30 connections between the same two transports.
#[tokio::test(start_paused = true)]
async fn thirty_openings_at_once_between_the_same_two_transports_all_succeed() {
    let internet = Internet::new(4);
    let [(_, alice), (_, bob)] = pair(&internet, line(20));
    let openings = (0..30).map(|number| {
        let (from, to) = if number % 2 == 0 { (&alice, &bob) } else { (&bob, &alice) };
        open(from, to, ms(10))
    });
    let opened = futures_join(openings.collect()).await;
    let mut channels: Vec<_> = opened.into_iter().map(|(a, b)| (a.unwrap(), b.unwrap())).collect();
    assert_eq!(channels.len(), 30);
    for (a, b) in &mut channels {
        carries(a, b).await;
    }
    shut_down([&alice, &bob]).await;
}

async fn futures_join<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut is_waiting = false;
        for (future, result) in running.iter_mut().filter(|(_, result)| result.is_none()) {
            match future.as_mut().poll(cx) {
                std::task::Poll::Ready(done) => *result = Some(done),
                std::task::Poll::Pending => is_waiting = true,
            }
        }
        if is_waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|(_, result)| result).collect()
}

#[cfg(feature = "conformance")]
#[tokio::test(start_paused = true)]
async fn the_promises_of_the_trait_are_kept() {
    use p2pt_transport::conformance::{self, Settings};

    let internet = Internet::new(5);
    let make = async || {
        let make = || std::sync::Arc::new(transport(&internet.host(line(20)).unwrap()));
        (make() as _, make() as _)
    };
    let begin = Instant::now();
    let (settings, mut last) = (Settings::default(), String::new());
    let running = conformance::run_with(make, &settings, |progress| last = progress.to_string());
    let Ok(report) = timeout(GUARD, running).await else { panic!("it hangs: {last}") };
    println!("{:?} of virtual time", begin.elapsed());
    assert!(report.passed(), "{report}");
}
