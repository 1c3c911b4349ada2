//! What the browser's `getStats` says of a connection.

use std::time::Duration;

use js_sys::Function;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::RtcPeerConnection;

use super::{description::CandidateTypes, liveness::Counters};

#[wasm_bindgen]
extern "C" {
    /// One entry of a report, of any kind: what it does not have is absent.
    #[wasm_bindgen(extends = js_sys::Object)]
    type Entry;
    #[wasm_bindgen(method, getter, structural, js_name = type)]
    fn kind(this: &Entry) -> Option<String>;
    #[wasm_bindgen(method, getter, structural)]
    fn id(this: &Entry) -> Option<String>;
    #[wasm_bindgen(method, getter, structural)]
    fn state(this: &Entry) -> Option<String>;
    #[wasm_bindgen(method, getter, structural, js_name = candidateType)]
    fn candidate_type(this: &Entry) -> Option<String>;
    #[wasm_bindgen(method, getter, structural, js_name = selectedCandidatePairId)]
    fn selected_pair(this: &Entry) -> Option<String>;
    #[wasm_bindgen(method, getter, structural)]
    fn selected(this: &Entry) -> Option<bool>;
    #[wasm_bindgen(method, getter, structural, js_name = localCandidateId)]
    fn local_candidate(this: &Entry) -> Option<String>;
    #[wasm_bindgen(method, getter, structural, js_name = remoteCandidateId)]
    fn remote_candidate(this: &Entry) -> Option<String>;
    #[wasm_bindgen(method, getter, structural, js_name = currentRoundTripTime)]
    fn round_trip(this: &Entry) -> Option<f64>;
    #[wasm_bindgen(method, getter, structural, js_name = bytesReceived)]
    fn bytes_received(this: &Entry) -> Option<f64>;
    #[wasm_bindgen(method, getter, structural, js_name = requestsReceived)]
    fn requests_received(this: &Entry) -> Option<f64>;
    #[wasm_bindgen(method, getter, structural, js_name = responsesReceived)]
    fn responses_received(this: &Entry) -> Option<f64>;
    #[wasm_bindgen(method, getter, structural, js_name = lastPacketReceivedTimestamp)]
    fn last_received(this: &Entry) -> Option<f64>;
    #[wasm_bindgen(method, getter, structural, js_name = requestsSent)]
    fn requests_sent(this: &Entry) -> Option<f64>;
    #[wasm_bindgen(method, getter, structural, js_name = consentRequestsSent)]
    fn consent_requests_sent(this: &Entry) -> Option<f64>;
}

/// A report, as far as it is used.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    /// The types of all candidates of this side.
    pub(super) local: CandidateTypes,
    /// Those of the other side.
    pub(super) remote: CandidateTypes,
    /// The type of this side's candidate of the pair in use.
    pub(super) selected_local: Option<String>,
    /// The type of the other side's.
    pub(super) selected_remote: Option<String>,
    /// The types of both candidates of each pair on which a check was answered, once for each two types.
    pub(super) working_pairs: Vec<(String, String)>,
    /// The last measured round trip of that pair.
    pub(super) round_trip: Option<Duration>,
    /// What has arrived, and what was asked; whether the path is disconnected is not said here.
    pub(super) counters: Counters,
}

/// A count, which JavaScript has as a number with a fraction.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn whole(number: Option<f64>) -> u64 {
    number.unwrap_or(0.0) as u64
}

/// Whether the browser's network thread has opened the channel. `None` where the browser does not say.
pub(super) async fn is_channel_open(pc: &RtcPeerConnection) -> Option<bool> {
    let entries = entries(&JsFuture::from(pc.get_stats()).await.ok()?)?;
    let channel = entries.iter().find(|entry| entry.kind().as_deref() == Some("data-channel"))?;
    channel.state().map(|state| state == "open")
}

/// Asks the browser. Nothing where it does not answer with a report.
pub(super) async fn report(pc: &RtcPeerConnection) -> Option<Report> {
    let entries = entries(&JsFuture::from(pc.get_stats()).await.ok()?)?;
    let candidate_type = |id: Option<String>| {
        let id = id?;
        entries.iter().find(|entry| entry.id().as_deref() == Some(&id))?.candidate_type()
    };
    let mut report = Report::default();
    let (mut selected_id, mut pairs) = (None, Vec::new());
    for entry in &entries {
        match entry.kind().as_deref() {
            Some("local-candidate") => {
                entry.candidate_type().into_iter().for_each(|name| report.local.insert(name));
            }
            Some("remote-candidate") => {
                entry.candidate_type().into_iter().for_each(|name| report.remote.insert(name));
            }
            Some("transport") => selected_id = selected_id.or(entry.selected_pair()),
            Some("candidate-pair") => pairs.push(entry),
            _ => {}
        }
    }
    for pair in &pairs {
        let arrived =
            [pair.bytes_received(), pair.requests_received(), pair.responses_received(), pair.last_received()];
        // The sum wraps for no counter there is, and only its change counts.
        report.counters.arrived =
            arrived.into_iter().fold(report.counters.arrived, |sum, counter| sum.wrapping_add(whole(counter)));
        if pair.state().as_deref() == Some("succeeded")
            && let (Some(local), Some(remote)) =
                (candidate_type(pair.local_candidate()), candidate_type(pair.remote_candidate()))
            && !report.working_pairs.contains(&(local.clone(), remote.clone()))
        {
            report.working_pairs.push((local, remote));
        }
        if pair.requests_sent().is_some() {
            let sent = whole(pair.requests_sent()) + whole(pair.consent_requests_sent());
            report.counters.checks = Some(report.counters.checks.unwrap_or(0) + sent);
        }
    }
    let is_selected = |pair: &&&Entry| match &selected_id {
        Some(id) => pair.id().as_ref() == Some(id),
        // Firefox says it so.
        None => pair.selected() == Some(true),
    };
    if let Some(pair) = pairs.iter().find(is_selected) {
        report.selected_local = candidate_type(pair.local_candidate());
        report.selected_remote = candidate_type(pair.remote_candidate());
        let seconds = pair.round_trip().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
        report.round_trip = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    }
    Some(report)
}

/// The entries of a report, which is like a map: it has its methods, and is none.
fn entries(report: &JsValue) -> Option<Vec<Entry>> {
    let values = js_sys::Reflect::get(report, &"values".into()).ok()?.dyn_into::<Function>().ok()?;
    let values = values.call0(report).ok()?;
    let array = js_sys::Array::from(&values);
    Some(array.iter().map(|entry| entry.unchecked_into()).collect())
}
