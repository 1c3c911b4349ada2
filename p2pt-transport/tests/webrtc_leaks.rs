//! Nothing a WebRTC transport makes outlives its connections. Alone in its process, where tasks and descriptors can be
//! counted.
#![cfg(all(feature = "webrtc", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{future::Future, time::Duration};

use p2pt_transport::{
    Channel, Transport,
    webrtc::{WebRtc, WebRtcConfig},
};

/// The sockets of a transport for each local address.
const MAX_SETS: usize = 8;

/// How many connections are made in each way.
const CONNECTIONS: usize = 200;

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), future).await.expect("in time")
}

/// The tasks of this runtime and the descriptors of this process.
fn held() -> (usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (tokio::runtime::Handle::current().metrics().num_alive_tasks(), descriptors)
}

/// Waits until no more is held than at the beginning. What a close has ended is freed a moment later by its scheduler.
async fn back_to(start: (usize, usize)) {
    let back = async {
        loop {
            let now = held();
            if now.0 <= start.0 && now.1 <= start.1 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), back).await.is_err() {
        panic!("held tasks and descriptors: {start:?} at the start, {:?} now", held());
    }
}

async fn connect(alice: &WebRtc, bob: &WebRtc) -> (Channel, Channel) {
    within(async {
        let offer = alice.offer().await.unwrap();
        let answer = bob.answer(offer.sdp()).await.unwrap();
        let sdp = answer.sdp().to_owned();
        let (a, b) = tokio::join!(offer.open(&sdp), answer.open());
        (a.unwrap(), b.unwrap())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_connections_closed_dropped_or_abandoned() {
    let before = held();
    let (alice, bob) = (WebRtc::new(WebRtcConfig::loopback()).unwrap(), WebRtc::new(WebRtcConfig::loopback()).unwrap());
    // Whatever the process makes once is made by the first.
    let (a, b) = connect(&alice, &bob).await;
    within(a.sender.close()).await;
    within(b.sender.close()).await;
    // A driver for each transport, whose sockets are at most eight and serve all connections.
    let start = (2, before.1 + 2 * MAX_SETS);
    back_to(start).await;

    for _ in 0..CONNECTIONS {
        let (a, b) = connect(&alice, &bob).await;
        within(a.sender.close()).await;
        drop(b);
    }
    back_to(start).await;

    for _ in 0..CONNECTIONS {
        drop(connect(&alice, &bob).await);
    }
    back_to(start).await;

    for round in 0..CONNECTIONS {
        let offer = within(alice.offer()).await.unwrap();
        match round % 4 {
            0 => drop(offer),
            1 => drop(within(bob.answer(offer.sdp())).await.unwrap()),
            2 => assert!(within(offer.open("no answer")).await.is_err()),
            // Cancelled somewhere on its way.
            _ => drop(tokio::time::timeout(Duration::from_micros(10 * round as u64), bob.answer(offer.sdp())).await),
        }
    }
    back_to(start).await;

    let pending = within(alice.offer()).await.unwrap();
    let open = connect(&alice, &bob).await;
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
    back_to(before).await;
    drop((pending, open));
}
