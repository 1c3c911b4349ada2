use std::time::Duration;

use p2pt_transport::{
    ChannelClosed, Frame, Role, SendFrameError, Transport, TransportError,
    memory::{Conditions, MemoryConfig},
};
use tokio::time::{Instant, sleep, timeout};

use super::common::{connect, expect, pair, pair_with};

#[tokio::test(start_paused = true)]
async fn connects_sends_and_closes() {
    let (network, a, b) = pair(1);
    let start = Instant::now();
    let (mut at_a, mut at_b) = connect(&a, &b).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(50));
    assert_eq!((at_a.info.role, at_b.info.role), (Role::Offerer, Role::Answerer));
    assert_eq!(at_a.info.label, at_b.info.label);
    assert_eq!(at_a.info.local_fingerprint, at_b.info.remote_fingerprint);
    assert!(at_a.info.local_fingerprint.is_some());
    assert_eq!(network.open_channels(), 2);

    at_a.sender.send(Frame::text("hello")).await.unwrap();
    assert_eq!(at_a.sender.unacknowledged_bytes(), 5);
    at_b.sender.send(Frame::binary(vec![1, 2])).await.unwrap();
    assert_eq!(at_b.receiver.recv().await, Ok(Frame::text("hello")));
    assert_eq!(at_a.receiver.recv().await, Ok(Frame::binary(vec![1, 2])));

    at_a.sender.send(Frame::text("bye")).await.unwrap();
    at_a.sender.close().await;
    assert_eq!(at_a.sender.unacknowledged_bytes(), 0);
    assert_eq!(at_a.receiver.recv().await, Err(ChannelClosed::Local));
    assert_eq!(at_b.receiver.recv().await, Ok(Frame::text("bye")));
    assert_eq!(at_b.receiver.recv().await, Err(ChannelClosed::Remote));
    assert_eq!(at_b.sender.send(Frame::text("late")).await, Err(SendFrameError::Closed));
    assert_eq!((network.open_channels(), network.pending()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_everything() {
    let (network, a, b) = pair(2);
    let (mut at_a, mut at_b) = connect(&a, &b).await.unwrap();
    let waiting = a.offer().await.unwrap();
    timeout(Duration::from_secs(5), a.shutdown()).await.unwrap();
    assert_eq!(at_a.receiver.recv().await, Err(ChannelClosed::ShutDown));
    assert_eq!(at_b.receiver.recv().await, Err(ChannelClosed::Remote));
    assert!(matches!(a.offer().await, Err(TransportError::ShutDown)));
    let answer = b.answer(waiting.sdp()).await.unwrap();
    assert!(matches!(waiting.open(answer.sdp()).await, Err(TransportError::ShutDown)));
    drop(answer);
    assert_eq!((network.open_channels(), network.pending()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_falls_silent() {
    let (network, a, b) = pair(3);
    let (mut at_a, mut at_b) = connect(&a, &b).await.unwrap();
    at_b.sender.send(Frame::text("into the void")).await.unwrap();
    network.kill(a.node());
    let start = Instant::now();
    let idle_timeout = Duration::from_secs(5);
    assert_eq!(at_b.receiver.recv().await, Err(ChannelClosed::Timeout(idle_timeout)));
    assert_eq!(start.elapsed(), idle_timeout);
    assert_eq!(at_b.sender.unacknowledged_bytes(), 13);
    assert!(matches!(at_a.receiver.recv().await, Err(ChannelClosed::Failed(_))));
    assert!(matches!(a.offer().await, Err(TransportError::ShutDown)));
}

#[tokio::test(start_paused = true)]
async fn refused_connections_fail_and_later_ones_do_not() {
    let (network, a, b) = pair(4);
    network.refuse_between(a.node(), b.node());
    let offer = a.offer().await.unwrap();
    let answer = b.answer(offer.sdp()).await.unwrap();
    let sdp = answer.sdp().to_owned();
    let (at_a, at_b) = tokio::join!(offer.open(&sdp), answer.open());
    assert!(matches!(at_a, Err(TransportError::IceFailed { .. })));
    assert!(matches!(at_b, Err(TransportError::IceFailed { .. })));
    network.accept_between(b.node(), a.node());
    network.set_conditions(Conditions { latency: Duration::ZERO, ..Conditions::default() });
    let start = Instant::now();
    drop(connect(&a, &b).await.unwrap());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_the_reader_has_no_room_for_is_acknowledged_after_it_has_read() {
    let (_network, a, b) = pair_with(5, MemoryConfig::default().receive_buffer_bytes(30));
    let (at_a, mut at_b) = connect(&a, &b).await.unwrap();
    for text in ["first", "second"] {
        at_a.sender.send(Frame::text(text)).await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(at_a.sender.unacknowledged_bytes(), 6);
    expect(&mut at_b, "first").await;
    sleep(Duration::from_millis(9)).await;
    assert_eq!(at_a.sender.unacknowledged_bytes(), 6);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(at_a.sender.unacknowledged_bytes(), 0);
    expect(&mut at_b, "second").await;
}

#[tokio::test(start_paused = true)]
async fn a_close_gives_up_on_a_reader_that_stalls() {
    let (_network, a, b) = pair_with(6, MemoryConfig::default().receive_buffer_bytes(30));
    let (at_a, mut at_b) = connect(&a, &b).await.unwrap();
    for text in ["first", "second"] {
        at_a.sender.send(Frame::text(text)).await.unwrap();
    }
    let start = Instant::now();
    at_a.sender.close().await;
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    assert_eq!(at_a.sender.unacknowledged_bytes(), 6);
    assert_eq!(at_b.sender.closed().await, ChannelClosed::Remote);
    expect(&mut at_b, "first").await;
    assert_eq!(at_b.receiver.recv().await, Err(ChannelClosed::Remote));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_missed_between_threads() {
    let conditions = Conditions::default().latency(Duration::ZERO);
    let config = MemoryConfig::default().conditions(conditions).send_buffer_bytes(100).receive_buffer_bytes(100);
    let (_network, a, b) = pair_with(7, config);
    let (at_a, mut at_b) = connect(&a, &b).await.unwrap();
    let sends = tokio::spawn(async move {
        for number in 0..5000 {
            at_a.sender.send(Frame::text(number.to_string())).await.unwrap();
        }
        at_a.sender.close().await;
    });
    let reads = tokio::spawn(async move {
        for number in 0..5000 {
            expect(&mut at_b, &number.to_string()).await;
        }
        assert_eq!(at_b.receiver.recv().await, Err(ChannelClosed::Remote));
    });
    timeout(Duration::from_secs(30), async { tokio::try_join!(sends, reads) }).await.unwrap().unwrap();
}
