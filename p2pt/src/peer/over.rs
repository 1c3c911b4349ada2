//! Sending over the session with a peer that speaks p2pt/2.

use std::pin::pin;
use std::sync::Arc;

use p2pt_mesh::mesh::ChannelId;
use p2pt_messaging::MessageId;
use p2pt_rt::timeout;

use super::{Peer, PeerShared};
use crate::SendError;
use crate::mux::{Mux, Put};
use crate::pending_send::{Confirm, PendingSend};
use crate::send_queue::{Awaited, Content, Outgoing, Sent};

impl Peer {
    /// Sends a message or frame over the session in its turn, and says which channel took the last of it. A future that is
    /// dropped takes it back, unless all of it was sent.
    pub(super) async fn send_over(&self, mux: &Mux, content: Content) -> Sent {
        let queue = &self.0.send_queue;
        let put = mux.put(queue, content, None);
        if let Put::Taken(channel) = put {
            return Ok(channel);
        }
        // In a box, so that a send that does not wait does not carry it.
        Box::pin(async {
            let (confirm, pending) = PendingSend::waited_for(self.clone());
            match put {
                Put::Taken(_) => {}
                Put::Waits(key) => mux.attach(key, confirm),
                Put::Full(content, _) => self.0.wait_in_queue(mux, content, confirm)?,
                Put::Failed(error) => return Err(error),
            }
            let pending = TakenBack(pending);
            self.0.while_it_moves(mux, pending.0.wait_taken()).await?;
            Ok(self.0.channel().map_or(ChannelId(0), |channel| channel.id))
        })
        .await
    }

    /// Sends a message, and waits until the other side has it.
    pub(crate) async fn send_acknowledged(&self, id: MessageId, message: Arc<Outgoing>) -> Result<(), SendError> {
        self.0.check_size(&message.payload)?;
        let mux = self.0.mux().ok_or(SendError::NoAcknowledgements)?;
        let (confirm, pending) = PendingSend::waited_for(self.clone());
        match mux.put(&self.0.send_queue, Content::Message(id, message), Some(confirm)) {
            Put::Taken(_) | Put::Waits(_) => {}
            Put::Full(content, confirm) => {
                if let Some(confirm) = confirm {
                    self.0.wait_in_queue(&mux, content, confirm)?;
                }
            }
            Put::Failed(error) => return Err(error),
        }
        let pending = TakenBack(pending);
        self.0.while_it_moves(&mux, pending.0.wait_acknowledged()).await
    }
}

impl PeerShared {
    /// Puts something behind what is queued, beyond the bound, since its caller waits for it.
    fn wait_in_queue(&self, mux: &Mux, content: Content, confirm: Confirm) -> Result<(), SendError> {
        if !self.send_queue.push_waited_for(content, Awaited::Acceptance(confirm)) {
            return Err(SendError::PeerGone(self.ended()));
        }
        mux.look_at_queue(&self.send_queue);
        Ok(())
    }

    /// Waits for what becomes of something, as long as anything moves within the send timeout.
    async fn while_it_moves(
        &self,
        mux: &Mux,
        wait: impl Future<Output = Result<(), SendError>>,
    ) -> Result<(), SendError> {
        let stall = self.settings.config.send_timeout;
        let mut wait = pin!(wait);
        loop {
            let before = mux.moved();
            match timeout(stall, &mut wait).await {
                Ok(result) => return result,
                Err(_) if mux.moved() == before => return Err(SendError::Timeout(stall)),
                Err(_) => {}
            }
        }
    }
}

/// Takes a message back when its sender no longer waits.
struct TakenBack(PendingSend);

impl Drop for TakenBack {
    fn drop(&mut self) {
        self.0.take_back();
    }
}
