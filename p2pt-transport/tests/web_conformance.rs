//! The conformance suite, put to the browser's WebRTC in a browser.
#![cfg(all(feature = "conformance", target_family = "wasm"))]

use std::{sync::Arc, time::Duration};

use p2pt_transport::{
    Transport,
    conformance::{self, Check, CheckState, Settings},
    web::{WebRtc, WebRtcConfig, held},
};
use wasm_bindgen_test::*;

wasm_bindgen_test_configure!(run_in_browser);

/// It gives up early, for checks that a connection fails take as long as it waits.
fn transport() -> Arc<dyn Transport> {
    let config = WebRtcConfig::default()
        .without_ice_servers()
        .connect_timeout(Duration::from_secs(4))
        .receive_buffer_bytes(8 << 20);
    Arc::new(WebRtc::new(config).expect("a browser with WebRTC"))
}

#[wasm_bindgen_test]
async fn web_passes() {
    let make = async || (transport(), transport());
    let report = conformance::run_with(make, &Settings::default(), |progress| {
        if let CheckState::Ended { .. } = progress.state {
            console_log!("{progress}");
        }
    })
    .await;
    assert!(report.passed(), "{report}");
    assert_eq!((held().connections, held().listeners), (0, 0));
}

/// How often the checks are repeated that once failed now and then: 20 times, or as `P2PT_WEB_REPEATS` said at compile time.
fn repeats() -> usize {
    option_env!("P2PT_WEB_REPEATS").and_then(|repeats| repeats.parse().ok()).unwrap_or(20)
}

async fn passes_every_time(check: Check) {
    let settings = Settings::default();
    for round in 1..=repeats() {
        let (a, b) = (transport(), transport());
        if let Err(failure) = check.run(a.clone(), b.clone(), &settings).await {
            panic!("in round {round}: {failure}");
        }
        tokio::join!(a.shutdown(), b.shutdown());
    }
}

#[wasm_bindgen_test]
async fn one_half_is_enough_every_time() {
    passes_every_time(Check::OneHalfIsEnough).await;
}

#[wasm_bindgen_test]
async fn try_send_is_full_every_time() {
    passes_every_time(Check::TrySendIsFull).await;
}
