//! The browser backend in a browser: what the conformance suite does not ask.
//!
//! Run by `wasm-bindgen-test-runner` in a headless browser.
#![cfg(target_family = "wasm")]

use std::{sync::Arc, time::Duration};

use p2pt_rt::{JoinSet, now, timeout};
use p2pt_transport::{
    Channel, ChannelClosed, Frame, PendingAnswer, PendingOffer, Transport,
    web::{WebRtc, WebRtcConfig},
};
use wasm_bindgen_test::*;

wasm_bindgen_test_configure!(run_in_browser);

/// Longer than anything here takes.
const GUARD: Duration = Duration::from_secs(60);

fn config() -> WebRtcConfig {
    WebRtcConfig::default().without_ice_servers()
}

fn transport() -> WebRtc {
    WebRtc::new(config()).expect("a browser with WebRTC")
}

async fn guarded<T>(future: impl Future<Output = T>) -> T {
    timeout(GUARD, future).await.expect("it hangs")
}

async fn describe(a: &WebRtc, b: &WebRtc) -> (Box<dyn PendingOffer>, Box<dyn PendingAnswer>) {
    let offer = a.offer().await.unwrap();
    let answer = b.answer(offer.sdp()).await.unwrap();
    (offer, answer)
}

async fn connect(a: &WebRtc, b: &WebRtc) -> (Channel, Channel) {
    let (offer, answer) = describe(a, b).await;
    let sdp = answer.sdp().to_owned();
    let (a, b) = tokio::join!(offer.open(&sdp), answer.open());
    (a.unwrap(), b.unwrap())
}

#[wasm_bindgen_test]
async fn two_connect_talk_and_leave() {
    guarded(async {
        let (alice, bob) = (transport(), transport());
        let started = now();
        let (mut a, mut b) = connect(&alice, &bob).await;
        console_log!("connected after {:?}", started.elapsed());
        a.sender.send(Frame::text("hello")).await.unwrap();
        assert_eq!(b.receiver.recv().await.unwrap(), Frame::text("hello"));
        b.sender.send(Frame::binary("and back")).await.unwrap();
        assert_eq!(a.receiver.recv().await.unwrap(), Frame::binary("and back"));
        let stats = a.sender.stats().await;
        console_log!("{stats:?}");
        assert_eq!((stats.bytes_sent, stats.bytes_received), (5, 8));
        assert!(stats.round_trip.is_some() && stats.local_candidate.is_some() && stats.remote_candidate.is_some());
        a.sender.close().await;
        assert_eq!(b.receiver.recv().await, Err(ChannelClosed::Remote));
        tokio::join!(alice.shutdown(), bob.shutdown());
    })
    .await;
}

/// Chromium counts closed connections among its 500 until they are collected.
#[wasm_bindgen_test]
async fn more_connections_than_a_browser_makes_come_one_after_the_other() {
    guarded(async {
        let alice = Arc::new(transport());
        for batch in 0..11 {
            let begun = now();
            let mut offers = JoinSet::new();
            for _ in 0..100 {
                let alice = alice.clone();
                offers.spawn(async move { alice.offer().await.map(drop) });
            }
            while let Some(offer) = offers.join_next().await {
                offer.unwrap().unwrap();
            }
            console_log!("batch {batch} of 100 offers in {:?}", begun.elapsed());
        }
    })
    .await;
}
