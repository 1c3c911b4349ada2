//! What two peers tell each other about the connection for one file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use p2pt::PeerId;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Signals of one file that may wait. A browser has about ten candidates.
const MAX_WAITING: usize = 64;

/// One text frame of the page: a description or a candidate, and which file it is about.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Frame {
    #[serde(rename = "fileID")]
    pub(crate) file_id: String,
    /// Where the sender is to begin, in bytes: the receiver may have a part already.
    #[serde(default)]
    pub(crate) start: u64,
    pub(crate) signal: Signal,
}

/// What the library simple-peer makes of a description or a candidate.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Signal {
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sdp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) candidate: Option<Candidate>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) candidate: String,
}

type Key = (PeerId, String);

/// Which transfer a signal is for.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    open: Mutex<HashMap<Key, mpsc::Sender<Frame>>>,
}

/// The signals of one transfer, from when it begins until this is dropped.
#[derive(Debug)]
pub(crate) struct Inbox {
    signals: Arc<Signals>,
    key: Key,
    frames: mpsc::Receiver<Frame>,
}

impl Inbox {
    pub(crate) fn file_id(&self) -> &str {
        &self.key.1
    }

    pub(crate) async fn next(&mut self) -> Option<Frame> {
        self.frames.recv().await
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.signals.lock().remove(&self.key);
    }
}

impl Signals {
    /// `None` if a transfer of this file with this peer is under way.
    pub(crate) fn open(self: &Arc<Self>, peer: PeerId, file_id: &str) -> Option<Inbox> {
        let key = (peer, file_id.to_owned());
        let mut open = self.lock();
        if open.contains_key(&key) {
            return None;
        }
        let (sender, frames) = mpsc::channel(MAX_WAITING);
        open.insert(key.clone(), sender);
        Some(Inbox { signals: Arc::clone(self), key, frames })
    }

    /// Hands a raw frame to the transfer it is for. What is no signal, or comes too fast, is dropped.
    pub(crate) fn route(&self, peer: PeerId, frame: &[u8]) {
        let Ok(frame) = serde_json::from_slice::<Frame>(frame) else { return };
        let sender = self.lock().get(&(peer, frame.file_id.clone())).cloned();
        if let Some(sender) = sender
            && sender.try_send(frame).is_err()
        {
            println!("{peer} signals too much");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, mpsc::Sender<Frame>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
