//! Connections that two transports open to each other at the same time.

use std::time::Duration;

use clap::Args;
use p2pt_transport::{Channel, Frame};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::ends::within;
use crate::{config, transport};

/// How long a connection may take: longer than a transport waits for one.
const OPENING: Duration = Duration::from_secs(40);

/// How simultaneous opens are measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct Simultaneous {
    /// How many, of which each side offers one half.
    #[arg(long, default_value_t = 30)]
    opens: usize,
}

/// All offers are made, then all are answered, then all connections open. One counts when a frame has gone each way on it.
pub(crate) async fn run(options: &Simultaneous) -> Value {
    let sides = [transport(config()), transport(config())];
    let mut pending = Vec::with_capacity(options.opens);
    for number in 0..options.opens {
        pending.push((number, within(sides[number % 2].offer()).await.expect("an offer can be made")));
    }
    let mut answered = Vec::with_capacity(options.opens);
    let mut reasons = Vec::new();
    for (number, offer) in pending {
        match within(sides[(number + 1) % 2].answer(offer.sdp())).await {
            Ok(answer) => answered.push((number, offer, answer)),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    let begin = Instant::now();
    let mut opening = JoinSet::new();
    for (number, offer, answer) in answered {
        opening.spawn(async move {
            let answer_sdp = answer.sdp().to_owned();
            let both = async { tokio::try_join!(offer.open(&answer_sdp), answer.open()) };
            let opened = timeout(OPENING, both).await.map_err(|_| "no answer in time".to_owned())?;
            let (mut one, mut other) = opened.map_err(|error| error.to_string())?;
            let spoken = speaks(&mut one, &mut other, number).await && speaks(&mut other, &mut one, number).await;
            if spoken { Ok((one, other)) } else { Err("what was sent on one came on another".to_owned()) }
        });
    }
    let mut open = Vec::new();
    while let Some(opened) = opening.join_next().await {
        match opened.expect("opening does not panic") {
            Ok(channels) => open.push(channels),
            Err(reason) => reasons.push(reason),
        }
    }
    let taken = begin.elapsed();
    let opened = open.len();
    drop(open);
    for side in &sides {
        within(side.shutdown()).await;
    }
    for reason in &reasons {
        eprintln!("did not open: {reason}");
    }
    json!({"opened": opened, "of": options.opens, "all_ms": taken.as_secs_f64() * 1e3})
}

/// Whether a frame of this number comes from one end to the other.
async fn speaks(from: &mut Channel, to: &mut Channel, number: usize) -> bool {
    let frame = Frame::text(number.to_string());
    let sent = timeout(OPENING, from.sender.send(frame.clone())).await;
    matches!(sent, Ok(Ok(()))) && matches!(timeout(OPENING, to.receiver.recv()).await, Ok(Ok(got)) if got == frame)
}
