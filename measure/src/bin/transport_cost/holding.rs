//! What is held while nothing happens: connections on which nothing is sent, and offers that wait for their answers.

use std::time::Duration;

use clap::Args;
use p2pt_measure::machine::{cpu_seconds, descriptors, resident_kib};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::ends::{median, open, within};
use crate::{config, transport};

/// How long what opening has begun goes on at most: the last acknowledgements.
const CALM: Duration = Duration::from_secs(2);

/// How idle connections are measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct Idle {
    /// How many nodes, each a transport of its own in this process and connected to all the others.
    #[arg(long, default_value_t = 24)]
    nodes: usize,
    /// For how long their CPU time is measured.
    #[arg(long, default_value_t = 0)]
    seconds: u64,
}

/// Both ends are in this process, so what is measured is divided by twice the number of connections.
pub(crate) async fn idle(options: &Idle) -> Value {
    let nodes: Vec<_> = (0..options.nodes).map(|_| transport(config())).collect();
    // What comes with a node's first connection is not the others': a chain of all is not counted.
    let mut channels = Vec::new();
    for pair in nodes.windows(2) {
        channels.push(open(&*pair[0], &*pair[1]).await);
    }
    sleep(CALM).await;
    let (memory, files, uncounted) = (resident_kib("self"), descriptors(), channels.len());
    for (number, offerer) in nodes.iter().enumerate() {
        for answerer in nodes.iter().skip(number + 2) {
            channels.push(open(&**offerer, &**answerer).await);
        }
    }
    sleep(CALM).await;
    let ends = 2 * (channels.len() - uncounted);
    let held = (resident_kib("self") - memory) * 1.024 / ends as f64;
    let files = (descriptors() as f64 - files as f64) / ends as f64;
    let cpu = cpu_seconds("self");
    sleep(Duration::from_secs(options.seconds)).await;
    let used = cpu_seconds("self") - cpu;
    let open = channels.len();
    drop(channels);
    for node in &nodes {
        within(node.shutdown()).await;
    }
    json!({
        "connections": open,
        "memory_kb": held,
        "descriptors": files,
        "cpu_percent": (options.seconds > 0).then(|| 100.0 * used / options.seconds as f64),
    })
}

/// How offers are measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct Offers {
    /// How many wait at the same time.
    #[arg(long, default_value_t = 1000)]
    offers: usize,
}

pub(crate) async fn offers(options: &Offers) -> Value {
    let transport = transport(config());
    let first = within(transport.offer()).await.expect("an offer can be made");
    let (memory, files) = (resident_kib("self"), descriptors());
    let mut offers = Vec::with_capacity(options.offers);
    let mut taken = Vec::with_capacity(options.offers);
    for _ in 0..options.offers {
        let begin = Instant::now();
        offers.push(within(transport.offer()).await.expect("an offer can be made"));
        taken.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    let held = (resident_kib("self") - memory) * 1.024 / options.offers as f64;
    let files = descriptors() as f64 - files as f64;
    drop((first, offers));
    within(transport.shutdown()).await;
    json!({"offer_us": median(&taken), "memory_kb": held, "descriptors": files / options.offers as f64})
}
