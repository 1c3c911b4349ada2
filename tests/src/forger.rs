//! A malicious tracker: it speaks the protocol of trackers, and does with offers and answers what its [`Plan`] says.
//!
//! [`Relay`] decides and is told everything; [`Forger`] carries that out over whatever streams and with whatever
//! [`Transport`] it is given: in a simulation over streams and channels in memory, and as a [`ForgerServer`] over real
//! sockets and WebRTC. Its own peer has connections of its own, with which it stands between two peers, or speaks to them
//! as another one. What that peer has [heard](Forger::heard) shows what the attack was worth.

mod middle;
mod plan;
mod relay;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::{SinkExt, StreamExt};
use p2pt_proto::{ClientMessage, PeerId};
use p2pt_transport::{Channel, Frame, PendingOffer, Transport};
use p2pt_trust::PublicKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

pub use middle::{GREETING, Heard};
pub use plan::{Added, Edit, Guise, Name, OnAnswer, OnOffer, Plan};
pub use relay::{Action, EndId, Relay, SocketId};

use middle::{Open, Record, Rewriting, carry, echo, speak};

/// Messages that wait to be written to one socket.
const QUEUE: usize = 1000;

/// A malicious tracker. Clones are the same one; with the last of them its peer is gone.
#[derive(Debug, Clone)]
pub struct Forger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    relay: Mutex<Relay>,
    transport: Arc<dyn Transport>,
    sockets: Mutex<BTreeMap<SocketId, mpsc::Sender<String>>>,
    offers: Mutex<BTreeMap<EndId, Box<dyn PendingOffer>>>,
    /// Open ends that wait for their partner.
    waiting: Mutex<BTreeMap<EndId, Channel>>,
    /// How many channels of its peer have opened.
    opened: Mutex<usize>,
    record: Record,
    rewriting: Mutex<Rewriting>,
    tasks: Mutex<JoinSet<()>>,
}

impl Forger {
    /// A tracker whose own peer connects by this transport. The same seed decides the same.
    pub fn new(plan: Plan, transport: Arc<dyn Transport>, seed: u64) -> Self {
        Self(Arc::new(Inner {
            relay: Mutex::new(Relay::new(plan, seed)),
            transport,
            sockets: Mutex::default(),
            offers: Mutex::default(),
            waiting: Mutex::default(),
            opened: Mutex::default(),
            record: Record::default(),
            rewriting: Mutex::default(),
            tasks: Mutex::default(),
        }))
    }

    /// Replaces this word by another one in every text that its peer carries between two others.
    #[must_use]
    pub fn rewriting(self, word: &str, other: &str) -> Self {
        *lock(&self.0.rewriting) = Some((word.to_owned(), other.to_owned()));
        self
    }

    /// Asks or tells the decisions.
    pub fn relay<T>(&self, with: impl FnOnce(&mut Relay) -> T) -> T {
        with(&mut lock(&self.0.relay))
    }

    /// The key of its own peer.
    pub fn key(&self) -> PublicKey {
        self.relay(|relay| relay.key())
    }

    /// The id of its own peer.
    pub fn peer_id(&self) -> PeerId {
        self.relay(|relay| relay.peer_id())
    }

    /// Every frame that its peer has received, in order.
    pub fn heard(&self) -> Vec<Heard> {
        self.0.record.all()
    }

    /// The text frames that its peer has received, in order, one a line.
    pub fn heard_text(&self) -> String {
        let texts = self.heard().into_iter().filter(|heard| matches!(heard.frame, Frame::Text(_)));
        texts.map(|heard| heard.frame.to_text().into_owned() + "\n").collect()
    }

    /// How many channels of its peer have opened so far.
    pub fn channels_opened(&self) -> usize {
        *lock(&self.0.opened)
    }

    /// Serves one byte stream to its end.
    pub fn serve<S>(&self, stream: S) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let inner = self.0.clone();
        async move {
            let Ok(socket) = accept_async(stream).await else { return };
            let id = lock(&inner.relay).opened();
            let (sender, mut queued) = mpsc::channel(QUEUE);
            lock(&inner.sockets).insert(id, sender);
            let _socket = OpenSocket { inner: &inner, id };
            let (mut sink, mut source) = socket.split();
            let reading = async {
                while let Some(Ok(message)) = source.next().await {
                    if let Ok(message) = ClientMessage::decode(message.into_data()) {
                        lock(&inner.relay).received(id, message);
                        inner.act();
                    }
                }
            };
            let writing = async {
                while let Some(text) = queued.recv().await {
                    if sink.send(Message::text(text)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                biased;
                () = reading => {}
                () = writing => {}
            }
        }
    }
}

/// A socket leaves with its task, however that ends.
struct OpenSocket<'a> {
    inner: &'a Inner,
    id: SocketId,
}

impl Drop for OpenSocket<'_> {
    fn drop(&mut self) {
        lock(&self.inner.sockets).remove(&self.id);
        lock(&self.inner.relay).closed(self.id);
    }
}

impl Inner {
    /// Does what the decisions ask for.
    fn act(self: &Arc<Self>) {
        loop {
            let Some(action) = lock(&self.relay).poll_action() else { return };
            match action {
                Action::Send(to, message) => {
                    if let Some(socket) = lock(&self.sockets).get(&to) {
                        // What a peer does not read in time is lost, as with the trackers that there are.
                        let _ = socket.try_send(message.encode());
                    }
                }
                Action::Offer(end) => self.spawn(|inner, transport| async move {
                    let Ok(offer) = transport.offer().await else { return inner.ended(end) };
                    inner.described(end, offer.sdp());
                    inner.with(|inner| lock(&inner.offers).insert(end, offer));
                }),
                Action::Answer(end, offer) => self.spawn(|inner, transport| async move {
                    let Ok(answer) = transport.answer(&offer).await else { return inner.ended(end) };
                    inner.described(end, answer.sdp());
                    match answer.open().await {
                        Ok(channel) => inner.opened(end, channel).await,
                        Err(_) => inner.ended(end),
                    }
                }),
                Action::Withdraw(end) => drop(lock(&self.offers).remove(&end)),
                Action::Open(end, answer) => {
                    let Some(offer) = lock(&self.offers).remove(&end) else { continue };
                    self.spawn(|inner, _| async move {
                        match offer.open(&answer).await {
                            Ok(channel) => inner.opened(end, channel).await,
                            Err(_) => inner.ended(end),
                        }
                    });
                }
            }
        }
    }

    /// Runs a task that does not keep the tracker: with the tracker go its tasks.
    fn spawn<F>(self: &Arc<Self>, task: impl FnOnce(Handle, Arc<dyn Transport>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = task(Handle(Arc::downgrade(self)), self.transport.clone());
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

/// The tracker as its own tasks see it.
#[derive(Debug, Clone)]
struct Handle(Weak<Inner>);

impl Handle {
    fn with<T>(&self, with: impl FnOnce(&Arc<Inner>) -> T) -> Option<T> {
        self.0.upgrade().map(|inner| with(&inner))
    }

    fn described(&self, end: EndId, sdp: &str) {
        self.with(|inner| {
            lock(&inner.relay).described(end, sdp);
            inner.act();
        });
    }

    fn ended(&self, end: EndId) {
        self.with(|inner| {
            let partner = lock(&inner.relay).partner(end);
            lock(&inner.relay).ended(end);
            for end in partner.into_iter().chain([end]) {
                let dropped = (lock(&inner.waiting).remove(&end), lock(&inner.offers).remove(&end));
                drop(dropped);
            }
        });
    }

    /// The channel of an end is open: it confirms what it can, and then waits for its partner or speaks for itself.
    async fn opened(self, end: EndId, channel: Channel) {
        let known = self.with(|inner| {
            *lock(&inner.opened) += 1;
            let relay = lock(&inner.relay);
            Some((relay.victim(end)?, relay.confirmation(end), relay.partner(end), relay.guise(end)?))
        });
        let Some((victim, confirmation, partner, guise)) = known.flatten() else { return };
        let keeps_auth = confirmation.is_some();
        if let Some(confirmation) = confirmation {
            let _ = channel.sender.send(Frame::binary(confirmation)).await;
        }
        let Some(partner) = partner else {
            let record = self.with(|inner| inner.record.clone());
            let open = Open { victim, channel, keeps_auth };
            match record {
                Some(record) if guise == Guise::Echo => echo(open, record).await,
                Some(record) => speak(open, record).await,
                None => {}
            }
            return self.ended(end);
        };
        let met = self.with(|inner| {
            let mut waiting = lock(&inner.waiting);
            let Some(other) = waiting.remove(&partner) else {
                waiting.insert(end, channel);
                return None;
            };
            let one = Open { victim, channel, keeps_auth };
            let two = Open { victim: lock(&inner.relay).victim(partner)?, channel: other, keeps_auth };
            Some((one, two, inner.record.clone(), lock(&inner.rewriting).clone()))
        });
        if let Some((one, two, record, rewriting)) = met.flatten() {
            carry(one, two, record, rewriting).await;
            self.ended(end);
        }
    }
}

/// A malicious tracker on a port of this machine. Dropping it closes all its sockets.
#[derive(Debug)]
pub struct ForgerServer {
    /// The tracker.
    pub forger: Forger,
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl ForgerServer {
    /// Serves a tracker on a free port of loopback.
    pub async fn bind(forger: Forger) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = forger.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut sockets = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while sockets.try_join_next().is_some() {}
                sockets.spawn(serving.serve(stream));
            }
        });
        Ok(Self { forger, address, _serving: tasks })
    }

    /// Its announce URL.
    pub fn url(&self) -> String {
        format!("ws://{}/announce", self.address)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
