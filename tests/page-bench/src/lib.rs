//! What `p2pt bench` measures with, in a page: a measurer, a partner, and the hub of the memory test. They are the
//! counterparts of `tests/js/bench/core.mjs`, and speak the same protocol. The bundle is made by `tests/wasm/pages`.
#![cfg(target_family = "wasm")]

mod hub;
mod measure;
mod partner;

// The protocol and the arithmetic are the program's own files, so that both say and count the same.
#[path = "../../../p2pt-cli/src/bench/protocol.rs"]
#[allow(dead_code, reason = "a page starts no nodes for others and sends no load that it has not been asked for")]
mod protocol;
#[path = "../../../p2pt-cli/src/bench/statistics.rs"]
mod statistics;
#[path = "../../../p2pt-cli/src/bench/tally.rs"]
mod tally;
#[path = "../../../p2pt-cli/src/bench/usage.rs"]
#[allow(dead_code, reason = "a page does not learn what it costs")]
mod usage;

use std::time::Duration;

use js_sys::Function;
use p2pt::{Builder, P2pt, WebRtcConfig};
use serde::Deserialize;
use wasm_bindgen::prelude::*;

pub use hub::Hub;

/// How a page is to measure or to be measured: the options of `tests/js/bench/arguments.mjs`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    tracker: String,
    identifier: String,
    /// The tests that run; all of them if it is empty.
    #[serde(default)]
    only: Vec<String>,
    connects: usize,
    round_trips: usize,
    messages: u64,
    texts: usize,
    megabytes: usize,
    deadline_ms: u64,
    /// The partner is in the same browser, so that its processor time is counted already.
    #[serde(default)]
    partner_shares: bool,
}

impl Options {
    fn parse(options: &str) -> Result<Self, JsError> {
        console_error_panic_hook::set_once();
        Ok(serde_json::from_str(options)?)
    }

    fn wants(&self, test: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == test)
    }

    fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    /// A node as the program's own: without servers, and with the deadline of a test instead of those of the library.
    fn builder(&self) -> Builder {
        let webrtc = WebRtcConfig::default().without_ice_servers();
        P2pt::builder()
            .trackers([self.tracker.as_str()])
            .webrtc(webrtc)
            .request_timeout(self.deadline())
            .send_timeout(self.deadline())
    }
}

/// Starts a partner, and resolves when the tracker knows it. It serves as long as the page is there.
#[wasm_bindgen]
pub async fn serve(options: String) -> Result<(), JsError> {
    Ok(partner::serve(&Options::parse(&options)?).await?)
}

/// Measures with a partner that is there, and returns the figures as JSON. `cpu_us` resolves to the processor time that
/// the whole browser has taken, in microseconds; `say` is called with the name of each test that begins.
#[wasm_bindgen]
pub async fn measure(options: String, cpu_us: Function, say: Function) -> Result<String, JsError> {
    let figures = measure::run(&Options::parse(&options)?, &cpu_us, &say).await?;
    Ok(serde_json::to_string(&figures)?)
}

/// Starts the node whose memory is measured, and resolves when the tracker knows it.
#[wasm_bindgen]
pub async fn hub(options: String) -> Result<Hub, JsError> {
    Ok(Hub::start(&Options::parse(&options)?).await?)
}

/// Starts nodes one after the other, each of which meets the hub of this id and no other peer, and resolves when all have
/// met it. They stay as long as the page does.
#[wasm_bindgen]
pub async fn visit(options: String, hub: String, count: usize) -> Result<(), JsError> {
    Ok(hub::visit(&Options::parse(&options)?, hub.parse()?, count).await?)
}
