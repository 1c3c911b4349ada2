//! The measurer.

use std::collections::BTreeMap;

use js_sys::{Function, Promise};
use p2pt::{Event, Events, Frame, NodeError, Peer, RequestError, SendError, StartError, Swarm};
use p2pt_rt::timeout;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::Options;
use crate::protocol::{self, BadAnswer, Count, ECHO, FRAME_BYTES, Hello, Ready, Request, Time, VERSION};
use crate::statistics::{median, spread};
use crate::tally::{Clock, microseconds};

/// The request whose round trip is timed.
const PING: &str = "ping123";

/// A tenth as many round trips come before those that are timed.
const WARM_UP: usize = 10;

/// Round trips by which two clocks are compared; the fastest counts.
const CLOCK_ROUNDS: usize = 50;

const MB: usize = 1_000_000;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeasureError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Answer(#[from] BadAnswer),
    #[error("the partner answers {0:?} instead of {ECHO:?}")]
    Echo(String),
    #[error("{sent} were sent, but {counted} have arrived")]
    Lost { sent: u64, counted: u64 },
    #[error("the partner speaks version {0}")]
    Version(u32),
    #[error("{0}: not done in time")]
    Deadline(&'static str),
    #[error("this node has stopped")]
    Stopped,
    #[error("the page does not tell the browser's processor time")]
    Usage,
}

/// The figures, by their keys in JSON: null where there is none.
type Figures = BTreeMap<&'static str, Value>;

/// Meets the partner as often as that is timed, and runs the tests that are wanted.
pub(crate) async fn run(options: &Options, cpu_us: &Function, say: &Function) -> Result<Figures, MeasureError> {
    let times = if options.wants("connect") { options.connects.max(1) } else { 1 };
    let mut took = Vec::new();
    loop {
        let began = p2pt_rt::now();
        let (swarm, events) = options.builder().join(options.identifier.as_str()).await?;
        let met = timeout(options.deadline(), meet(events)).await;
        let (peer, events, hello) = met.map_err(|_| MeasureError::Deadline("meeting the partner"))??;
        took.push(microseconds(began) / 1e3);
        if took.len() < times {
            swarm.shutdown().await;
            continue;
        }
        let mut measurer = Measurer { options, peer, cpu_us, clock: Clock::new(), figures: Figures::new() };
        if options.wants("connect") {
            measurer.set("connect_ms", median(&took));
        }
        let tested = measurer.run(say).await;
        let Measurer { mut figures, .. } = measurer;
        leave(swarm, events).await;
        tested?;
        figures.extend([("peer", json!(hello.name)), ("version", json!(VERSION))]);
        return Ok(figures);
    }
}

/// Waits for the partner, and greets it.
async fn meet(mut events: Events) -> Result<(Peer, Events, Hello), MeasureError> {
    loop {
        match events.next().await {
            Some(Event::PeerConnected(peer)) => {
                let response = peer.request(Request::Hello.payload()).await?;
                let hello: Hello = protocol::answer(response.payload())?;
                if hello.version != VERSION {
                    return Err(MeasureError::Version(hello.version));
                }
                return Ok((peer, events, hello));
            }
            Some(_) => {}
            None => return Err(MeasureError::Stopped),
        }
    }
}

async fn leave(swarm: Swarm, events: Events) {
    swarm.shutdown().await;
    drop(events);
}

struct Measurer<'a> {
    options: &'a Options,
    peer: Peer,
    cpu_us: &'a Function,
    clock: Clock,
    figures: Figures,
}

impl Measurer<'_> {
    fn set(&mut self, key: &'static str, value: Option<f64>) {
        self.figures.insert(key, json!(value.filter(|value| value.is_finite())));
    }

    async fn run(&mut self, say: &Function) -> Result<(), MeasureError> {
        let options = self.options;
        for test in ["rtt", "small", "text", "raw"].into_iter().filter(|test| options.wants(test)) {
            // A page that is being closed takes none.
            let _ = say.call1(&JsValue::NULL, &test.into());
            let work = async {
                match test {
                    "rtt" => self.round_trips().await,
                    "small" => self.small().await,
                    "text" => {
                        self.texts("text_1mb_mb_s", options.texts, MB).await?;
                        self.texts("text_16mb_mb_s", options.texts.div_ceil(4), 16 * MB).await
                    }
                    _ => self.raw().await,
                }
            };
            timeout(options.deadline(), work).await.map_err(|_| MeasureError::Deadline(test))??;
        }
        Ok(())
    }

    /// Asks the partner for something it answers at once.
    async fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, MeasureError> {
        Ok(protocol::answer(self.peer.request(request.payload()).await?.payload())?)
    }

    /// Sends a text, and waits until the partner has it.
    async fn echo(&self, text: String) -> Result<(), MeasureError> {
        let response = self.peer.request(text).await?;
        match response.payload().as_str() {
            Some(ECHO) => Ok(()),
            other => Err(MeasureError::Echo(other.unwrap_or("bytes").chars().take(80).collect())),
        }
    }

    async fn round_trips(&mut self) -> Result<(), MeasureError> {
        let _: Ready = self.ask(&Request::Echo).await?;
        let warm_up = self.options.round_trips.div_ceil(WARM_UP);
        let mut took = Vec::with_capacity(self.options.round_trips);
        for round in 0..warm_up + self.options.round_trips {
            let began = p2pt_rt::now();
            self.echo(PING.to_owned()).await?;
            if round >= warm_up {
                took.push(microseconds(began));
            }
        }
        let [p50, p99, _] = spread(&took).map_or([None; 3], |spread| spread.map(Some));
        self.set("rtt_us_p50", p50);
        self.set("rtt_us_p99", p99);
        Ok(())
    }

    async fn small(&mut self) -> Result<(), MeasureError> {
        let offset_us = self.clock_offset().await?;
        let _: Ready = self.ask(&Request::Sink).await?;
        let sent = self.options.messages;
        for _ in 0..sent {
            self.peer.send(protocol::stamped(self.clock.now_us() as u64)).await?;
        }
        let count: Count = self.ask(&Request::Report).await?;
        all_arrived(sent, count.messages)?;
        self.set("small_per_s", Some((sent - 1) as f64 * 1e6 / count.span_us));
        let delays = count.delays_us.map_or([None; 3], |delays| delays.map(|delay| Some(delay - offset_us)));
        for (key, delay) in ["small_delay_us_p50", "small_delay_us_p99", "small_delay_us_max"].into_iter().zip(delays) {
            self.set(key, delay);
        }
        Ok(())
    }

    /// How far the partner's clock is ahead.
    async fn clock_offset(&self) -> Result<f64, MeasureError> {
        let (mut fastest, mut offset) = (f64::INFINITY, 0.0);
        for _ in 0..CLOCK_ROUNDS {
            let asked = self.clock.now_us();
            let Time { clock_us } = self.ask(&Request::Clock).await?;
            let answered = self.clock.now_us();
            if answered - asked < fastest {
                (fastest, offset) = (answered - asked, clock_us - f64::midpoint(asked, answered));
            }
        }
        Ok(offset)
    }

    async fn texts(&mut self, key: &'static str, times: usize, bytes: usize) -> Result<(), MeasureError> {
        let _: Ready = self.ask(&Request::Echo).await?;
        let text = "x".repeat(bytes);
        let mut rates = Vec::new();
        for _ in 0..times {
            let text = text.clone();
            let began = p2pt_rt::now();
            self.echo(text).await?;
            // A byte in a microsecond is a megabyte in a second.
            rates.push(bytes as f64 / microseconds(began));
        }
        self.set(key, median(&rates));
        Ok(())
    }

    async fn raw(&mut self) -> Result<(), MeasureError> {
        let _: Ready = self.ask(&Request::Sink).await?;
        let frames = (self.options.megabytes * MB).div_ceil(FRAME_BYTES) as u64;
        let frame = Frame::binary(vec![0; FRAME_BYTES]);
        let before = self.used_us().await?;
        for _ in 0..frames {
            self.peer.send_frame(frame.clone()).await?;
        }
        let count: Count = self.ask(&Request::Report).await?;
        let own = self.used_us().await? - before;
        all_arrived(frames, count.frames)?;
        self.set("raw_mb_s", Some(count.bytes as f64 / count.span_us));
        let theirs = count.cpu_us.or(self.options.partner_shares.then_some(0.0));
        // Microseconds for each byte, in seconds for each gigabyte.
        self.set("raw_cpu_s_per_gb", theirs.map(|theirs| (own + theirs) * 1e3 / count.bytes as f64));
        Ok(())
    }

    /// The processor time of the whole browser.
    async fn used_us(&self) -> Result<f64, MeasureError> {
        let promise = self.cpu_us.call0(&JsValue::NULL).map_err(|_| MeasureError::Usage)?;
        let used = JsFuture::from(Promise::resolve(&promise)).await.map_err(|_| MeasureError::Usage)?;
        used.as_f64().ok_or(MeasureError::Usage)
    }
}

fn all_arrived(sent: u64, counted: u64) -> Result<(), MeasureError> {
    if sent == counted { Ok(()) } else { Err(MeasureError::Lost { sent, counted }) }
}
