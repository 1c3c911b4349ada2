//! The WebRTC backend over real sockets on loopback.
#![cfg(feature = "webrtc")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use p2pt_transport::{
    Channel, ChannelClosed, Frame, IceServer, PendingAnswer, PendingOffer, SendFrameError, Transport, TransportError,
    webrtc::{WebRtc, WebRtcConfig},
};
use tokio::{
    net::UdpSocket,
    sync::{Mutex, MutexGuard},
};

/// A guard, not an expectation.
const GUARD: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future).await.expect("in time")
}

/// Tests that load the machine go one at a time, so that none is starved into a time-out.
async fn alone() -> MutexGuard<'static, ()> {
    static HEAVY: Mutex<()> = Mutex::const_new(());
    HEAVY.lock().await
}

fn transport() -> WebRtc {
    WebRtc::new(WebRtcConfig::loopback()).unwrap()
}

async fn exchange(
    offerer: &dyn Transport,
    answerer: &dyn Transport,
) -> (Box<dyn PendingOffer>, Box<dyn PendingAnswer>) {
    within(async {
        let offer = offerer.offer().await.unwrap();
        let answer = answerer.answer(offer.sdp()).await.unwrap();
        (offer, answer)
    })
    .await
}

async fn open(offer: Box<dyn PendingOffer>, answer: Box<dyn PendingAnswer>) -> (Channel, Channel) {
    let sdp = answer.sdp().to_owned();
    let (a, b) = within(async { tokio::join!(offer.open(&sdp), answer.open()) }).await;
    (a.unwrap(), b.unwrap())
}

async fn connect(offerer: &dyn Transport, answerer: &dyn Transport) -> (Channel, Channel) {
    let (offer, answer) = exchange(offerer, answerer).await;
    open(offer, answer).await
}

fn numbered(number: u32, bytes: usize) -> Frame {
    let mut frame = vec![0; bytes.max(4)];
    frame[..4].copy_from_slice(&number.to_be_bytes());
    Frame::binary(frame)
}

async fn expect_numbered(channel: &mut Channel, numbers: std::ops::Range<u32>, bytes: usize) {
    for number in numbers {
        let frame = within(channel.receiver.recv()).await.unwrap();
        assert_eq!(frame, numbered(number, bytes), "frame {number}");
    }
}

#[cfg(feature = "conformance")]
#[test]
fn keeps_the_promises_of_the_trait() {
    use std::sync::Arc;

    use p2pt_transport::conformance::{Check, Settings};

    /// Most of the checks' time is waiting, so a few go at a time.
    const AT_A_TIME: usize = 4;

    async fn failure(check: Check) -> Option<String> {
        // Some wait for a connection that must fail.
        let short = matches!(
            check,
            Check::OneAnswerPerOffer | Check::DroppedOffer | Check::DroppedAnswer | Check::CancelledOpen
        );
        let timeout = Duration::from_secs(if short { 3 } else { 25 });
        let make = || Arc::new(WebRtc::new(WebRtcConfig::loopback().connect_timeout(timeout)).unwrap());
        let (a, b) = (make(), make());
        let result = tokio::time::timeout(GUARD * 5, check.run(a.clone(), b.clone(), &Settings::default())).await;
        within(async { tokio::join!(a.shutdown(), b.shutdown()) }).await;
        match result {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(format!("{failure:?}")),
            Err(_) => Some(format!("{check} hangs")),
        }
    }

    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _alone = runtime().block_on(alone());
    let failures: Vec<String> = std::thread::scope(|scope| {
        let lane = |lane| {
            let checks = Check::ALL.iter().skip(lane).step_by(AT_A_TIME);
            scope.spawn(move || checks.filter_map(|check| runtime().block_on(failure(*check))).collect::<Vec<_>>())
        };
        let lanes: Vec<_> = (0..AT_A_TIME).map(lane).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_channel_describes_itself() {
    let (alice, bob) = (transport(), transport());
    let (a, b) = connect(&alice, &bob).await;
    let (_, c) = connect(&alice, &bob).await;
    assert_eq!(a.info.label, b.info.label);
    assert!(a.info.label.len() == 40 && a.info.label.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", a.info.label);
    assert_ne!(a.info.label, c.info.label);
    assert_eq!((a.info.max_frame_bytes, b.info.max_frame_bytes), (98_304, 98_304));
    assert!(a.info.local_fingerprint.is_some() && a.info.local_fingerprint == b.info.remote_fingerprint);
    assert_eq!(b.info.local_fingerprint, c.info.local_fingerprint, "one certificate per transport");

    within(a.sender.send(Frame::text("hello"))).await.unwrap();
    let stats = within(a.sender.stats()).await;
    assert_eq!((stats.local_candidate.as_deref(), stats.remote_candidate.as_deref()), (Some("host"), Some("host")));
    assert_eq!(stats.bytes_sent, 5);
    assert!(stats.round_trip.is_some());
    within(a.sender.close()).await;
    assert_eq!(within(a.sender.stats()).await.bytes_sent, 5);
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

/// Chromium gives nothing but such candidates.
#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_hides_its_addresses_is_reached() {
    fn hidden(sdp: &str) -> String {
        let hide = |line: &str| match line.strip_prefix("a=candidate:") {
            Some(candidate) => {
                let mut words: Vec<&str> = candidate.split(' ').collect();
                words[4] = "0b7a1f5e-9f6c-4f0e-9d2b-3f1c5f0d9a11.local";
                format!("a=candidate:{}\r\n", words.join(" "))
            }
            None => format!("{line}\r\n"),
        };
        sdp.lines().map(hide).collect()
    }
    let (alice, bob) = (transport(), transport());

    let (offer, answer) = exchange(&alice, &bob).await;
    let sdp = hidden(answer.sdp());
    let (a, b) = within(async { tokio::join!(offer.open(&sdp), answer.open()) }).await;
    let a = a.unwrap();
    drop(b.unwrap());
    assert_eq!(within(a.sender.stats()).await.remote_candidate.as_deref(), Some("prflx"));

    let offer = within(alice.offer()).await.unwrap();
    let answer = within(bob.answer(&hidden(offer.sdp()))).await.unwrap();
    drop(open(offer, answer).await);
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

/// Says in an SDP that its author takes frames up to `bytes`, or does not say.
fn with_limit(sdp: &str, bytes: Option<usize>) -> String {
    let mut lines: Vec<String> =
        sdp.lines().filter(|line| !line.starts_with("a=max-message-size:")).map(str::to_owned).collect();
    lines.extend(bytes.map(|bytes| format!("a=max-message-size:{bytes}")));
    lines.join("\r\n") + "\r\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_the_other_side_is_kept_and_is_not_our_own() {
    let (alice, bob) = (transport(), transport());
    for (theirs, max) in [(Some(1000), 1000), (None, 65_536), (Some(0), 98_304), (Some(1 << 30), 98_304)] {
        let (offer, answer) = exchange(&alice, &bob).await;
        let sdp = with_limit(answer.sdp(), theirs);
        let (a, b) = within(async { tokio::join!(offer.open(&sdp), answer.open()) }).await;
        let (mut a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a.info.max_frame_bytes, max);
        let refused = within(a.sender.send(numbered(0, max + 1))).await;
        assert_eq!(refused, Err(SendFrameError::TooLarge { bytes: max + 1, max }));
        // However little the other side takes, what it sends is taken.
        within(b.sender.send(numbered(1, 98_304))).await.unwrap();
        assert_eq!(within(a.receiver.recv()).await.unwrap().len(), 98_304);
    }
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_our_own_is_told_and_kept() {
    let (alice, bob) = (WebRtc::new(WebRtcConfig::loopback().max_frame_bytes(1)).unwrap(), transport());
    for alice_offers in [true, false] {
        let (offerer, answerer) = if alice_offers { (&alice, &bob) } else { (&bob, &alice) };
        let (mut a, b) = connect(offerer, answerer).await;
        // As small as it can be set.
        assert_eq!((a.info.max_frame_bytes, b.info.max_frame_bytes), (65_536, 65_536));
        within(b.sender.send(numbered(1, 65_536))).await.unwrap();
        assert_eq!(within(a.receiver.recv()).await.unwrap().len(), 65_536);
    }
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

/// Twenty thousand, of which the core of the stack holds back all but the first few hundred.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_small_frames_arrives_whole_and_in_order() {
    let _alone = alone().await;
    let (alice, bob) = (transport(), transport());
    let (a, mut b) = connect(&alice, &bob).await;
    let sender = a.sender.clone();
    let sending = tokio::spawn(async move {
        for number in 0..20_000 {
            sender.send(numbered(number, 20)).await.unwrap();
        }
    });
    expect_numbered(&mut b, 0..20_000, 20).await;
    within(sending).await.unwrap();
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_makes_the_sender_wait_with_bounded_memory() {
    const FRAME: usize = 16_384;
    let _alone = alone().await;
    let config = || WebRtcConfig::loopback().send_buffer_bytes(1 << 20).receive_buffer_bytes(1 << 20);
    let (alice, bob) = (WebRtc::new(config()).unwrap(), WebRtc::new(config()).unwrap());
    let (a, mut b) = connect(&alice, &bob).await;

    // Until a second passes in which nothing more is accepted.
    let mut sent = 0;
    while let Ok(result) = tokio::time::timeout(Duration::from_secs(1), a.sender.send(numbered(sent, FRAME))).await {
        result.unwrap();
        sent += 1;
    }
    // Both buffers, the receive window, and the 512 frames and few the stack holds.
    let bound = (1 << 20) + (1 << 20) + (2 << 20) + 520 * FRAME;
    assert!(sent as usize * FRAME <= bound, "{sent} frames accepted");
    assert!(a.sender.unacknowledged_bytes() <= 1 << 20);
    // What the cancelled send was about to send was not sent.
    expect_numbered(&mut b, 0..sent, FRAME).await;
    within(a.sender.send(Frame::text("next"))).await.unwrap();
    assert_eq!(within(b.receiver.recv()).await.unwrap(), Frame::text("next"));
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

/// Frames that follow each other without a pause.
#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_is_known_while_more_is_sent() {
    let (alice, bob) = (transport(), transport());
    let (a, _b) = connect(&alice, &bob).await;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let mut sent = 0;
    within(async {
        while a.sender.unacknowledged_bytes() == sent {
            pace.tick().await;
            a.sender.send(Frame::text("small")).await.unwrap();
            sent += 5;
        }
    })
    .await;
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

/// Half a megabyte in small frames, of which most wait in the other side's core when the close arrives there.
#[tokio::test(flavor = "multi_thread")]
async fn a_polite_close_loses_nothing() {
    let _alone = alone().await;
    let (alice, bob) = (transport(), transport());
    for _ in 0..5 {
        let (a, mut b) = connect(&alice, &bob).await;
        for number in 0..5000 {
            within(a.sender.send(numbered(number, 100))).await.unwrap();
        }
        let reading = async {
            expect_numbered(&mut b, 0..5000, 100).await;
            within(b.receiver.recv()).await
        };
        let ((), end) = tokio::join!(within(a.sender.close()), reading);
        assert_eq!(end, Err(ChannelClosed::Remote));
        assert_eq!(a.sender.unacknowledged_bytes(), 0);
    }
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

/// The other side's runtime is taken away with its sockets: nothing says goodbye, as when a process is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_vanishes_is_noticed() {
    let _alone = alone().await;
    let config = WebRtcConfig::loopback().idle_timeout(Duration::from_secs(1));
    let alice = WebRtc::new(config).unwrap();
    let doomed = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    let offer = within(alice.offer()).await.unwrap();
    let offer_sdp = offer.sdp().to_owned();
    let (answer_in, answer_out) = tokio::sync::oneshot::channel();
    let theirs = doomed.spawn(async move {
        let answer = transport().answer(&offer_sdp).await.unwrap();
        answer_in.send(answer.sdp().to_owned()).unwrap();
        answer.open().await.unwrap()
    });
    let mut a = within(offer.open(&answer_out.await.unwrap())).await.unwrap();
    let theirs = within(theirs).await.unwrap();
    within(theirs.sender.send(Frame::text("last words"))).await.unwrap();
    assert_eq!(within(a.receiver.recv()).await.unwrap(), Frame::text("last words"));

    // Awaited, lest its last moments acknowledge what is sent next.
    tokio::task::spawn_blocking(move || doomed.shutdown_timeout(GUARD)).await.unwrap();
    within(a.sender.send(Frame::text("into the void"))).await.unwrap();
    assert_eq!(within(a.receiver.recv()).await, Err(ChannelClosed::Timeout(Duration::from_secs(1))));
    assert_eq!(a.sender.unacknowledged_bytes(), 13);
    assert_eq!(within(a.sender.send(Frame::text("late"))).await, Err(SendFrameError::Closed));
    // The half that outlives its runtime knows that it is over.
    assert!(within(theirs.sender.send(Frame::text("ghost"))).await.is_err());
    within(alice.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stun_server_that_does_not_answer_costs_only_the_gathering_time() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("stun:{}", silent.local_addr().unwrap());
    let servers = [IceServer::stun(url), IceServer::stun("stun:name.invalid:3478"), IceServer::stun("not a url")];
    let config = WebRtcConfig::loopback().ice_servers(servers).gather_timeout(Duration::from_millis(200));
    let alice = WebRtc::new(config).unwrap();
    let started = tokio::time::Instant::now();
    let offer = within(alice.offer()).await.unwrap();
    // The stack itself would wait 10.8 s. Half of that is a guard for slow machines.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(started.elapsed() >= Duration::from_millis(200), "the server was asked");
    assert!(offer.sdp().contains(" typ host"), "{}", offer.sdp());
    within(alice.shutdown()).await;
}

/// Answers one binding request as if its sender were behind a NAT at 203.0.113.9:4242.
async fn answer_stun(server: &UdpSocket) {
    const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
    let mut request = [0; 200];
    let (_, from) = server.recv_from(&mut request).await.unwrap();
    let mut response = vec![0x01, 0x01, 0, 12];
    response.extend_from_slice(&request[4..20]);
    response.extend_from_slice(&[0x00, 0x20, 0, 8, 0, 1]);
    response.extend(4242u16.to_be_bytes().iter().zip(COOKIE).map(|(byte, cookie)| byte ^ cookie));
    response.extend([203, 0, 113, 9].iter().zip(COOKIE).map(|(byte, cookie)| byte ^ cookie));
    server.send_to(&response, from).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stun_server_that_answers_is_waited_for_no_longer_than_needed() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("stun:{}", server.local_addr().unwrap());
    let config = WebRtcConfig::loopback().ice_servers([IceServer::stun(url)]).gather_timeout(GUARD * 2);
    let alice = WebRtc::new(config).unwrap();
    let (offer, ()) = within(async { tokio::join!(alice.offer(), answer_stun(&server)) }).await;
    let offer = offer.unwrap();
    assert!(offer.sdp().contains("203.0.113.9 4242 typ srflx"), "{}", offer.sdp());
    within(alice.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_word_about_addresses_two_transports_on_one_machine_meet() {
    let config = || WebRtcConfig::default().without_ice_servers();
    let (alice, bob) = (WebRtc::new(config()).unwrap(), WebRtc::new(config()).unwrap());
    let (a, mut b) = connect(&alice, &bob).await;
    within(a.sender.send(Frame::text("hello"))).await.unwrap();
    assert_eq!(within(b.receiver.recv()).await.unwrap(), Frame::text("hello"));
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_local_addresses_can_be_given() {
    let addresses: [SocketAddr; 2] = ["127.0.0.1:0".parse().unwrap(), "127.0.0.2:0".parse().unwrap()];
    let config = WebRtcConfig::default().without_ice_servers().bind_addresses(addresses);
    let alice = WebRtc::new(config).unwrap();
    let offer = within(alice.offer()).await.unwrap();
    assert!(offer.sdp().contains(" 127.0.0.1 ") && offer.sdp().contains(" 127.0.0.2 "), "{}", offer.sdp());
    within(alice.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_sdp_is_refused_and_leaves_nothing_behind() {
    let (alice, bob) = (WebRtc::new(WebRtcConfig::loopback().max_connections(1)).unwrap(), transport());
    let offer = within(bob.offer()).await.unwrap();
    let broken_candidate = format!("{}a=candidate:nonsense\r\n", offer.sdp());
    let mut cases = vec!["", "{}", "gAAAAABm\u{0}…", "v=0", "v=0\r\nm=application x\r\n", "v=0\r\n\u{feff}=\r\n"];
    cases.push(&broken_candidate);
    let cut: Vec<String> = (0..offer.sdp().len()).step_by(7).map(|at| offer.sdp()[..at].to_owned()).collect();
    cases.extend(cut.iter().map(String::as_str));
    for sdp in cases {
        // A connection at a time: one that was left behind would be in the way of the next.
        match within(alice.answer(sdp)).await {
            Err(TransportError::InvalidSdp(_)) => {}
            // An offer cut short late enough is still an offer.
            Ok(answer) => {
                assert!(sdp.contains("a=fingerprint"), "{sdp}");
                drop(answer);
            }
            Err(other) => panic!("{other} for {sdp:?}"),
        }
        until_free(&alice).await;
    }
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

/// Waits until the only connection a transport may have is closed.
async fn until_free(transport: &WebRtc) {
    within(async {
        while !format!("{transport:?}").contains("in_use: 0") {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_connections_is_bounded() {
    let (alice, bob) = (WebRtc::new(WebRtcConfig::loopback().max_connections(1)).unwrap(), transport());
    let offers = [within(bob.offer()).await.unwrap(), within(bob.offer()).await.unwrap()];
    // Offers that wait take no place.
    let _waits = within(alice.offer()).await.unwrap();
    let answer = within(alice.answer(offers[0].sdp())).await.unwrap();
    let refused = within(alice.answer(offers[1].sdp())).await.unwrap_err();
    assert!(matches!(refused, TransportError::TooManyConnections { max: 1 }), "{refused}");
    drop(answer);
    within(async {
        while alice.answer(offers[1].sdp()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(alice.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_offers_is_bounded() {
    let alice = WebRtc::new(WebRtcConfig::loopback().max_offers(1)).unwrap();
    let offer = within(alice.offer()).await.unwrap();
    let refused = within(alice.offer()).await.unwrap_err();
    assert!(matches!(refused, TransportError::TooManyConnections { max: 1 }), "{refused}");
    drop(offer);
    until_free(&alice).await;
    drop(within(alice.offer()).await.unwrap());
    within(alice.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_does_not_exist_is_named() {
    let config = WebRtcConfig::loopback().connect_timeout(Duration::from_millis(500));
    let (alice, bob) = (WebRtc::new(config).unwrap(), transport());
    let (offer, answer) = exchange(&alice, &bob).await;
    let sdp: String = answer
        .sdp()
        .lines()
        .filter(|line| !line.starts_with("a=candidate:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    drop(answer);
    match within(offer.open(&sdp)).await.unwrap_err() {
        TransportError::IceFailed { local, remote } => assert_eq!((&*local, &*remote), ("host", "none")),
        other => panic!("{other}"),
    }
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_whose_halves_are_gone_closes_after_sending() {
    let (alice, bob) = (transport(), transport());
    let (a, mut b) = connect(&alice, &bob).await;
    let Channel { sender, receiver, .. } = a;
    within(sender.send(Frame::Text(Bytes::from_static(b"goodbye")))).await.unwrap();
    drop(receiver);
    drop(sender);
    assert_eq!(within(b.receiver.recv()).await.unwrap(), Frame::text("goodbye"));
    assert_eq!(within(b.receiver.recv()).await, Err(ChannelClosed::Remote));
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
}

/// Two of eight fixed ports are taken, the first for offers and the first for answers.
#[tokio::test]
async fn ports_that_are_taken_are_passed_over() {
    let bind = |port| std::net::UdpSocket::bind(("127.0.0.1", port)).ok();
    let range = |first: &u16| (*first..first + 8).map(bind).collect::<Option<Vec<_>>>();
    let (first, mut taken) = (40_000..).step_by(8).find_map(|first| Some((first, range(&first)?))).unwrap();
    let config = || WebRtcConfig::loopback().port(first);
    let alice = WebRtc::new(config()).unwrap();
    let refused = alice.offer().await.unwrap_err();
    assert!(
        matches!(&refused, TransportError::Bind { address, source }
            if address.port() == first && source.kind() == std::io::ErrorKind::AddrInUse),
        "{refused}"
    );
    taken.retain(|socket| [first, first + 4].contains(&socket.local_addr().unwrap().port()));
    let bob = transport();
    let (a, b) = connect(&alice, &bob).await;
    let (c, d) = connect(&bob, &alice).await;
    drop((a, b, c, d));
    let ports = |sdp: &str| sdp.contains(&format!(" {} typ host", first + 1));
    assert!(ports(alice.offer().await.unwrap().sdp()));
}

#[test]
fn a_port_without_room_for_seven_more_is_refused() {
    assert!(WebRtc::new(WebRtcConfig::loopback().port(65_528)).is_ok());
    for config in [
        WebRtcConfig::default().port(65_529),
        WebRtcConfig::default().bind_addresses(["127.0.0.1:65535".parse().unwrap()]),
    ] {
        let refused = WebRtc::new(config).unwrap_err().to_string();
        assert!(refused.contains("65528 is the highest"), "{refused}");
    }
}
