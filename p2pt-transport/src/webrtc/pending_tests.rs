//! What becomes of an opening whose encrypted session exists.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rtc::peer_connection::transport::RTCDtlsTransportState;
use tokio::time::{Instant, timeout};
use webrtc::{
    data_channel::RTCDataChannelInit,
    peer_connection::{PeerConnection, RTCSessionDescription},
};

use super::{
    WebRtc, WebRtcConfig,
    connection::{Connection, session},
    pulse::Pulse,
};
use crate::{PendingAnswer, Role, Transport, TransportError};

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.expect("in time")
}

/// An answer whose session exists and whose channel will not come, and what holds its other side.
struct Waiting {
    transports: [WebRtc; 2],
    _offerer: Connection,
    stack: Arc<dyn PeerConnection>,
    pulse: Arc<Pulse>,
    answer: Box<dyn PendingAnswer>,
}

impl Waiting {
    /// The offerer has only a channel that both would have to know of, so the answerer never sees one.
    async fn new(config: WebRtcConfig) -> Self {
        let transports = [config.clone(), config].map(|config| WebRtc::new(config).unwrap());
        let deadline = Instant::now() + Duration::from_secs(1);
        let mut offerer = Connection::new(&transports[0].node, Role::Offerer, deadline).await.unwrap();
        let unheard = RTCDataChannelInit { negotiated: Some(7), ..Default::default() };
        let _channel = offerer.stack.create_data_channel("", Some(unheard)).await.unwrap();
        let offer = offerer.stack.create_offer(None).await.unwrap();
        let offer_sdp = offerer.describe(offer, deadline).await.unwrap();

        let answer = transports[1].prepare_answer(&offer_sdp).await.unwrap();
        offerer.set_remote(RTCSessionDescription::answer, &answer.sdp).await.unwrap();
        let (stack, pulse) = (answer.connection.stack.clone(), answer.connection.pulse.clone());
        let waiting = Self { transports, _offerer: offerer, stack, pulse, answer: Box::new(answer) };
        waiting.session_is(RTCDtlsTransportState::Connected).await;
        waiting
    }

    async fn session_is(&self, wanted: RTCDtlsTransportState) {
        within(async {
            loop {
                let passes = self.pulse.passes();
                if session(&*self.stack).await == Some(wanted) {
                    return;
                }
                self.pulse.passed(passes).await;
            }
        })
        .await;
    }

    async fn fails(self) -> TransportError {
        let failed = within(self.answer.open()).await.unwrap_err();
        within(async { tokio::join!(self.transports[0].shutdown(), self.transports[1].shutdown()) }).await;
        failed
    }
}

/// Longer than these tests wait for anything.
const NEVER: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_does_not_come_is_late() {
    let waiting = Waiting::new(WebRtcConfig::loopback().connect_timeout(Duration::from_secs(2))).await;
    let error = waiting.fails().await;
    assert!(matches!(error, TransportError::Deadline { step: "opening the channel", .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_closes_before_there_is_a_channel_has_closed_early() {
    let waiting = Waiting::new(WebRtcConfig::loopback().connect_timeout(NEVER).silence_timeout(NEVER)).await;
    let (offering, answering) = waiting.transports.into();
    let (failed, ()) = within(async { tokio::join!(waiting.answer.open(), offering.shutdown()) }).await;
    within(answering.shutdown()).await;
    let error = failed.unwrap_err();
    assert!(matches!(error, TransportError::ClosedEarly), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_gone_before_anyone_has_seen_it_was_closed_early() {
    let waiting = Waiting::new(WebRtcConfig::loopback().connect_timeout(NEVER).silence_timeout(NEVER)).await;
    within(waiting.transports[0].shutdown()).await;
    waiting.session_is(RTCDtlsTransportState::Closed).await;
    let error = waiting.fails().await;
    assert!(matches!(error, TransportError::ClosedEarly), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_vanishes_before_there_is_a_channel_is_not_waited_for() {
    let config = WebRtcConfig::loopback().connect_timeout(NEVER).silence_timeout(Duration::from_secs(1));
    let waiting = Waiting::new(config).await;
    waiting.pulse.resume.deaf.store(true, Ordering::Release);
    let error = waiting.fails().await;
    assert!(matches!(error, TransportError::ClosedEarly), "{error}");
}
