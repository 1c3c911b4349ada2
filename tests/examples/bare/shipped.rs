//! The `webrtc` crate as it comes: its own builder, runtime, sockets and back-pressure, and nothing set but the address
//! and the limit of what waits to be sent, without which nothing would hold a sender back.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use p2pt_transport::{
    Channel, ChannelClosed, ChannelInfo, Frame, FrameReceiver, FrameSender, LinkStats, PendingAnswer, PendingOffer,
    Role, SendFrameError, Transport, TransportError, TrySendAllError, TrySendFrameError,
};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState, RTCSessionDescription,
};

/// As much as this workspace's transport lets wait.
const SEND_BUFFER: usize = 2 << 20;

const PATIENCE: Duration = Duration::from_secs(40);

/// As many bytes as the crate takes in one message unless told otherwise.
const MAX_FRAME: usize = 65_536;

/// Just enough of a transport to be measured: one that never tries, never watches, and tells nothing of its links.
#[derive(Debug)]
pub(crate) struct AsShipped;

/// A connection that waits for the other side.
struct Pending {
    stack: Arc<dyn PeerConnection>,
    sdp: String,
    channels: mpsc::Receiver<Arc<dyn DataChannel>>,
}

struct Handler {
    gathered: watch::Sender<bool>,
    channels: mpsc::Sender<Arc<dyn DataChannel>>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathered.send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        // There is one, and room for one.
        let _ = self.channels.try_send(channel);
    }
}

impl Pending {
    /// Prepares an answer to this offer, or an offer.
    async fn new(offer_sdp: Option<&str>) -> Result<Self, TransportError> {
        let (gathered_in, mut gathered) = watch::channel(false);
        let (channels_in, channels) = mpsc::channel(1);
        let stack: Arc<dyn PeerConnection> = Arc::new(
            PeerConnectionBuilder::new()
                .with_handler(Arc::new(Handler { gathered: gathered_in, channels: channels_in.clone() }))
                .with_udp_addrs(vec![(Ipv4Addr::LOCALHOST, 0)])
                .with_data_channel_send_buffer_limit(SEND_BUFFER)
                .build()
                .await
                .map_err(backend)?,
        );
        let description = if let Some(offer_sdp) = offer_sdp {
            let offer = RTCSessionDescription::offer(offer_sdp.to_owned()).map_err(backend)?;
            stack.set_remote_description(offer).await.map_err(backend)?;
            stack.create_answer(None).await
        } else {
            let channel = stack.create_data_channel("bare", None).await.map_err(backend)?;
            let _ = channels_in.try_send(channel);
            stack.create_offer(None).await
        };
        stack.set_local_description(description.map_err(backend)?).await.map_err(backend)?;
        let complete = timeout(PATIENCE, gathered.wait_for(|gathered| *gathered)).await.is_ok_and(|all| all.is_ok());
        let described = stack.local_description().await;
        let sdp = described.filter(|_| complete).ok_or(late("gathering candidates"))?.sdp;
        Ok(Self { stack, sdp, channels })
    }

    async fn opened(mut self, role: Role) -> Result<Channel, TransportError> {
        let open = async {
            let channel = self.channels.recv().await.ok_or(TransportError::ClosedEarly)?;
            loop {
                match channel.poll().await {
                    Some(DataChannelEvent::OnOpen) => return Ok(channel),
                    Some(_) => {}
                    None => return Err(TransportError::ClosedEarly),
                }
            }
        };
        let channel = timeout(PATIENCE, open).await.map_err(|_| late("opening the channel"))??;
        Ok(Channel {
            info: ChannelInfo::new("bare", role, MAX_FRAME),
            sender: Arc::new(Sender { channel: Arc::clone(&channel), stack: self.stack }),
            receiver: Box::new(Receiver(channel)),
        })
    }
}

fn late(step: &'static str) -> TransportError {
    TransportError::Deadline { step, after: PATIENCE }
}

fn backend(error: webrtc::error::Error) -> TransportError {
    TransportError::Backend(Box::new(error))
}

#[async_trait]
impl Transport for AsShipped {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        Ok(Box::new(Pending::new(None).await?))
    }

    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        Ok(Box::new(Pending::new(Some(offer_sdp)).await?))
    }

    async fn shutdown(&self) {}
}

#[async_trait]
impl PendingOffer for Pending {
    fn sdp(&self) -> &str {
        &self.sdp
    }

    async fn open(self: Box<Self>, answer_sdp: &str) -> Result<Channel, TransportError> {
        let answer = RTCSessionDescription::answer(answer_sdp.to_owned()).map_err(backend)?;
        self.stack.set_remote_description(answer).await.map_err(backend)?;
        self.opened(Role::Offerer).await
    }
}

#[async_trait]
impl PendingAnswer for Pending {
    fn sdp(&self) -> &str {
        &self.sdp
    }

    async fn open(self: Box<Self>) -> Result<Channel, TransportError> {
        self.opened(Role::Answerer).await
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

struct Sender {
    channel: Arc<dyn DataChannel>,
    stack: Arc<dyn PeerConnection>,
}

#[async_trait]
impl FrameSender for Sender {
    async fn send(&self, frame: Frame) -> Result<(), SendFrameError> {
        let sent = match &frame {
            Frame::Text(text) => {
                let text = std::str::from_utf8(text).map_err(|_| SendFrameError::NotUtf8)?;
                self.channel.send_text(text).await
            }
            Frame::Binary(bytes) => self.channel.send(BytesMut::from(&bytes[..])).await,
        };
        sent.map_err(|_| SendFrameError::Closed)
    }

    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError> {
        Err(TrySendFrameError::Full(frame))
    }

    fn try_send_all(&self, _frames: Vec<Frame>) -> Result<(), TrySendAllError> {
        Err(TrySendAllError::Full)
    }

    fn unacknowledged_bytes(&self) -> u64 {
        0
    }

    async fn close(&self) {
        let _ = self.stack.close().await;
    }

    async fn closed(&self) -> ChannelClosed {
        std::future::pending().await
    }

    async fn stats(&self) -> LinkStats {
        LinkStats::default()
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

struct Receiver(Arc<dyn DataChannel>);

#[async_trait]
impl FrameReceiver for Receiver {
    async fn recv(&mut self) -> Result<Frame, ChannelClosed> {
        loop {
            match self.0.poll().await {
                Some(DataChannelEvent::OnMessage(message)) if message.is_string => {
                    return Ok(Frame::Text(message.data.freeze()));
                }
                Some(DataChannelEvent::OnMessage(message)) => return Ok(Frame::Binary(message.data.freeze())),
                Some(DataChannelEvent::OnClose) | None => return Err(ChannelClosed::Remote),
                Some(_) => {}
            }
        }
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver")
    }
}
