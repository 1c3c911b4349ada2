//! The decisions of a malicious tracker: what each frame leads to, by its plan.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use p2pt_messaging::wire::{Frame, FrameKind};
use p2pt_proto::{
    Announce, AnnounceEvent, AnnounceReply, AnswerRequest, ClientMessage, ForwardedAnswer, ForwardedOffer, InfoHash,
    OfferId, PeerId, ScrapeReply, ScrapeStats, TrackerMessage,
};
use p2pt_trust::{Confirmation, NodeIdentity, Nonce, PublicKey, Role, SdpHash, Transcript};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::plan::{Added, Guise, Name, OnAnswer, OnOffer, Plan};
use super::text::{Place, Signer, lines_of_p2pt, marked, stripped};

/// The interval of its replies.
const INTERVAL: Duration = Duration::from_secs(120);

/// Descriptions of each kind that are remembered for replays.
const REMEMBERED: usize = 1000;

/// Connections of the tracker's own peer at a time, counting those that are not open yet.
const MOST_ENDS: usize = 64;

/// One WebSocket.
pub type SocketId = u64;

/// One end of a connection of the tracker's own peer.
pub type EndId = u64;

/// What the decisions are to be followed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// This goes to a socket.
    Send(SocketId, TrackerMessage),
    /// Its own peer makes an offer, to be handed to [`Relay::described`].
    Offer(EndId),
    /// Its own peer answers this offer, hands its answer to [`Relay::described`], and waits for the channel to open.
    Answer(EndId, String),
    /// This answers the offer that its own peer made: the channel may open.
    Open(EndId, String),
    /// The offer that its own peer made is withdrawn.
    Withdraw(EndId),
}

/// An offer as it went out, under the id and offer id that the recipient saw.
#[derive(Debug, Clone)]
enum Delivered {
    /// It was made by a peer.
    Relayed { offerer: PeerId, offer_id: OfferId, sdp: String },
    /// It was made by its own peer.
    Own(EndId),
}

/// A description that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    swarm: InfoHash,
    author: PeerId,
    /// Of an answer.
    to: Option<PeerId>,
    sdp: String,
}

/// One end of a connection of its own peer.
#[derive(Debug)]
struct End {
    swarm: InfoHash,
    /// The peer at the other end.
    victim: PeerId,
    /// The id under which it comes.
    shown: PeerId,
    guise: Guise,
    /// Which of the two descriptions is its own.
    role: Role,
    offer_id: OfferId,
    /// Known already, at the end that answers.
    offer: Option<String>,
    answer: Option<String>,
    /// The lines of p2pt of the peer in whose place it is.
    lines: String,
    nonce: Nonce,
    /// The other end of the two between two peers.
    partner: Option<EndId>,
}

/// What a malicious tracker knows and does. It has no socket, no clock and no connection: it is told what came, and says
/// what follows.
#[derive(Debug)]
pub struct Relay {
    plan: Plan,
    signer: Signer,
    rng: StdRng,
    next: u64,
    members: BTreeMap<InfoHash, BTreeMap<PeerId, SocketId>>,
    /// All that have ever been.
    known: BTreeMap<InfoHash, BTreeSet<PeerId>>,
    offers: Vec<Seen>,
    answers: Vec<Seen>,
    /// The lines of p2pt in each peer's latest offer.
    lines: BTreeMap<PeerId, String>,
    /// The offers of each peer's latest announce.
    latest: BTreeMap<(InfoHash, PeerId), Vec<OfferId>>,
    delivered: BTreeMap<(InfoHash, PeerId, OfferId), Delivered>,
    ends: BTreeMap<EndId, End>,
    /// Peers between which its own peer stands.
    between: BTreeSet<(InfoHash, PeerId, PeerId)>,
    offers_done: Vec<OnOffer>,
    answers_done: Vec<OnAnswer>,
    added: usize,
    actions: VecDeque<Action>,
}

impl Relay {
    /// A tracker without members, with a key of its own. The same seed decides the same.
    pub fn new(plan: Plan, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let identity = NodeIdentity::new(p2pt_trust::NodeKey::draw(&mut rng), &mut rng);
        Self {
            plan,
            signer: Signer::new(identity),
            rng,
            next: 0,
            members: BTreeMap::new(),
            known: BTreeMap::new(),
            offers: Vec::new(),
            answers: Vec::new(),
            lines: BTreeMap::new(),
            latest: BTreeMap::new(),
            delivered: BTreeMap::new(),
            ends: BTreeMap::new(),
            between: BTreeSet::new(),
            offers_done: Vec::new(),
            answers_done: Vec::new(),
            added: 0,
            actions: VecDeque::new(),
        }
    }

    /// The key of its own peer.
    pub fn key(&self) -> PublicKey {
        self.signer.identity.public_key()
    }

    /// The id of its own peer.
    pub fn peer_id(&self) -> PeerId {
        self.signer.identity.peer_id()
    }

    /// How many offers this was done with.
    pub fn offers_done(&self, with: OnOffer) -> usize {
        self.offers_done.iter().filter(|done| **done == with).count()
    }

    /// How many answers this was done with.
    pub fn answers_done(&self, with: OnAnswer) -> usize {
        self.answers_done.iter().filter(|done| **done == with).count()
    }

    /// How many offers of its own peer went out that no peer's offer was the reason for.
    pub fn added(&self) -> usize {
        self.added
    }

    /// A new plan for what comes from now on.
    pub fn set_plan(&mut self, plan: Plan) {
        self.plan = plan;
        (self.offers_done, self.answers_done) = (Vec::new(), Vec::new());
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A socket is there.
    pub fn opened(&mut self) -> SocketId {
        self.draw_number()
    }

    /// A socket is gone.
    pub fn closed(&mut self, socket: SocketId) {
        self.members.values_mut().for_each(|members| members.retain(|_, of| *of != socket));
    }

    /// A message has come.
    pub fn received(&mut self, socket: SocketId, message: ClientMessage) {
        match message {
            ClientMessage::Announce(announce) => self.announced(socket, announce),
            ClientMessage::Answer(answer) => self.answered(answer),
            ClientMessage::Scrape(scrape) => {
                let count = |hash: &InfoHash| self.members.get(hash).map_or(0, BTreeMap::len);
                let stats = |hash: InfoHash| (hash, ScrapeStats::new(0, u32::try_from(count(&hash)).unwrap_or(0), 0));
                let reply = ScrapeReply::new(scrape.info_hashes.into_iter().map(stats));
                self.actions.push_back(Action::Send(socket, TrackerMessage::Scrape(reply)));
            }
            _ => {}
        }
    }

    fn announced(&mut self, socket: SocketId, announce: Announce) {
        let (swarm, author) = (announce.info_hash, announce.peer_id);
        let members = self.members.entry(swarm).or_default();
        if announce.event == Some(AnnounceEvent::Stopped) {
            members.remove(&author);
            return;
        }
        members.insert(author, socket);
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        self.known.entry(swarm).or_default().insert(author);
        let reply = AnnounceReply::new(swarm).interval(INTERVAL).complete(0).incomplete(count);
        self.actions.push_back(Action::Send(socket, TrackerMessage::Announced(reply)));

        for added in self.plan.added.clone() {
            self.add(swarm, author, added);
        }
        let offers = announce.offers.unwrap_or_default();
        if let Some(latest) = offers.last() {
            self.lines.insert(author, lines_of_p2pt(&latest.sdp));
        }
        self.latest.insert((swarm, author), offers.iter().map(|offer| offer.offer_id).collect());
        let mut others: Vec<_> = self.others(swarm, author).into_iter().map(|to| (swarm, to)).collect();
        if self.plan.offers.contains(&OnOffer::Elsewhere) {
            let elsewhere = self.members.iter().filter(|(other, _)| **other != swarm);
            others.extend(elsewhere.flat_map(|(other, members)| members.keys().map(|to| (*other, *to))));
        }
        others.shuffle(&mut self.rng);
        for (offer, (to_swarm, to)) in offers.into_iter().zip(others) {
            let seen = Seen { swarm, author, to: None, sdp: offer.sdp };
            if to_swarm == swarm {
                self.offer(&seen, offer.offer_id, to);
            } else if to != author {
                self.offers_done.push(OnOffer::Elsewhere);
                let elsewhere = Seen { swarm: to_swarm, ..seen.clone() };
                self.give_offer(&elsewhere, offer.offer_id, to, author, elsewhere.sdp.clone());
            }
            remember(&mut self.offers, seen);
        }
    }

    fn others(&self, swarm: InfoHash, than: PeerId) -> Vec<PeerId> {
        let members = self.members.get(&swarm).into_iter().flat_map(BTreeMap::keys);
        members.copied().filter(|member| *member != than).collect()
    }

    fn add(&mut self, swarm: InfoHash, announcer: PeerId, added: Added) {
        let (victims, name, guise) = match added {
            Added::ToAnnouncer(name, guise) => (vec![announcer], name, guise),
            Added::ToOthers(name, guise) => (self.others(swarm, announcer), name, guise),
        };
        for victim in victims {
            let author = if victim == announcer { self.another(swarm, &[victim]) } else { Some(announcer) };
            let Some(instead_of) = self.named(name, swarm, author.unwrap_or(victim), victim) else { continue };
            if let Some(end) = self.start_end(Role::Offer, swarm, victim, (instead_of, guise)) {
                self.added += 1;
                self.actions.push_back(Action::Offer(end));
            }
        }
    }

    /// A peer id of this swarm beside these, at random.
    fn another(&mut self, swarm: InfoHash, beside: &[PeerId]) -> Option<PeerId> {
        let known = self.known.get(&swarm)?;
        let others: Vec<PeerId> = known.iter().copied().filter(|id| !beside.contains(id)).collect();
        (!others.is_empty()).then(|| others[self.rng.random_range(0..others.len())])
    }

    fn named(&mut self, name: Name, swarm: InfoHash, author: PeerId, recipient: PeerId) -> Option<PeerId> {
        match name {
            Name::Recipient => Some(recipient),
            Name::Other => Some(self.another(swarm, &[author, recipient]).unwrap_or(author)),
            Name::Own => Some(self.peer_id()),
            Name::New => Some(PeerId::from(self.rng.random::<[u8; 20]>())),
        }
    }

    fn offer(&mut self, offer: &Seen, offer_id: OfferId, to: PeerId) {
        let Seen { swarm, author, ref sdp, .. } = *offer;
        let (first, second) = (author.min(to), author.max(to));
        if self.between.contains(&(swarm, first, second)) {
            return;
        }
        let what = pick(&self.plan.offers, self.offers_done.len()).unwrap_or(OnOffer::Relay);
        self.offers_done.push(what);
        let place = Place { swarm, answers: None };
        match what {
            OnOffer::Relay => self.give_offer(offer, offer_id, to, author, sdp.clone()),
            OnOffer::Hide | OnOffer::Elsewhere => {}
            OnOffer::Repeat => {
                self.give_offer(offer, offer_id, to, author, sdp.clone());
                self.give_offer(offer, offer_id, to, author, sdp.clone());
            }
            OnOffer::Edit(edit) => {
                let edited = self.signer.edit(edit, sdp, &place, author, &mut self.rng);
                self.give_offer(offer, offer_id, to, author, edited);
            }
            OnOffer::Under(name) => {
                let Some(shown) = self.named(name, swarm, author, to) else { return };
                self.give_offer(offer, offer_id, to, shown, sdp.clone());
            }
            OnOffer::Adopt => {
                let commitment = Nonce::draw(&mut self.rng).commitment();
                let adopted = self.signer.sign(sdp, &place, &commitment);
                self.give_offer(offer, offer_id, to, self.peer_id(), adopted);
            }
            OnOffer::Reflect => {
                let offer_id = self.draw_offer_id();
                self.give_offer(offer, offer_id, author, to, sdp.clone());
            }
            OnOffer::Replay => {
                let earlier = self.offers.iter().find(|seen| seen.swarm == swarm && seen.author == author);
                let Some(sdp) = earlier.map(|earlier| earlier.sdp.clone()) else { return };
                self.give_offer(offer, offer_id, to, author, sdp);
            }
            OnOffer::Between(guise) => {
                let far = self.start_end(Role::Offer, swarm, to, (author, guise));
                let near = self.start_answer(offer, offer_id, (to, guise));
                let (Some(far), Some(near)) = (far, near) else { return };
                for (end, partner) in [(far, near), (near, far)] {
                    self.ends.entry(end).and_modify(|end| end.partner = Some(partner));
                }
                self.ends.entry(far).and_modify(|end| end.lines = lines_of_p2pt(sdp));
                self.actions.push_back(Action::Offer(far));
            }
            OnOffer::AnswerItself(guise) => {
                let Some(end) = self.start_answer(offer, offer_id, (to, guise)) else { return };
                self.actions.push_back(Action::Answer(end, sdp.clone()));
            }
        }
    }

    fn give_offer(&mut self, offer: &Seen, offer_id: OfferId, to: PeerId, shown: PeerId, sdp: String) {
        let delivered = Delivered::Relayed { offerer: offer.author, offer_id, sdp: offer.sdp.clone() };
        self.delivered.insert((offer.swarm, shown, offer_id), delivered);
        let offer_of = ForwardedOffer::new(offer.swarm, shown, offer_id, sdp);
        self.send(offer.swarm, to, TrackerMessage::Offer(offer_of));
    }

    fn answered(&mut self, answer: AnswerRequest) {
        let AnswerRequest { info_hash: swarm, peer_id: author, to_peer_id, offer_id, sdp, .. } = answer;
        match self.delivered.get(&(swarm, to_peer_id, offer_id)).cloned() {
            None => {}
            Some(Delivered::Own(end)) => self.answered_own(end, sdp),
            Some(Delivered::Relayed { offerer, offer_id, sdp: offer }) => {
                let seen = Seen { swarm, author, to: Some(offerer), sdp };
                self.answer(&seen, offerer, offer_id, &offer);
                remember(&mut self.answers, seen);
            }
        }
    }

    /// An offer of its own peer is answered.
    fn answered_own(&mut self, id: EndId, sdp: String) {
        let Some(end) = self.ends.get(&id).filter(|end| end.answer.is_none()) else { return };
        let partner = end.partner;
        if let Some(other) = partner.and_then(|partner| self.ends.get(&partner)) {
            let (first, second) = (end.victim.min(other.victim), end.victim.max(other.victim));
            if !self.between.insert((end.swarm, first, second)) {
                return;
            }
        }
        self.ends.entry(id).and_modify(|end| end.answer = Some(sdp.clone()));
        self.actions.push_back(Action::Open(id, sdp.clone()));
        if let Some((partner, end)) = partner.and_then(|id| Some((id, self.ends.get_mut(&id)?))) {
            end.lines = lines_of_p2pt(&sdp);
            let offer = end.offer.clone().unwrap_or_default();
            self.actions.push_back(Action::Answer(partner, offer));
        }
    }

    fn answer(&mut self, answer: &Seen, offerer: PeerId, offer_id: OfferId, offer: &str) {
        let Seen { swarm, author, ref sdp, .. } = *answer;
        let what = pick(&self.plan.answers, self.answers_done.len()).unwrap_or(OnAnswer::Relay);
        self.answers_done.push(what);
        let place = Place { swarm, answers: Some((SdpHash::of(offer), offerer)) };
        let (mut shown, mut to_offer, mut text) = (author, offer_id, sdp.clone());
        match what {
            OnAnswer::Relay => {}
            OnAnswer::Hide => return,
            OnAnswer::Repeat => self.give_answer(swarm, offerer, author, offer_id, sdp.clone()),
            OnAnswer::Edit(edit) => text = self.signer.edit(edit, sdp, &place, author, &mut self.rng),
            OnAnswer::Under(name) => match self.named(name, swarm, author, offerer) {
                Some(name) => shown = name,
                None => return,
            },
            OnAnswer::Adopt => {
                let commitment = Nonce::draw(&mut self.rng).commitment();
                (shown, text) = (self.peer_id(), self.signer.sign(sdp, &place, &commitment));
            }
            OnAnswer::Mix => {
                let of_offerer = self.latest.get(&(swarm, offerer)).into_iter().flatten();
                let Some(other) = of_offerer.copied().find(|other| *other != offer_id) else { return };
                to_offer = other;
            }
            OnAnswer::Replay => {
                let is_earlier = |seen: &&Seen| seen.swarm == swarm && seen.author == author && seen.to == answer.to;
                let Some(earlier) = self.answers.iter().find(is_earlier) else { return };
                text = earlier.sdp.clone();
            }
            OnAnswer::Reflect => text = offer.replace("a=setup:actpass", "a=setup:active"),
        }
        self.give_answer(swarm, offerer, shown, to_offer, text);
    }

    fn give_answer(&mut self, swarm: InfoHash, to: PeerId, shown: PeerId, offer_id: OfferId, sdp: String) {
        self.send(swarm, to, TrackerMessage::Answer(ForwardedAnswer::new(swarm, shown, offer_id, sdp)));
    }

    fn send(&mut self, swarm: InfoHash, to: PeerId, message: TrackerMessage) {
        if let Some(socket) = self.members.get(&swarm).and_then(|members| members.get(&to)) {
            self.actions.push_back(Action::Send(*socket, message));
        }
    }

    /// An end whose other end is `victim`, in the place of another peer.
    fn start_end(&mut self, role: Role, swarm: InfoHash, victim: PeerId, part: (PeerId, Guise)) -> Option<EndId> {
        let (instead_of, guise) = part;
        if self.ends.len() >= MOST_ENDS {
            // The oldest offer that was not answered makes room.
            let unanswered = |(_, end): &(&EndId, &End)| end.role == Role::Offer && end.answer.is_none();
            let oldest = self.ends.iter().find(unanswered).map(|(id, _)| *id)?;
            self.ended(oldest);
            self.actions.push_back(Action::Withdraw(oldest));
        }
        // Those of the latest offer of the peer in whose place it is, until there are better ones.
        let lines = self.lines.get(&instead_of).cloned().unwrap_or_default();
        let shown = if guise.is_own() { self.peer_id() } else { instead_of };
        let (id, nonce, offer_id) = (self.draw_number(), Nonce::draw(&mut self.rng), self.draw_offer_id());
        let (offer, answer, partner) = (None, None, None);
        let end = End { swarm, victim, shown, guise, role, offer_id, offer, answer, lines, nonce, partner };
        self.ends.insert(id, end);
        Some(id)
    }

    /// An end that answers this offer.
    fn start_answer(&mut self, offer: &Seen, offer_id: OfferId, part: (PeerId, Guise)) -> Option<EndId> {
        let id = self.start_end(Role::Answer, offer.swarm, offer.author, part)?;
        let end = self.ends.get_mut(&id)?;
        (end.offer_id, end.offer) = (offer_id, Some(offer.sdp.clone()));
        Some(id)
    }

    /// Its own peer has made this description for one of its ends, which now goes out in the end's guise.
    pub fn described(&mut self, id: EndId, sdp: &str) {
        let Some(end) = self.ends.get_mut(&id) else { return };
        let (swarm, victim, shown, offer_id) = (end.swarm, end.victim, end.shown, end.offer_id);
        let place = Place { swarm, answers: end.offer.as_ref().map(|offer| (SdpHash::of(offer), victim)) };
        let commitment = end.nonce.commitment();
        let sdp = match end.guise {
            Guise::Unsigned => marked(&stripped(sdp), "a=p2pt:1\r\n"),
            Guise::JavaScript => stripped(sdp),
            Guise::Pasted => marked(&stripped(sdp), &end.lines),
            Guise::SignedUnder | Guise::Own | Guise::Unproven | Guise::Echo => {
                self.signer.sign(sdp, &place, &commitment)
            }
            Guise::OtherRoom => {
                let signed = self.signer.sign(sdp, &place, &commitment);
                self.signer.seal(&signed, &place, shown, &mut self.rng)
            }
        };
        match end.role {
            Role::Offer => {
                end.offer = Some(sdp.clone());
                self.delivered.insert((swarm, shown, offer_id), Delivered::Own(id));
                self.send(swarm, victim, TrackerMessage::Offer(ForwardedOffer::new(swarm, shown, offer_id, sdp)));
            }
            Role::Answer => {
                end.answer = Some(sdp.clone());
                self.give_answer(swarm, victim, shown, offer_id, sdp);
            }
        }
    }

    /// The first frame of an end on its channel, if it has a key to confirm: the AUTH of its own description.
    pub fn confirmation(&self, id: EndId) -> Option<Vec<u8>> {
        let end = self.ends.get(&id).filter(|end| end.guise.proves())?;
        let transcript = Transcript::new(&SdpHash::of(end.offer.as_ref()?), &SdpHash::of(end.answer.as_ref()?));
        let confirmation = Confirmation::new(self.signer.identity.key(), end.role, &transcript, &end.nonce, None);
        let mut bytes = Vec::new();
        Frame { kind: FrameKind::AUTH, body: &confirmation.encode() }.encode(&mut bytes).ok()?;
        Some(bytes)
    }

    /// The other end of the two between two peers.
    pub fn partner(&self, id: EndId) -> Option<EndId> {
        self.ends.get(&id)?.partner
    }

    /// As whom an end comes.
    pub fn guise(&self, id: EndId) -> Option<Guise> {
        Some(self.ends.get(&id)?.guise)
    }

    /// The peer at the other side of an end.
    pub fn victim(&self, id: EndId) -> Option<PeerId> {
        Some(self.ends.get(&id)?.victim)
    }

    /// An end is gone, or will never be; with it goes its partner.
    pub fn ended(&mut self, id: EndId) {
        let Some(end) = self.ends.remove(&id) else { return };
        if let Some(partner) = end.partner.and_then(|partner| self.ends.remove(&partner)) {
            let far = if end.role == Role::Offer { &end } else { &partner };
            if far.answer.is_none() {
                return;
            }
            let (first, second) = (end.victim.min(partner.victim), end.victim.max(partner.victim));
            self.between.remove(&(end.swarm, first, second));
        }
    }

    fn draw_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn draw_offer_id(&mut self) -> OfferId {
        OfferId::from(self.rng.random::<[u8; 20]>())
    }
}

/// The entry of a list that is gone through again and again.
fn pick<T: Copy>(list: &[T], number: usize) -> Option<T> {
    list.get(number % list.len().max(1)).copied()
}

fn remember(list: &mut Vec<Seen>, seen: Seen) {
    if list.len() < REMEMBERED && !list.contains(&seen) {
        list.push(seen);
    }
}
