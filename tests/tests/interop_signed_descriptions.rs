//! The lines of signed descriptions, and the WebRTC stacks that know nothing of them: what `p2pt_trust::sign_description`
//! adds is taken in an offer and in an answer, the connection opens and text goes each way, every time.
//!
//! The two pairs of each stack are the two that meet in a swarm: a native node that signs and a peer on that stack, and a
//! peer on that stack that signs (this library as WebAssembly makes its descriptions so) and one that does not.

use std::collections::BTreeMap;
use std::time::Duration;

use p2pt::{InfoHash, PeerId};
use p2pt_tests::interop::turn;
use p2pt_tests::js::javascript;
use p2pt_tests::pipe::{LineProcess, PATIENCE};
use p2pt_transport::webrtc::{WebRtc, WebRtcConfig};
use p2pt_transport::{Channel, Frame, PendingAnswer, PendingOffer, Transport};
use p2pt_trust::{
    Context, Described, Features, NodeIdentity, NodeKey, Nonce, SdpHash, sign_description, verify_description,
};
use serde_json::json;
use tokio::time::{Instant, timeout};

/// Names how many connections each pair makes; `.ci/long` makes a hundred.
const RUNS: &str = "P2PT_SIGNED_RUNS";

/// Connections of each pair unless [`RUNS`] says how many: all pairs together take about a minute, browsers included.
const FEW_RUNS: u32 = 16;

/// A guard against a connection that never opens, which is then counted. The slowest of 800 took 3.4 s.
const RUN_TIMEOUT: Duration = PATIENCE.checked_div(2).expect("not zero");

/// The stack that npm p2pt has in Node, as `rtc.mjs` calls it.
const LIBDATACHANNEL: &str = "ndc";

/// One end of the connections of a test.
enum End {
    Native(WebRtc),
    Stack {
        process: Box<LineProcess>,
        /// Whether its offers keep their candidates. Without them the other end cannot begin before this one has read the
        /// answer.
        offers_candidates: bool,
    },
}

/// What an end has described and not opened yet.
enum Pending {
    Offer(Box<dyn PendingOffer>),
    Answer(Box<dyn PendingAnswer>),
    Stack,
}

/// A connection at one end. That of a stack is the stack's only one.
enum Opened {
    Native(Channel),
    Stack,
}

impl End {
    fn native() -> Self {
        Self::Native(WebRtc::new(WebRtcConfig::default().without_ice_servers()).expect("a certificate"))
    }

    async fn stack(name: &str) -> Self {
        let mut process = LineProcess::spawn(name, javascript("rtc.mjs", &["--webrtc", name]));
        process.expect("ready", |_| true).await;
        // libdatachannel 0.24.5 gives an answer to its ICE agent, and keeps it thereafter. Where checks of the other end have
        // come before the answer, the agent connects in between, and a handshake that is quick enough, as on loopback,
        // finds no fingerprint yet and fails. So did 2 of 550 answers of native nodes with the lines, and
        // 8 of 5,000 without them.
        Self::Stack { process: Box::new(process), offers_candidates: name != LIBDATACHANNEL }
    }

    async fn offer(&mut self) -> Result<(String, Pending), String> {
        match self {
            Self::Native(transport) => {
                let offer = transport.offer().await.map_err(|error| format!("no offer: {error}"))?;
                Ok((offer.sdp().to_owned(), Pending::Offer(offer)))
            }
            Self::Stack { process, offers_candidates } => {
                process.command(&json!({"offer": true})).await;
                let sdp = described(process).await;
                Ok((if *offers_candidates { sdp } else { without_candidates(&sdp) }, Pending::Stack))
            }
        }
    }

    async fn answer(&mut self, offer: &str) -> Result<(String, Pending), String> {
        match self {
            Self::Native(transport) => {
                let answer = transport.answer(offer).await.map_err(|error| format!("no answer: {error}"))?;
                Ok((answer.sdp().to_owned(), Pending::Answer(answer)))
            }
            Self::Stack { process, .. } => {
                process.command(&json!({"answer": offer})).await;
                Ok((described(process).await, Pending::Stack))
            }
        }
    }

    /// Opens what is pending; the offerer has got `answer`, and the answerer waits.
    async fn open(&mut self, pending: Pending, answer: Option<&str>) -> Result<Opened, String> {
        let channel = match (self, pending) {
            (Self::Native(_), Pending::Offer(offer)) => offer.open(answer.expect("it offered")).await,
            (Self::Native(_), Pending::Answer(answer)) => answer.open().await,
            (Self::Stack { process, .. }, _) => {
                if let Some(answer) = answer {
                    process.command(&json!({"accept": answer})).await;
                }
                process.expect("open", |_| true).await;
                return Ok(Opened::Stack);
            }
            (Self::Native(_), Pending::Stack) => unreachable!("it is not of this end"),
        };
        channel.map(Opened::Native).map_err(|error| format!("no channel: {error}"))
    }

    async fn send(&mut self, opened: &Opened, text: &str) -> Result<(), String> {
        match (self, opened) {
            (Self::Stack { process, .. }, _) => process.command(&json!({"send": text})).await,
            (Self::Native(_), Opened::Native(channel)) => {
                let sent = channel.sender.send(Frame::text(text.to_owned())).await;
                sent.map_err(|error| format!("not sent: {error}"))?;
            }
            (Self::Native(_), Opened::Stack) => unreachable!("it is not of this end"),
        }
        Ok(())
    }

    async fn receive(&mut self, opened: &mut Opened, text: &str) -> Result<(), String> {
        match (self, opened) {
            (Self::Stack { process, .. }, _) => drop(process.expect("message", |event| event["text"] == text).await),
            (Self::Native(_), Opened::Native(channel)) => {
                let received = channel.receiver.recv().await.map_err(|error| format!("closed: {error}"))?;
                if received != Frame::text(text.to_owned()) {
                    return Err(format!("received {received:?} and not {text}"));
                }
            }
            (Self::Native(_), Opened::Stack) => unreachable!("it is not of this end"),
        }
        Ok(())
    }

    /// Ends the connection of a run, and returns the errors that a stack has said in it.
    async fn close(&mut self) -> Vec<String> {
        let Self::Stack { process, .. } = self else { return Vec::new() };
        process.command(&json!({"close": true})).await;
        let mut said = process.take_said();
        // An error of a channel is what some stacks say of one that the other end has closed.
        said.retain(|said| said["event"] == "error");
        said.iter().map(|said| said["error"].to_string()).collect()
    }

    async fn end(self) {
        match self {
            Self::Native(transport) => transport.shutdown().await,
            Self::Stack { process, .. } => process.end().await,
        }
    }
}

async fn described(process: &mut LineProcess) -> String {
    let described = process.expect("description", |_| true).await;
    described["sdp"].as_str().expect("a description").to_owned()
}

fn without_candidates(sdp: &str) -> String {
    let is_of_candidates = |line: &str| line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates");
    sdp.split_inclusive('\n').filter(|line| !is_of_candidates(line)).collect()
}

/// An end that signs, and one that knows nothing of it.
struct Pair {
    signer: End,
    other: End,
    identity: NodeIdentity,
    other_id: PeerId,
    swarm: InfoHash,
}

impl Pair {
    fn new(signer: End, other: End) -> Self {
        let identity = NodeIdentity::new(NodeKey::random(), &mut rand::rng());
        Self { signer, other, identity, other_id: PeerId::random(), swarm: InfoHash::of("signed descriptions") }
    }

    /// A description of the signer, with its lines.
    fn signed(&self, sdp: &str, context: &Context) -> String {
        let commitment = Nonce::draw(&mut rand::rng()).commitment();
        let features = Features::of([Features::AUTH, Features::MUX]);
        let signed = sign_description(sdp, context, &self.identity, &features, &commitment).expect("it is unsigned");
        let verified = verify_description(&signed, context);
        assert!(matches!(verified, Ok(Described::Signed(_))), "{verified:?}: {signed}");
        signed
    }

    /// Checks that a description of the other end is that of a peer which signs nothing, and repeats nothing of what it
    /// has read.
    fn is_unsigned(sdp: &str, context: &Context) -> Result<(), String> {
        match verify_description(sdp, context) {
            Ok(Described::Unsigned { mark: None }) if !sdp.contains("a=p2pt") => Ok(()),
            taken => Err(format!("of a peer that signs nothing: {taken:?} in {sdp}")),
        }
    }

    /// One connection, by an offer of the signer or by its answer.
    async fn connect(&mut self, signer_offers: bool, text: &str) -> Result<(), String> {
        let (signer_id, other_id) = (self.identity.peer_id(), self.other_id);
        let (at_signer, at_other) = if signer_offers {
            let (sdp, offered) = self.signer.offer().await?;
            let offer = self.signed(&sdp, &Context::offer(self.swarm, signer_id));
            let (answer, answered) = self.other.answer(&offer).await?;
            Self::is_unsigned(&answer, &Context::answer(self.swarm, other_id, SdpHash::of(&offer), signer_id))?;
            tokio::join!(self.signer.open(offered, Some(&answer)), self.other.open(answered, None))
        } else {
            let (offer, offered) = self.other.offer().await?;
            Self::is_unsigned(&offer, &Context::offer(self.swarm, other_id))?;
            let (sdp, answered) = self.signer.answer(&offer).await?;
            let context = Context::answer(self.swarm, signer_id, SdpHash::of(&offer), other_id);
            let answer = self.signed(&sdp, &context);
            tokio::join!(self.signer.open(answered, None), self.other.open(offered, Some(&answer)))
        };
        let (mut at_signer, mut at_other) = (at_signer?, at_other?);
        self.signer.send(&at_signer, text).await?;
        self.other.receive(&mut at_other, text).await?;
        self.other.send(&at_other, text).await?;
        self.signer.receive(&mut at_signer, text).await
    }

    /// Connects again and again, and counts.
    async fn connect_many(mut self, what: &str) {
        let runs = std::env::var(RUNS).map_or(FEW_RUNS, |runs| runs.parse().expect("a number of runs"));
        let (mut failed, mut took) = (BTreeMap::new(), Vec::new());
        for run in 0..runs {
            let signer_offers = run % 2 == 0;
            let text = format!("run {run} ✓");
            let began = Instant::now();
            let outcome = timeout(RUN_TIMEOUT, self.connect(signer_offers, &text)).await;
            took.push(began.elapsed());
            let outcome = outcome.unwrap_or_else(|_| Err(format!("not connected within {RUN_TIMEOUT:?}")));
            let mut causes = Vec::from_iter(outcome.err());
            causes.extend(self.signer.close().await);
            causes.extend(self.other.close().await);
            if !causes.is_empty() {
                let by = if signer_offers { "its offer" } else { "its answer" };
                failed.insert(run, format!("by {by}: {}", causes.join("; ")));
            }
        }
        took.sort();
        let (median, slowest) = (took[took.len() / 2], took[took.len() - 1]);
        println!(
            "{what}: {} of {runs} connected, median {median:?}, slowest {slowest:?}",
            runs as usize - failed.len()
        );
        assert!(failed.is_empty(), "{what}: {} of {runs} failed: {failed:#?}", failed.len());
        self.signer.end().await;
        self.other.end().await;
    }
}

async fn native_signs(stack: &str) {
    let _turn = turn().await;
    let pair = Pair::new(End::native(), End::stack(stack).await);
    pair.connect_many(&format!("a native node that signs, and {stack}")).await;
}

async fn the_stack_signs(stack: &str) {
    let _turn = turn().await;
    let pair = Pair::new(End::stack(stack).await, End::stack(stack).await);
    pair.connect_many(&format!("{stack} that signs, and {stack}")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_signed_descriptions -- --ignored"]
async fn chromium_takes_what_a_native_node_signs() {
    native_signs("chromium").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Chromium: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_signed_descriptions -- --ignored"]
async fn chromium_takes_what_a_page_signs() {
    the_stack_signs("chromium").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Firefox: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_signed_descriptions -- --ignored"]
async fn firefox_takes_what_a_native_node_signs() {
    native_signs("firefox").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and Firefox: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_signed_descriptions -- --ignored"]
async fn firefox_takes_what_a_page_signs() {
    the_stack_signs("firefox").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_signed_descriptions -- --ignored"]
async fn libwebrtc_in_node_takes_what_a_native_node_signs() {
    native_signs("roamhq").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_signed_descriptions -- --ignored"]
async fn libwebrtc_in_node_takes_what_it_signs() {
    the_stack_signs("roamhq").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_signed_descriptions -- --ignored"]
async fn libdatachannel_takes_what_a_native_node_signs() {
    native_signs(LIBDATACHANNEL).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_signed_descriptions -- --ignored"]
async fn libdatachannel_takes_what_it_signs() {
    the_stack_signs(LIBDATACHANNEL).await;
}
