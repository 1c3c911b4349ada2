use p2pt_proto::PeerId;
use p2pt_transport::memory::MemoryNetwork;
use p2pt_transport::{Channel, Transport};

use super::*;
use crate::peer::Settings;

const STALL: Duration = Duration::from_secs(30);

async fn channel(network: &MemoryNetwork) -> (Channel, Channel) {
    let (near, far) = (network.transport(), network.transport());
    let offer = near.offer().await.expect("an offer");
    let answer = far.answer(offer.sdp()).await.expect("an answer");
    let sdp = answer.sdp().to_owned();
    tokio::try_join!(offer.open(&sdp), answer.open()).expect("a channel")
}

fn peer() -> Peer {
    Peer::new(PeerId::from([1; 20]), Arc::new(Settings::alone(1 << 20)))
}

fn link(id: u64, channel: &Channel) -> Arc<Link> {
    Arc::new(Link::new(LinkId(id), channel.sender.clone(), channel.info.max_frame_bytes))
}

#[tokio::test(start_paused = true)]
async fn a_retired_link_closes_when_it_is_quiet() {
    let (near, _far) = channel(&MemoryNetwork::new(1)).await;
    let (link, began) = (link(1, &near), Instant::now());
    assert!(!link.is_leaving());
    link.retire().await;
    assert!(link.is_leaving());
    assert_eq!(link.ended().await, ChannelClosed::Local);
    assert_eq!(began.elapsed(), QUIET);
}

#[tokio::test(start_paused = true)]
async fn a_retired_link_stays_while_the_other_side_sends() {
    let (near, far) = channel(&MemoryNetwork::new(1)).await;
    let (link, peer, queue) = (link(1, &near), peer(), EventQueue::new());
    let began = Instant::now();
    let sending = async {
        for _ in 0..30 {
            sleep(QUIET / 2).await;
            far.sender.send(Frame::text("not over yet")).await.expect("the link stays");
        }
    };
    tokio::join!(sending, link.retire(), read(&link, near.receiver, &peer, &queue));
    let after = began.elapsed();
    assert!(after >= QUIET * 16 && after <= QUIET * 18, "closed after {after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retired_link_stays_while_a_message_is_on_its_way() {
    let network = MemoryNetwork::new(1);
    let (near, mut far) = channel(&network).await;
    let link = link(1, &near);
    // More than the link's buffers hold, and nobody reads at the other side.
    let payload = Payload::from("x".repeat(4 << 20));
    let id = MessageId::from(1);
    let reading = async {
        sleep(QUIET * 10).await;
        assert!(!link.is_closed() && !link.is_leaving());
        while far.receiver.recv().await.is_ok() {}
    };
    let sent = async { tokio::join!(link.send_message(&id, &payload, STALL), reading).0 };
    let (sent, ()) = tokio::join!(sent, link.retire());
    assert!(sent.is_ok(), "{sent:?}");
    assert!(link.is_leaving());
}

#[tokio::test(start_paused = true)]
async fn a_retired_link_that_ends_by_itself_is_waited_for_no_longer() {
    let network = MemoryNetwork::new(1);
    let (near, far) = channel(&network).await;
    let link = link(1, &near);
    far.sender.close().await;
    assert_eq!(link.ended().await, ChannelClosed::Remote);
    let began = Instant::now();
    link.retire().await;
    assert!(began.elapsed() < QUIET);
}

#[tokio::test(start_paused = true)]
async fn messages_go_on_over_a_retiring_link_until_all_has_arrived() {
    let network = MemoryNetwork::new(1);
    let ((old, mut old_far), (new, mut new_far)) = (channel(&network).await, channel(&network).await);
    let (peer, old, new) = (peer(), link(1, &old), link(2, &new));
    peer.shared().add_link(old.clone());
    peer.shared().add_link(new.clone());
    peer.send("first").await.expect("sent");
    let switching = async {
        // Nothing was acknowledged yet.
        peer.send("second").await.expect("sent");
        sleep(QUIET / 2).await;
        peer.send("third").await.expect("sent");
    };
    tokio::join!(old.retire(), switching);
    let mut heard = Vec::new();
    while let Ok(frame) = old_far.receiver.recv().await {
        heard.push(frame.to_text().contains("first") || frame.to_text().contains("second"));
    }
    assert_eq!(heard, [true, true]);
    assert!(new_far.receiver.recv().await.expect("a frame").to_text().contains("third"));
}
