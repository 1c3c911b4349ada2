//! Clients that do not behave, each kind in its own way and as fast as the tracker lets it, up to fifty messages a
//! second; who is thrown out comes back after a second. Without these bounds they would take the processor of this
//! machine from the tracker, which on a network they could not.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use p2pt_proto::{Announce, AnnounceEvent, ClientMessage};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::JoinSet,
    time::{interval, sleep},
};
use tokio_tungstenite::tungstenite::Message;

use crate::good::{Client, announce, open, peer, shared_swarm};

const BETWEEN_MESSAGES: Duration = Duration::from_millis(20);
const BEFORE_RETURN: Duration = Duration::from_secs(1);
/// Twice what p2pt-tracker takes; bittorrent-tracker takes it.
const OVERSIZED_BYTES: usize = 256 * 1024;

/// Runs this many clients, a seventh of each kind, until the process ends.
pub(crate) async fn besiege(addr: SocketAddr, count: usize) {
    let mut tasks = JoinSet::new();
    for number in 0..count {
        tasks.spawn(async move {
            loop {
                match number % 7 {
                    0 => half_open(addr).await,
                    1 => stalled(addr, number).await,
                    kind => flood(addr, kind, number).await,
                };
                sleep(BEFORE_RETURN).await;
            }
        });
    }
    tasks.join_all().await;
}

/// A handshake of one byte a second.
async fn half_open(addr: SocketAddr) -> Option<()> {
    let mut stream = TcpStream::connect(addr).await.ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nCookie: ").await.ok()?;
    loop {
        sleep(Duration::from_secs(1)).await;
        stream.write_all(b"x").await.ok()?;
    }
}

/// A member that is given offers and replies, and never reads.
async fn stalled(addr: SocketAddr, number: usize) -> Option<()> {
    let mut client = open(addr, None).await?;
    let me = peer();
    loop {
        client.send(announce(shared_swarm(number), me, 5)).await.ok()?;
        sleep(BETWEEN_MESSAGES).await;
    }
}

/// Messages as fast as may be; what comes back is read and thrown away.
async fn flood(addr: SocketAddr, kind: usize, number: usize) -> Option<()> {
    let (mut sink, mut source) = open(addr, None).await?.split();
    tokio::select! {
        sent = send_all(&mut sink, kind, number) => sent,
        () = async { while let Some(Ok(_)) = source.next().await {} } => None,
    }
}

async fn send_all(sink: &mut SplitSink<Client, Message>, kind: usize, number: usize) -> Option<()> {
    let me = peer();
    let mut due = interval(BETWEEN_MESSAGES);
    loop {
        due.tick().await;
        match kind {
            2 => sink.send(Message::binary(rand::random::<[u8; 512]>().to_vec())).await.ok()?,
            // A new swarm each time.
            3 => sink.send(announce(rand::random::<[u8; 20]>().into(), me, 0)).await.ok()?,
            // Leaving makes room for further offers.
            4 => {
                sink.send(announce(shared_swarm(number), me, 10)).await.ok()?;
                let mut stopped = Announce::new(shared_swarm(number), me);
                stopped.event = Some(AnnounceEvent::Stopped);
                sink.send(Message::text(ClientMessage::Announce(stopped).encode())).await.ok()?;
            }
            5 => sink.send(Message::text(r#"{"action":"scrape"}"#)).await.ok()?,
            _ => sink.send(Message::text("x".repeat(OVERSIZED_BYTES))).await.ok()?,
        }
    }
}
