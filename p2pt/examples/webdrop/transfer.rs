//! One file over a connection of its own.
//!
//! The first byte of each frame says what it is: 0 the file's name and size as JSON, 1 a part, 3 that all has come, 4 and 5 a
//! pause and its end, 6 that the other side has given up.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use p2pt::transport::webrtc::WebRtc;
use p2pt::transport::{Channel, ChannelClosed, FrameReceiver, FrameSender, RemoteCandidates};
use p2pt::{Frame, Peer, SendError, SendFrameError, Transport, TransportError};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::Share;
use crate::signals::{self, Inbox, Signal};

const START: u8 = 0;
const CHUNK: u8 = 1;
const END: u8 = 3;
const PAUSE: u8 = 4;
const RESUME: u8 = 5;
const CANCEL: u8 = 6;

/// Bytes of a part, as the page's.
const CHUNK_BYTES: usize = 1 << 16;

/// How long the other side's description may take.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the other side may send and take nothing; a paused transfer is given up then too.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    file_name: String,
    file_size: u64,
    #[serde(default)]
    file_type: String,
}

#[derive(Debug)]
pub(crate) enum TransferError {
    NoDescription,
    Idle,
    Cancelled,
    BadFrame,
    Connection(TransportError),
    Closed(ChannelClosed),
    Frame(SendFrameError),
    Signal(SendError),
    File(std::io::Error),
}

impl std::fmt::Display for TransferError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoDescription => f.write_str("the other side described no connection"),
            Self::Idle => f.write_str("nothing moved for too long"),
            Self::Cancelled => f.write_str("the other side has given up"),
            Self::BadFrame => f.write_str("the other side sends what makes no sense"),
            Self::Connection(error) => write!(f, "no connection: {error}"),
            Self::Closed(reason) => write!(f, "the connection closed: {reason}"),
            Self::Frame(error) => write!(f, "a frame was not sent: {error}"),
            Self::Signal(error) => write!(f, "the other side could not be told: {error}"),
            Self::File(error) => write!(f, "{error}"),
        }
    }
}

macro_rules! from {
    ($($error:ty => $variant:ident),*) => {
        $(impl From<$error> for TransferError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}
from!(TransportError => Connection, ChannelClosed => Closed, SendFrameError => Frame, SendError => Signal, std::io::Error => File);

/// Takes a file that the peer shares.
pub(crate) async fn receive(
    files: Arc<WebRtc>,
    peer: Peer,
    folder: PathBuf,
    mut signals: Inbox,
) -> Result<String, TransferError> {
    let (sdp, _, early) = description(&mut signals).await?;
    let answer = files.answer(&sdp).await?;
    tell(&peer, &signals, "answer", answer.sdp()).await?;
    let candidates = answer.remote_candidates();
    let channel = trickle(answer.open(), &*candidates, early, &mut signals).await?;
    let Channel { sender, mut receiver, .. } = channel;
    let done = store(&mut *receiver, &folder).await;
    match &done {
        // The page ends its side when it has read this; it may also be the one that closes.
        Ok(_) => sender.send(Frame::binary(vec![END])).await?,
        Err(_) => drop(sender.send(Frame::binary(vec![CANCEL])).await),
    }
    // What was sent last arrives before the connection ends.
    sender.close().await;
    done
}

/// Writes what comes into a new file.
async fn store(receiver: &mut dyn FrameReceiver, folder: &Path) -> Result<String, TransferError> {
    let frame = next(receiver).await?;
    let Some((&START, json)) = frame.split_first() else { return Err(TransferError::BadFrame) };
    let start: Start = serde_json::from_slice(json).map_err(|_| TransferError::BadFrame)?;
    let path = folder.join(safe_name(&start.file_name));
    // A file that is there is never written over.
    let mut file = File::create_new(&path).await?;
    let mut left = start.file_size;
    while left > 0 {
        let frame = next(receiver).await?;
        match frame.split_first() {
            Some((&CHUNK, bytes)) if bytes.len() as u64 <= left => {
                file.write_all(bytes).await?;
                left -= bytes.len() as u64;
            }
            Some((&CANCEL, _)) => return Err(TransferError::Cancelled),
            Some((&PAUSE | &RESUME, _)) => {}
            _ => return Err(TransferError::BadFrame),
        }
    }
    file.flush().await?;
    Ok(format!("received {} ({} bytes)", path.display(), start.file_size))
}

/// Hands a file to a peer that has asked for it.
pub(crate) async fn send(
    files: Arc<WebRtc>,
    peer: Peer,
    share: Share,
    mut signals: Inbox,
) -> Result<String, TransferError> {
    let offer = files.offer().await?;
    tell(&peer, &signals, "offer", offer.sdp()).await?;
    let (sdp, start, early) = description(&mut signals).await?;
    let candidates = offer.remote_candidates();
    let channel = trickle(offer.open(&sdp), &*candidates, early, &mut signals).await?;
    let Channel { sender, mut receiver, .. } = channel;

    let mut file = File::open(&share.path).await?;
    file.seek(std::io::SeekFrom::Start(start.min(share.size))).await?;
    if start == 0 {
        let meta = Start { file_name: share.name.clone(), file_size: share.size, file_type: String::new() };
        let json = serde_json::to_vec(&meta).map_err(std::io::Error::from)?;
        sender.send(Frame::binary([&[START][..], &json].concat())).await?;
    }
    let mut control = Control::default();
    loop {
        if !control.paused {
            let mut chunk = vec![CHUNK; 1];
            let mut part = (&mut file).take(CHUNK_BYTES as u64);
            if part.read_to_end(&mut chunk).await? == 0 {
                break;
            }
            push(&*sender, chunk, &mut *receiver, &mut control).await?;
        } else {
            control.obey(&next(&mut *receiver).await?)?;
        }
    }
    while !control.done {
        control.obey(&next(&mut *receiver).await?)?;
    }
    sender.close().await;
    Ok(format!("sent {} ({} bytes) to {}", share.name, share.size, peer.id()))
}

/// What the receiver has asked for.
#[derive(Debug, Default)]
struct Control {
    paused: bool,
    done: bool,
}

impl Control {
    fn obey(&mut self, frame: &[u8]) -> Result<(), TransferError> {
        match frame.first() {
            Some(&END) => self.done = true,
            Some(&PAUSE) => self.paused = true,
            Some(&RESUME) => self.paused = false,
            Some(&CANCEL) => return Err(TransferError::Cancelled),
            _ => return Err(TransferError::BadFrame),
        }
        Ok(())
    }
}

/// Sends a part, and meanwhile listens to what the receiver asks for.
async fn push(
    sender: &dyn FrameSender,
    chunk: Vec<u8>,
    receiver: &mut dyn FrameReceiver,
    control: &mut Control,
) -> Result<(), TransferError> {
    let mut sending = std::pin::pin!(timeout(IDLE_TIMEOUT, sender.send(Frame::binary(chunk))));
    loop {
        tokio::select! {
            sent = &mut sending => return Ok(sent.map_err(|_| TransferError::Idle)??),
            frame = receiver.recv() => control.obey(frame?.bytes())?,
        }
    }
}

async fn next(receiver: &mut dyn FrameReceiver) -> Result<bytes::Bytes, TransferError> {
    let frame = timeout(IDLE_TIMEOUT, receiver.recv()).await.map_err(|_| TransferError::Idle)?;
    Ok(frame?.bytes().clone())
}

async fn tell(peer: &Peer, signals: &Inbox, kind: &str, sdp: &str) -> Result<(), TransferError> {
    let signal = Signal { kind: kind.to_owned(), sdp: Some(sdp.to_owned()), candidate: None };
    let frame = signals::Frame { file_id: signals.file_id().to_owned(), start: 0, signal };
    let json = serde_json::to_string(&frame).map_err(std::io::Error::from)?;
    Ok(peer.send_frame(Frame::text(json)).await?)
}

/// The other side's description, where it wants a sender to begin, and candidates that came before.
async fn description(signals: &mut Inbox) -> Result<(String, u64, Vec<String>), TransferError> {
    let mut early = Vec::new();
    let wait = async {
        while let Some(frame) = signals.next().await {
            if let Some(sdp) = frame.signal.sdp {
                return Some((sdp, frame.start));
            }
            early.extend(frame.signal.candidate.map(|candidate| candidate.candidate));
        }
        None
    };
    let (sdp, start) = timeout(SIGNAL_TIMEOUT, wait).await.ok().flatten().ok_or(TransferError::NoDescription)?;
    Ok((sdp, start, early))
}

/// Opens a connection while the other side goes on finding candidates: it has sent its description at once.
async fn trickle(
    open: impl Future<Output = Result<Channel, TransportError>>,
    candidates: &dyn RemoteCandidates,
    early: Vec<String>,
    signals: &mut Inbox,
) -> Result<Channel, TransferError> {
    for candidate in early {
        // One that is of no use harms nothing.
        let _ = candidates.add(&candidate);
    }
    let more = async {
        while let Some(frame) = signals.next().await {
            if let Some(candidate) = frame.signal.candidate {
                let _ = candidates.add(&candidate.candidate);
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        channel = open => Ok(channel?),
        never = more => never,
    }
}

/// A peer names the file, and must not choose the folder, nor hide it.
fn safe_name(name: &str) -> String {
    let plain: String =
        name.chars().map(|char| if char.is_control() || "/\\:".contains(char) { '_' } else { char }).collect();
    let plain = plain.trim_start_matches('.');
    if plain.is_empty() { "file".to_owned() } else { plain.chars().take(100).collect() }
}
