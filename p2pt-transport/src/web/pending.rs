//! Connections that are described, wait for their other side, and open.

use std::{cell::Cell, fmt, rc::Rc, sync::Arc, time::Duration};

use async_trait::async_trait;
use p2pt_rt::{AbortHandle, now, sleep, timeout, timeout_at};
use send_wrapper::SendWrapper;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{RtcDataChannel, RtcIceGatheringState, RtcPeerConnection, RtcSdpType, RtcSessionDescriptionInit};

use super::{
    common::{Common, Place},
    connection::{Connection, Phase, backend_error},
    description::{self, CandidateTypes},
    halves,
    late::{Late, LateHandle},
    opening::{Opening, Outcome},
    stats,
};
use crate::{
    Channel, ChannelClosed, ChannelInfo, Fingerprint, PendingAnswer, PendingOffer, RemoteCandidates, Role,
    TransportError,
};

/// Frames up to this size make bulk transfers faster, in bytes: each crosses into JavaScript and back.
const GOOD_FRAME_BYTES: usize = 65_536;

/// How often is asked whether the browser's network thread has opened a channel. Chromium makes no new report for 50 ms.
const NETWORK_THREAD_POLL: Duration = Duration::from_millis(10);

/// How long is waited for it. It is a matter of milliseconds.
const NETWORK_THREAD_TIMEOUT: Duration = Duration::from_secs(2);

#[wasm_bindgen]
extern "C" {
    /// What `web-sys` lacks of the browser's connection.
    #[wasm_bindgen(extends = RtcPeerConnection)]
    type PeerConnection;
    /// It can throw.
    #[wasm_bindgen(method, catch, js_name = createDataChannel)]
    fn try_create_data_channel(this: &PeerConnection, label: &str) -> Result<RtcDataChannel, JsValue>;
    #[wasm_bindgen(method, getter)]
    fn sctp(this: &PeerConnection) -> Option<SctpTransport>;

    type SctpTransport;
    #[wasm_bindgen(method, getter, js_name = maxMessageSize)]
    fn max_message_size(this: &SctpTransport) -> Option<f64>;
}

/// A connection that is not open. Dropping it closes the connection.
pub(super) struct Pending {
    connection: Rc<Connection>,
    sdp: String,
    /// The other side's description.
    remote: String,
    role: Role,
    late: Rc<Late>,
    /// Gives up an offer that no answer comes to.
    expiry: Option<AbortHandle>,
    has_expired: Rc<Cell<bool>>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("role", &self.role)
            .field("connection", &self.connection.number)
            .field("candidates", &CandidateTypes::of(&self.sdp).to_string())
            .finish_non_exhaustive()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(expiry) = self.expiry.take() {
            expiry.abort();
        }
        if self.connection.phase.get() == Phase::Opening {
            self.connection.close(ChannelClosed::Local);
        }
    }
}

impl Pending {
    /// An offer.
    pub(super) async fn offer(common: &Rc<Common>) -> Result<Self, TransportError> {
        let mut pending = Self::new(common.connect(Place::Offer).await?, Role::Offerer);
        let connection = pending.connection.clone();
        let label: String = rand::random::<[u8; 16]>().iter().map(|byte| format!("{byte:02x}")).collect();
        let pc: &PeerConnection = connection.pc.unchecked_ref();
        connection.adopt(pc.try_create_data_channel(&label).map_err(|error| backend_error(&error))?);
        let offer = pending.done("making an offer", connection.pc.create_offer()).await?;
        pending.gather(&offer).await?;
        let (weak, has_expired) = (Rc::downgrade(&connection), pending.has_expired.clone());
        let answer_timeout = common.config.answer_timeout;
        let expiry = p2pt_rt::spawn(async move {
            p2pt_rt::sleep(answer_timeout).await;
            if let Some(connection) = weak.upgrade() {
                has_expired.set(true);
                connection.close(ChannelClosed::Local);
            }
        });
        pending.expiry = Some(expiry.abort_handle());
        Ok(pending)
    }

    /// An answer.
    pub(super) async fn answer(common: &Rc<Common>, offer_sdp: &str) -> Result<Self, TransportError> {
        let remote = description::admit(offer_sdp).map_err(|why| TransportError::InvalidSdp(why.to_owned()))?;
        let mut pending = Self::new(common.connect(Place::Connection).await?, Role::Answerer);
        pending.connection.await_channel();
        pending.set_remote(RtcSdpType::Offer, &remote).await?;
        let answer = pending.done("making an answer", pending.connection.pc.create_answer()).await?;
        pending.gather(&answer).await?;
        Ok(pending)
    }

    fn new(connection: Rc<Connection>, role: Role) -> Self {
        let late = Rc::new(Late::new(&connection));
        let (sdp, remote) = (String::new(), String::new());
        Self { connection, sdp, remote, role, late, expiry: None, has_expired: Rc::default() }
    }

    /// Why the connection was closed before it was open.
    fn closed(&self) -> TransportError {
        let config = &self.connection.common.config;
        match () {
            () if self.has_expired.get() => {
                TransportError::Timeout { step: "waiting for the answer", after: config.answer_timeout }
            }
            () if self.connection.common.is_shut_down() => TransportError::ShutDown,
            () => TransportError::ClosedEarly,
        }
    }

    /// What a promise of the browser comes to. Those of a connection that has been closed are never kept.
    async fn done(&self, step: &'static str, promise: js_sys::Promise) -> Result<JsValue, TransportError> {
        let after = self.connection.common.config.connect_timeout;
        let mut finished = self.connection.await_finished();
        tokio::select! {
            biased;
            _ = finished.wait_for(|finished| *finished) => Err(self.closed()),
            done = timeout(after, JsFuture::from(promise)) => match done {
                Ok(done) => done.map_err(|error| backend_error(&error)),
                Err(_) => Err(TransportError::Timeout { step, after }),
            },
        }
    }

    /// Sets this side's description, and waits for the addresses to be reached at.
    async fn gather(&mut self, local: &JsValue) -> Result<(), TransportError> {
        let pc = self.connection.pc.clone();
        self.done("setting the description", pc.set_local_description(local.unchecked_ref())).await?;
        let config = &self.connection.common.config;
        let deadline = now() + config.gather_timeout;
        while pc.ice_gathering_state() != RtcIceGatheringState::Complete
            && self.connection.phase.get() == Phase::Opening
        {
            // What has been found by then is offered.
            if timeout_at(deadline, self.connection.changed.notified()).await.is_err() {
                break;
            }
        }
        if self.connection.phase.get() != Phase::Opening {
            return Err(self.closed());
        }
        let sdp = pc.local_description().map(|description| description.sdp()).unwrap_or_default();
        if CandidateTypes::of(&sdp).is_empty() {
            return Err(TransportError::NoCandidate);
        }
        self.sdp = description::announce(&sdp, config.max_frame_bytes);
        tracing::debug!(
            connection = self.connection.number, candidates = %CandidateTypes::of(&sdp), role = ?self.role, "described"
        );
        Ok(())
    }

    async fn set_remote(&mut self, kind: RtcSdpType, sdp: &str) -> Result<(), TransportError> {
        sdp.clone_into(&mut self.remote);
        let description = RtcSessionDescriptionInit::new(kind);
        description.set_sdp(sdp);
        let set = self.done("reading the description", self.connection.pc.set_remote_description(&description)).await;
        set.map_err(|error| match error {
            // The browser has nothing else against it.
            TransportError::Backend(error) => TransportError::InvalidSdp(error.to_string()),
            other => other,
        })?;
        self.late.begin();
        Ok(())
    }

    /// Waits until the channel is open.
    async fn open(mut self) -> Result<Channel, TransportError> {
        let connection = self.connection.clone();
        let config = &connection.common.config;
        let mut opening = Opening::new(now(), config.connect_timeout);
        loop {
            if connection.phase.get() != Phase::Opening {
                return Err(self.closed());
            }
            let until = match opening.judge(now(), connection.seen()) {
                Outcome::Open => break,
                Outcome::Pending(until) => until,
                Outcome::NoPath => return Err(self.no_path().await),
                Outcome::NoSession => return Err(TransportError::SessionFailed),
                Outcome::ClosedEarly => return Err(TransportError::ClosedEarly),
                Outcome::TimedOut => {
                    return Err(TransportError::Timeout { step: "opening the channel", after: config.connect_timeout });
                }
            };
            let _ = timeout_at(until, connection.changed.notified()).await;
        }
        if self.role == Role::Answerer {
            self.await_network_thread().await;
        }
        let label = connection.channel.borrow().as_ref().map(RtcDataChannel::label).unwrap_or_default();
        let mut info = ChannelInfo::new(label, self.role, self.max_frame_bytes());
        info.good_frame_bytes = info.max_frame_bytes.min(GOOD_FRAME_BYTES);
        info.local_fingerprint = Fingerprint::from_sdp(&self.sdp);
        info.remote_fingerprint = Fingerprint::from_sdp(&self.remote);
        connection.opened();
        self.expiry = None;
        tracing::debug!(connection = connection.number, "channel open");
        let (sender, receiver) = halves::split(connection, info.max_frame_bytes);
        Ok(Channel { info, sender: Arc::new(sender), receiver: Box::new(receiver) })
    }

    /// Waits until an answerer's channel is open indeed.
    ///
    /// Chromium 156 hands it over as open, and the thread that sends may not know of it yet: what is sent then is dropped
    /// without an error, and what is sent later arrives. Of 500 first frames on a busy machine it lost 2, in plain
    /// JavaScript too, and its own report counted none as sent. The event that the channel is open may come too soon as well.
    /// A report is made by that thread, after all that it has been told before; frames sent after one were not lost in 2,000
    /// openings.
    async fn await_network_thread(&self) {
        let opens = async {
            while stats::is_channel_open(&self.connection.pc).await == Some(false) {
                sleep(NETWORK_THREAD_POLL).await;
            }
        };
        let mut finished = self.connection.await_finished();
        tokio::select! {
            biased;
            _ = finished.wait_for(|finished| *finished) => {}
            _ = timeout(NETWORK_THREAD_TIMEOUT, opens) => {}
        }
    }

    /// The largest frame that both sides take.
    fn max_frame_bytes(&self) -> usize {
        let pc: &PeerConnection = self.connection.pc.unchecked_ref();
        let of_browser = pc.sctp().and_then(|sctp| sctp.max_message_size());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        let largest = match of_browser {
            Some(bytes) if bytes > 0.0 => bytes as usize,
            _ => description::max_message_bytes(&self.remote),
        };
        largest.min(self.connection.common.config.max_frame_bytes)
    }

    async fn no_path(&self) -> TransportError {
        let report = self.connection.report().await;
        let (mut local, mut remote) = (CandidateTypes::of(&self.sdp), CandidateTypes::of(&self.remote));
        local.extend(report.local);
        remote.extend(report.remote);
        TransportError::IceFailed { local: local.to_string(), remote: remote.to_string() }
    }
}

/// A [`Pending`] that may be moved wherever its owner likes, for there is but one thread.
#[derive(Debug)]
pub(super) struct Local(pub(super) SendWrapper<Pending>);

#[async_trait]
impl PendingOffer for Local {
    fn sdp(&self) -> &str {
        &self.0.sdp
    }

    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        Arc::new(LateHandle(SendWrapper::new(self.0.late.clone())))
    }

    async fn open(self: Box<Self>, answer_sdp: &str) -> Result<Channel, TransportError> {
        SendWrapper::new(async move {
            let mut pending = self.0.take();
            if pending.connection.phase.get() != Phase::Opening {
                return Err(pending.closed());
            }
            let answer = description::admit(answer_sdp).map_err(|why| TransportError::InvalidSdp(why.to_owned()))?;
            pending.connection.common.promote(pending.connection.number)?;
            if let Some(expiry) = pending.expiry.take() {
                expiry.abort();
            }
            pending.set_remote(RtcSdpType::Answer, &answer).await?;
            pending.open().await
        })
        .await
    }
}

#[async_trait]
impl PendingAnswer for Local {
    fn sdp(&self) -> &str {
        &self.0.sdp
    }

    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        Arc::new(LateHandle(SendWrapper::new(self.0.late.clone())))
    }

    async fn open(self: Box<Self>) -> Result<Channel, TransportError> {
        SendWrapper::new(async move { self.0.take().open().await }).await
    }
}
