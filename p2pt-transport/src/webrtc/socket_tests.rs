//! Transports on two networks, one of which is full, or comes and goes.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Mutex,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{
    datagram::Datagram,
    outgoing::MAX_WAITING,
    wrapped_socket::{Intercept, Wrapped},
    *,
};
use crate::{Channel, Frame, IceServer};

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
}

async fn connect(a: &WebRtc, b: &WebRtc) -> (Channel, Channel) {
    let offer = within(a.offer()).await.expect("an offer");
    let answer = within(b.answer(offer.sdp())).await.expect("an answer");
    let sdp = answer.sdp().to_owned();
    let (a, b) = within(async { tokio::join!(offer.open(&sdp), answer.open()) }).await;
    (a.expect("open"), b.expect("open"))
}

/// What can be done to the sockets of a [`Split`].
#[derive(Debug, Default)]
struct State {
    /// The address whose sockets take nothing.
    full: Option<IpAddr>,
    /// The addresses there are, if not those of the system.
    addresses: Option<Vec<IpAddr>>,
    wakers: Vec<Waker>,
}

/// The loopback network of the system, whose addresses do not reach one another: each is a network of its own.
#[derive(Debug, Default)]
struct Split {
    state: Mutex<State>,
}

impl Split {
    fn fill(&self, address: Option<IpAddr>) {
        let mut state = lock(&self.state);
        state.full = address;
        state.wakers.drain(..).for_each(Waker::wake);
    }
}

impl Intercept for Split {
    fn addresses(&self) -> Option<Vec<SocketAddr>> {
        let addresses = &lock(&self.state).addresses;
        addresses.as_ref().map(|addresses| addresses.iter().map(|address| SocketAddr::new(*address, 0)).collect())
    }

    fn before_send(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<()> {
        match lock(&self.state).full {
            Some(full) if full == local.ip() => Err(io::ErrorKind::WouldBlock.into()),
            _ if remote.ip() != local.ip() => Err(io::ErrorKind::NetworkUnreachable.into()),
            _ => Ok(()),
        }
    }

    fn before_writable(&self, local: SocketAddr, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.full != Some(local.ip()) {
            return Poll::Ready(());
        }
        state.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

fn loopback(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

/// A socket that takes nothing, as that of a slow uplink, keeps the connections waiting that send from it, and no others.
#[tokio::test]
async fn a_full_socket_keeps_no_other_waiting() {
    for (full, other) in [(1, 2), (2, 1)] {
        keeps_no_other_waiting(full, other).await;
    }
}

async fn keeps_no_other_waiting(full: u8, other: u8) {
    let network = Arc::new(Split::default());
    let new = |network: Arc<Split>, addresses: &[u8]| {
        let config = WebRtcConfig::loopback().bind_ips(addresses.iter().map(|last| loopback(*last)));
        let network = Arc::new(Wrapped(network));
        WebRtc::with_network(config.idle_timeout(Duration::from_secs(60)), network).expect("a transport")
    };
    let both = new(network.clone(), &[1, 2]);
    // Their sockets are never full.
    let (free, slow) = (new(Arc::default(), &[other]), new(Arc::default(), &[full]));
    let (to_free, mut at_free) = connect(&both, &free).await;
    let (to_slow, mut at_slow) = connect(&both, &slow).await;
    let socket = {
        let core = lock(&both.node.shared.core);
        let sockets = core.endpoint.keys().into_iter().filter_map(|key| core.endpoint.sockets(key));
        sockets.flat_map(|sockets| sockets.to_vec()).find(|socket| socket.ip() == loopback(full)).expect("a socket")
    };

    network.fill(Some(loopback(full)));
    within(to_slow.sender.send(Frame::text("late"))).await.expect("accepted");
    within(to_free.sender.send(Frame::text("at once"))).await.expect("accepted");
    assert_eq!(within(at_free.receiver.recv()).await, Ok(Frame::text("at once")));
    // As many as may wait for it, so that its connections wait too.
    {
        let mut core = lock(&both.node.shared.core);
        let junk = |_| Datagram { local: socket, remote: socket, data: [0; 30][..].into() };
        (0..MAX_WAITING).map(junk).for_each(|junk| core.outgoing.push(junk));
    }
    within(to_slow.sender.send(Frame::text("later"))).await.expect("accepted");
    for _ in 0..3 {
        within(to_free.sender.send(Frame::text("still"))).await.expect("accepted");
        assert_eq!(within(at_free.receiver.recv()).await, Ok(Frame::text("still")));
    }
    assert_eq!(lock(&both.node.shared.core).blocked.len(), 1);
    // The other direction is no concern of it.
    within(at_slow.sender.send(Frame::text("back"))).await.expect("accepted");
    let mut to_slow = to_slow;
    assert_eq!(within(to_slow.receiver.recv()).await, Ok(Frame::text("back")));

    network.fill(None);
    assert_eq!(within(at_slow.receiver.recv()).await, Ok(Frame::text("late")));
    assert_eq!(within(at_slow.receiver.recv()).await, Ok(Frame::text("later")));
    within(async { tokio::join!(both.shutdown(), free.shutdown(), slow.shutdown()) }).await;
}

/// An address that is gone for a moment takes no sockets from an offer that is being made: it would name dead ones, although the
/// address is there again.
#[tokio::test(start_paused = true)]
async fn an_offer_that_is_being_made_keeps_its_sockets() {
    let silent = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.expect("a socket");
    let server = IceServer::stun(format!("stun:{}", silent.local_addr().expect("an address")));
    let network = Arc::new(Split::default());
    let config = WebRtcConfig::default().ice_servers([server]).gather_timeout(Duration::from_secs(5));
    let transport = WebRtc::with_network(config, Arc::new(Wrapped(network.clone()))).expect("a transport");
    let have = |addresses: &[u8]| {
        lock(&network.state).addresses = Some(addresses.iter().map(|last| loopback(*last)).collect());
    };
    let sockets = || -> Vec<IpAddr> {
        let sets = lock(&transport.node.shared.sets);
        let mut sockets: Vec<_> = sets.sockets().map(|socket| socket.local_addr().ip()).collect();
        sockets.sort_unstable();
        sockets
    };
    have(&[1, 2]);
    let mut one = transport.offer();
    assert!(tokio::time::timeout(Duration::ZERO, &mut one).await.is_err(), "it waits for the server");
    assert_eq!(sockets(), [loopback(1), loopback(2)]);
    have(&[1]);
    tokio::time::advance(Duration::from_secs(1)).await;
    let mut two = transport.offer();
    assert!(tokio::time::timeout(Duration::ZERO, &mut two).await.is_err(), "it waits for the server");
    assert_eq!(sockets(), [loopback(1), loopback(2)], "closed under an offer");
    drop(one);
    tokio::time::advance(Duration::from_secs(1)).await;
    let three = within(transport.offer()).await.expect("an offer");
    assert_eq!(sockets(), [loopback(1)], "kept for nothing");
    drop((two, three));
    within(transport.shutdown()).await;
}
