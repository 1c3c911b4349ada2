use std::{num::NonZeroU32, pin::Pin, time::Duration};

use p2pt_transport::{
    Channel, ChannelClosed, Fingerprint, Frame, SendFrameError, Transport, TransportError,
    memory::{Break, Conditions, MemoryConfig, MemoryNetwork},
};
use tokio::time::{Instant, advance, sleep, timeout};

use super::common::{connect, expect, pair, pair_with};

const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
type Opening<'a> = Pin<Box<dyn Future<Output = Result<Channel, TransportError>> + 'a>>;
const SILENT: ChannelClosed = ChannelClosed::Timeout(IDLE_TIMEOUT);

#[tokio::test(start_paused = true)]
async fn a_cut_shorter_than_the_idle_timeout_loses_nothing() {
    let (network, a, b) = pair(1);
    let (at_a, mut at_b) = connect(&a, &b).await.unwrap();
    at_a.sender.send(Frame::text("before")).await.unwrap();
    network.cut(a.node(), b.node());
    at_a.sender.send(Frame::text("meanwhile")).await.unwrap();
    let waits = timeout(IDLE_TIMEOUT - Duration::from_secs(1), at_b.receiver.recv()).await;
    assert!(waits.is_err(), "a frame crossed a path that is cut");
    network.mend(a.node(), b.node());
    let mended = Instant::now();
    expect(&mut at_b, "before").await;
    assert_eq!(mended.elapsed(), Duration::from_millis(10), "it is sent again, not found waiting");
    expect(&mut at_b, "meanwhile").await;
    // The wait for a sign of life begins anew with the next cut.
    network.cut(a.node(), b.node());
    let start = Instant::now();
    assert_eq!(at_b.receiver.recv().await, Err(SILENT));
    assert_eq!(start.elapsed(), IDLE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_both_sides_and_loses_what_was_under_way() {
    let (network, a, b) = pair(2);
    let (mut at_a, mut at_b) = connect(&a, &b).await.unwrap();
    network.cut(a.node(), b.node());
    at_a.sender.send(Frame::text("lost")).await.unwrap();
    assert_eq!(tokio::join!(at_a.receiver.recv(), at_b.receiver.recv()), (Err(SILENT), Err(SILENT)));
    assert_eq!(at_a.sender.unacknowledged_bytes(), 4);
    assert_eq!(at_a.sender.send(Frame::text("late")).await, Err(SendFrameError::Closed));
    assert!(connect(&a, &b).await.is_err());
    network.heal();
    drop(connect(&a, &b).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_waits_learns_of_the_silence() {
    let (network, a, b) = pair_with(3, MemoryConfig::default().send_buffer_bytes(100));
    let (at_a, _at_b) = connect(&a, &b).await.unwrap();
    network.cut(a.node(), b.node());
    at_a.sender.send(Frame::binary(vec![0; 1000])).await.unwrap();
    assert_eq!(at_a.sender.send(Frame::text("waits")).await, Err(SendFrameError::Closed));
    assert_eq!(at_a.sender.closed().await, SILENT);
}

#[tokio::test(start_paused = true)]
async fn a_close_while_cut_is_not_heard() {
    let (network, a, b) = pair(4);
    let (at_a, mut at_b) = connect(&a, &b).await.unwrap();
    network.cut(a.node(), b.node());
    at_a.sender.close().await;
    network.mend(a.node(), b.node());
    assert_eq!(at_b.receiver.recv().await, Err(SILENT));
}

#[tokio::test(start_paused = true)]
async fn a_cut_swallows_a_close_that_is_under_way() {
    let (network, a, b) = pair(17);
    let (at_a, mut at_b) = connect(&a, &b).await.unwrap();
    at_a.sender.close().await;
    network.cut(a.node(), b.node());
    network.mend(a.node(), b.node());
    assert_eq!(at_b.receiver.recv().await, Err(SILENT));
}

#[tokio::test(start_paused = true)]
async fn a_cut_one_way_ends_both_sides_each_with_what_it_can_know() {
    let (network, a, b) = pair(18);
    let (mut at_a, mut at_b) = connect(&a, &b).await.unwrap();
    network.cut_from(a.node(), b.node());
    let start = Instant::now();
    at_a.sender.send(Frame::text("lost")).await.unwrap();
    at_b.sender.send(Frame::text("there")).await.unwrap();
    expect(&mut at_a, "there").await;
    assert_eq!(start.elapsed(), Duration::from_millis(10));

    assert_eq!(at_b.receiver.recv().await, Err(SILENT));
    assert_eq!(start.elapsed(), IDLE_TIMEOUT);
    assert_eq!(at_a.receiver.recv().await, Err(ChannelClosed::Remote));
    assert_eq!(start.elapsed(), IDLE_TIMEOUT + Duration::from_millis(10));
    // What has arrived counts as lost when the acknowledgement is.
    assert_eq!((at_a.sender.unacknowledged_bytes(), at_b.sender.unacknowledged_bytes()), (4, 5));
    for (offerer, answerer) in [(&a, &b), (&b, &a)] {
        assert!(matches!(connect(offerer, answerer).await, Err(TransportError::IceFailed { .. })));
    }
    network.mend_from(a.node(), b.node());
    drop(connect(&a, &b).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_short_cut_one_way_loses_nothing() {
    let (network, a, b) = pair(19);
    let (mut at_a, mut at_b) = connect(&a, &b).await.unwrap();
    network.cut_from(a.node(), b.node());
    at_a.sender.send(Frame::text("waits")).await.unwrap();
    at_b.sender.send(Frame::text("there")).await.unwrap();
    expect(&mut at_a, "there").await;
    assert!(timeout(IDLE_TIMEOUT - Duration::from_secs(1), at_b.receiver.recv()).await.is_err());
    assert_eq!(at_b.sender.unacknowledged_bytes(), 5);
    network.mend_from(a.node(), b.node());
    assert_eq!(at_b.sender.unacknowledged_bytes(), 5, "the acknowledgement is sent again, not found waiting");
    expect(&mut at_b, "waits").await;
    advance(Duration::from_millis(10)).await;
    assert_eq!((at_a.sender.unacknowledged_bytes(), at_b.sender.unacknowledged_bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_close_is_heard_only_the_way_that_is_left() {
    for cut_back in [false, true] {
        let (network, a, b) = pair(20);
        let (at_a, mut at_b) = connect(&a, &b).await.unwrap();
        let (from, to) = if cut_back { (b.node(), a.node()) } else { (a.node(), b.node()) };
        network.cut_from(from, to);
        at_a.sender.close().await;
        let expected = if cut_back { ChannelClosed::Remote } else { SILENT };
        assert_eq!(at_b.receiver.recv().await, Err(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn one_way_can_be_slow() {
    let (network, a, b) = pair(21);
    let delay = Duration::from_secs(2);
    network.slow_from(a.node(), b.node(), delay);
    let start = Instant::now();
    let (mut at_a, mut at_b) = connect(&a, &b).await.unwrap();
    assert_eq!(start.elapsed(), delay * 3 + Duration::from_millis(50), "two round trips, and once there");
    assert_eq!(at_a.sender.stats().await.round_trip, Some(delay + Duration::from_millis(20)));

    let start = Instant::now();
    at_a.sender.send(Frame::text("slow")).await.unwrap();
    at_b.sender.send(Frame::text("quick")).await.unwrap();
    expect(&mut at_a, "quick").await;
    assert_eq!(start.elapsed(), Duration::from_millis(10));
    expect(&mut at_b, "slow").await;
    assert_eq!(start.elapsed(), delay + Duration::from_millis(10));
    assert_eq!(at_b.sender.unacknowledged_bytes(), 5, "its acknowledgement is slow too");
    advance(Duration::from_millis(10)).await;
    assert_eq!(at_b.sender.unacknowledged_bytes(), 0);

    // However slow, it is not dead; and it becomes quick again.
    network.slow_from(a.node(), b.node(), IDLE_TIMEOUT * 2);
    assert!(timeout(IDLE_TIMEOUT * 10, at_b.receiver.recv()).await.is_err());
    network.slow_from(a.node(), b.node(), Duration::ZERO);
    at_a.sender.close().await;
    assert_eq!(at_b.receiver.recv().await, Err(ChannelClosed::Remote));
}

#[tokio::test(start_paused = true)]
async fn a_partition_separates_its_nodes_from_all_others() {
    let network = MemoryNetwork::new(5);
    let nodes = [(); 4].map(|()| network.transport());
    network.partition(&[nodes[0].node(), nodes[1].node()]);
    assert!(connect(&nodes[0], &nodes[1]).await.is_ok());
    assert!(connect(&nodes[2], &nodes[3]).await.is_ok());
    assert!(connect(&nodes[1], &nodes[2]).await.is_err());
    network.heal();
    assert!(connect(&nodes[1], &nodes[2]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn opening_survives_a_short_interruption() {
    for (begins, one_way) in [(0, false), (20, false), (20, true)] {
        let (network, a, b) = pair(6);
        let (a_node, b_node) = (a.node(), b.node());
        let interruption = async {
            sleep(Duration::from_millis(begins)).await;
            network.cut_from(a_node, b_node);
            if !one_way {
                network.cut_from(b_node, a_node);
            }
            sleep(Duration::from_secs(3)).await;
            network.mend(a_node, b_node);
        };
        let start = Instant::now();
        let offer = a.offer().await.unwrap();
        let answer = b.answer(offer.sdp()).await.unwrap();
        let sdp = answer.sdp().to_owned();
        let open = async |opening: Opening<'_>| {
            let channel = opening.await.unwrap();
            assert!(start.elapsed() > Duration::from_secs(3), "it opened over a path that is cut");
            channel
        };
        drop(tokio::join!(interruption, open(Box::pin(offer.open(&sdp))), open(Box::pin(answer.open()))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_node_that_thaws_in_time_goes_on() {
    let (network, a, b) = pair(7);
    let (mut at_a, mut at_b) = connect(&a, &b).await.unwrap();
    at_b.sender.send(Frame::text("arrived")).await.unwrap();
    advance(Duration::from_secs(1)).await;
    network.freeze(a.node());
    at_b.sender.send(Frame::text("waits outside")).await.unwrap();
    assert!(timeout(Duration::from_secs(4), at_a.receiver.recv()).await.is_err(), "a stopped process read");
    network.thaw(a.node());
    expect(&mut at_a, "arrived").await;
    expect(&mut at_a, "waits outside").await;
    at_a.sender.send(Frame::text("still here")).await.unwrap();
    expect(&mut at_b, "still here").await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_thaws_too_late_has_been_given_up() {
    let (network, a, b) = pair(8);
    let (mut at_a, mut at_b) = connect(&a, &b).await.unwrap();
    network.freeze(a.node());
    assert_eq!(at_b.receiver.recv().await, Err(SILENT));
    assert!(timeout(IDLE_TIMEOUT * 10, at_a.receiver.recv()).await.is_err(), "a stopped process has no timers");
    network.thaw(a.node());
    let start = Instant::now();
    assert_eq!(at_a.receiver.recv().await, Err(SILENT));
    assert_eq!(start.elapsed(), IDLE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_channel_breaks_after_so_many_frames() {
    let (network, a, b) = pair(9);
    let (at_a, mut at_b) = connect(&a, &b).await.unwrap();
    network.break_after(a.node(), b.node(), Break::AfterFrames(2));
    for text in ["one", "two", "three"] {
        at_a.sender.send(Frame::text(text)).await.unwrap();
    }
    expect(&mut at_b, "one").await;
    expect(&mut at_b, "two").await;
    assert!(matches!(at_b.receiver.recv().await, Err(ChannelClosed::Failed(_))));
    assert!(matches!(at_a.sender.closed().await, ChannelClosed::Failed(_)));
    assert!(at_a.sender.unacknowledged_bytes() >= 5, "the frame that broke the channel was acknowledged");
    // It happens once.
    let (at_a, mut at_b) = connect(&a, &b).await.unwrap();
    for text in ["one", "two", "three"] {
        at_a.sender.send(Frame::text(text)).await.unwrap();
        expect(&mut at_b, text).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_breaks_after_so_many_bytes() {
    let (network, a, b) = pair(10);
    let (at_a, mut at_b) = connect(&a, &b).await.unwrap();
    network.break_after(b.node(), a.node(), Break::AfterBytes(0));
    network.break_after(a.node(), b.node(), Break::AfterBytes(10));
    for text in ["12345", "67890", "x"] {
        at_a.sender.send(Frame::text(text)).await.unwrap();
    }
    expect(&mut at_b, "12345").await;
    expect(&mut at_b, "67890").await;
    assert!(matches!(at_b.receiver.recv().await, Err(ChannelClosed::Failed(_))));
}

#[tokio::test(start_paused = true)]
async fn some_connections_are_refused_and_the_seed_says_which() {
    let outcomes = async |seed| {
        let (network, a, b) = pair(seed);
        network.refuse(0.5);
        let mut opened = Vec::new();
        for _ in 0..20 {
            opened.push(connect(&a, &b).await.is_ok());
        }
        opened
    };
    let first = outcomes(11).await;
    assert!(first.contains(&true) && first.contains(&false));
    assert_eq!(first, outcomes(11).await);
    assert_ne!(first, outcomes(12).await);
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_takes_its_time() {
    let (network, a, b) = pair(13);
    let (at_a, mut at_b) = connect(&a, &b).await.unwrap();
    let latency = Duration::from_millis(100);
    let conditions = Conditions { latency, jitter: Duration::ZERO, bytes_per_second: NonZeroU32::new(10_000) };
    network.set_conditions_between(b.node(), a.node(), conditions);
    let start = Instant::now();
    for _ in 0..5 {
        at_a.sender.send(Frame::binary(vec![0; 2000])).await.unwrap();
    }
    for _ in 0..5 {
        at_b.receiver.recv().await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::from_millis(1100));
}

#[tokio::test(start_paused = true)]
async fn an_offer_has_a_lifetime() {
    let (_network, a, b) = pair(14);
    let offer = a.offer().await.unwrap();
    let answer = b.answer(offer.sdp()).await.unwrap();
    advance(Duration::from_secs(121)).await;
    assert!(matches!(offer.open(answer.sdp()).await, Err(TransportError::Timeout { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_changed_fingerprint_is_found_out() {
    let (_network, a, b) = pair(15);
    for forge_offer in [true, false] {
        let offer = a.offer().await.unwrap();
        let forged = |sdp: &str, forge: bool| {
            let own = Fingerprint::from_sdp(sdp).unwrap().to_string();
            if forge { sdp.replace(&own, &Fingerprint([7; 32]).to_string()) } else { sdp.to_owned() }
        };
        let answer = b.answer(&forged(offer.sdp(), forge_offer)).await.unwrap();
        let opened = offer.open(&forged(answer.sdp(), !forge_offer)).await;
        assert!(matches!(opened, Err(TransportError::SessionFailed)));
    }
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_nodes_are_cheap() {
    let network = MemoryNetwork::new(16);
    let nodes: Vec<_> = (0..300).map(|_| network.transport()).collect();
    let mut channels = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        for step in 1..=4 {
            channels.push(connect(node, &nodes[(index + step) % nodes.len()]).await.unwrap());
        }
    }
    assert_eq!(network.open_channels(), 2400);
    assert_eq!(nodes[0].open_channels(), 8);
    let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(alive, 0, "the network runs no task");
    network.kill(nodes[0].node());
    advance(IDLE_TIMEOUT).await;
    assert_eq!(network.open_channels(), 2384);
    drop(channels);
    assert_eq!((network.open_channels(), network.pending()), (0, 0));
}
