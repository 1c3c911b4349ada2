//! An endpoint with two connections: one to an honest peer, one to a peer that has the keys of its session, as every peer
//! has, and writes into it what it likes.

use std::{
    cell::Cell,
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use super::super::{
    endpoint::Key,
    session::DtlsRole,
    sim::{Sim, WINDOW, socket},
};
use crate::Frame;

const VICTIM: usize = 0;
const ATTACKER: usize = 1;
const HONEST: usize = 2;

/// How long one datagram may keep a slow machine busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// The endpoint.
pub struct Victim {
    sim: Sim,
    attacked: Key,
    attacker: Key,
    honest: [Key; 2],
    header: [u8; 12],
    /// The last TSN that the victim is known to have received, and to have sent.
    received: u32,
    sent: u32,
    is_deaf: Rc<Cell<bool>>,
    sent_frames: usize,
}

impl fmt::Debug for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Victim").field("received", &self.received).field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl Victim {
    /// The victim has made the offer to the attacker, or has answered one.
    ///
    /// # Panics
    /// When two endpoints do not connect.
    pub fn new(offers: bool) -> Self {
        let mut sim = Sim::new(3);
        let (attacked, attacker) = if offers {
            sim.open(VICTIM, ATTACKER)
        } else {
            let (attacker, attacked) = sim.open(ATTACKER, VICTIM);
            (attacked, attacker)
        };
        let offer = sim.offer(HONEST, 0);
        let remote = sim.remote((HONEST, offer), 0, DtlsRole::Client);
        let answer = sim.answer(VICTIM, 5, remote);
        let remote = sim.remote((VICTIM, answer), 5, DtlsRole::Server);
        sim.accept(HONEST, offer, remote);
        // A frame each way, so that both have acknowledged something.
        sim.send(VICTIM, attacked, Frame::text("a"));
        sim.touch(VICTIM, attacked);
        sim.send(ATTACKER, attacker, Frame::text("b"));
        sim.touch(ATTACKER, attacker);
        sim.run(Duration::from_secs(1));
        let (_, received) = sim.nodes[VICTIM].peer(attacked).session().acknowledged().expect("an acknowledgement");
        let (header, sent) = sim.nodes[ATTACKER].peer(attacker).session().acknowledged().expect("an acknowledgement");
        let is_deaf = Rc::new(Cell::new(true));
        let deaf = is_deaf.clone();
        sim.carries = Box::new(move |_, datagram| {
            let to_attacker = datagram.remote.ip() == socket(ATTACKER, 0).ip();
            !(deaf.get() && to_attacker && datagram.data.first().is_some_and(|first| *first > 3))
        });
        sim.nodes[VICTIM].log = Some(Vec::new());
        Self { sim, attacked, attacker, honest: [answer, offer], header, received, sent, is_deaf, sent_frames: 0 }
    }

    /// The last TSN that the victim has received in order.
    pub fn received(&self) -> u32 {
        self.received
    }

    /// The last TSN that the victim has sent at the beginning.
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// Whether there is a connection to attack.
    pub fn is_attacked(&mut self) -> bool {
        self.sim.nodes[VICTIM].is_open(self.attacked) && self.sim.nodes[ATTACKER].is_open(self.attacker)
    }

    /// The attacker sends these chunks, behind the right header.
    pub fn packet(&mut self, chunks: &[u8]) {
        self.forge(self.header, chunks);
    }

    /// The attacker sends a packet of which even the header is its own.
    pub fn any_packet(&mut self, header: [u8; 12], chunks: &[u8]) {
        self.forge(header, chunks);
    }

    fn forge(&mut self, header: [u8; 12], chunks: &[u8]) {
        if !self.is_attacked() {
            return;
        }
        let now = self.sim.now;
        let chunks = &chunks[..chunks.len().min(1400)];
        self.sim.nodes[ATTACKER].peer(self.attacker).session().forge(now, header, chunks);
        self.act(|sim, attacker| {
            sim.touch(ATTACKER, attacker);
            sim.run(Duration::from_millis(2));
        });
    }

    /// A datagram arrives from where the attacker is.
    pub fn datagram(&mut self, data: &[u8]) {
        let data = &data[..data.len().min(1400)];
        let local = if self.sim.nodes[VICTIM].endpoint.uses(socket(VICTIM, 0)) { 0 } else { 4 };
        let from = if local == 0 { 4 } else { 0 };
        self.act(|sim, _| sim.arrive(VICTIM, socket(ATTACKER, from), socket(VICTIM, local), data));
    }

    /// Time passes, up to a minute.
    pub fn pass(&mut self, time: Duration) {
        let time = time.min(Duration::from_secs(60));
        self.act(|sim, _| sim.run(time));
    }

    /// Whether the attacker's own stack hears the victim's.
    pub fn listen(&mut self, listens: bool) {
        self.is_deaf.set(!listens);
    }

    /// Whether what the attacker sends is read.
    pub fn read(&mut self, reads: bool) {
        self.sim.nodes[VICTIM].ignored = (!reads).then_some(self.attacked);
        self.act(|sim, _| sim.pump());
    }

    /// The victim sends to the attacker, while that may be more to come.
    pub fn answer(&mut self, bytes: usize) {
        let (now, attacked) = (self.sim.now, self.attacked);
        if self.is_attacked() && self.sim.nodes[VICTIM].peer(attacked).outstanding() < WINDOW as usize {
            let _ = self.sim.nodes[VICTIM].peer(attacked).send(now, Frame::binary(vec![5; bytes.min(65_536)]));
            self.act(|sim, _| sim.touch(VICTIM, attacked));
        }
    }

    /// The victim closes the connection to the attacker.
    pub fn close(&mut self) {
        if self.is_attacked() {
            self.sim.close(VICTIM, self.attacked);
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut Sim, Key)) {
        #[allow(clippy::disallowed_methods, reason = "how long the machine is busy is what is asked")]
        let begin = Instant::now();
        act(&mut self.sim, self.attacker);
        let busy = begin.elapsed();
        assert!(busy < PATIENCE, "busy for {busy:?}");
        self.check();
    }

    fn check(&mut self) {
        let endpoint = &mut self.sim.nodes[VICTIM].endpoint;
        let [honest, _] = self.honest;
        if let Some(peer) = endpoint.peer(self.attacked).filter(|_| self.attacked != honest) {
            if let Some((_, received)) = peer.session().acknowledged() {
                self.received = received;
            }
            let held = peer.session().held();
            assert!(held <= 2 * WINDOW as usize, "{held} bytes are held");
        }
        // What it is made to send is no more than what goes through a connection anyway.
        let log = self.sim.nodes[VICTIM].log.replace(Vec::new()).expect("it is kept");
        let bytes: usize = log.iter().map(|(_, datagram)| datagram.data.len()).sum();
        assert!(bytes < 4 * WINDOW as usize, "{bytes} bytes are sent");
        assert!(self.sim.strays.is_empty(), "{:?}", self.sim.strays);
        assert!(self.sim.nodes[VICTIM].is_open(honest), "the honest peer pays for it");
        if let Some(frames) = self.sim.nodes[VICTIM].frames.get_mut(&self.attacked).filter(|_| self.attacked != honest)
        {
            frames.clear();
        }
    }

    /// The honest peer talks to the victim as if nothing were the matter.
    ///
    /// # Panics
    /// When that does not arrive at once.
    pub fn talk(&mut self) {
        let [answer, offer] = self.honest;
        self.sent_frames += 1;
        let count = self.sent_frames;
        for (node, key) in [(HONEST, offer), (VICTIM, answer)] {
            self.sim.send(node, key, Frame::text(count.to_string()));
            self.sim.touch(node, key);
        }
        let arrived = |sim: &Sim| {
            sim.nodes[VICTIM].received(answer).len() == count && sim.nodes[HONEST].received(offer).len() == count
        };
        assert!(self.sim.run_until(Duration::from_secs(1), arrived), "the honest peer waits");
        self.check();
    }

    /// All is well in the end: what is over is forgotten, and the honest peer is served.
    ///
    /// # Panics
    /// When it is not.
    pub fn finish(mut self) {
        self.talk();
        self.pass(Duration::from_secs(10));
        self.talk();
        let open = usize::from(self.sim.nodes[VICTIM].is_open(self.attacked));
        let close = self.sim.nodes[VICTIM].endpoint.len();
        assert!(close <= 1 + open, "{close} connections are left");
    }
}
