//! The browser backend in a browser: what the conformance suite does not ask.
//!
//! Run by `wasm-bindgen-test-runner` in a headless browser.
#![cfg(target_family = "wasm")]

use std::{sync::Arc, time::Duration};

use p2pt_rt::{JoinSet, now, sleep, timeout, yield_now};
use p2pt_transport::{
    Channel, ChannelClosed, Frame, IcePolicy, IceServer, PendingAnswer, PendingOffer, Transport, TransportError,
    web::{WebRtc, WebRtcConfig, held},
};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::*;

wasm_bindgen_test_configure!(run_in_browser);

/// Longer than anything here takes.
const GUARD: Duration = Duration::from_secs(60);

fn config() -> WebRtcConfig {
    WebRtcConfig::default().without_ice_servers()
}

fn transport() -> WebRtc {
    WebRtc::new(config()).expect("a browser with WebRTC")
}

async fn guarded<T>(future: impl Future<Output = T>) -> T {
    timeout(GUARD, future).await.expect("it hangs")
}

async fn describe(a: &WebRtc, b: &WebRtc) -> (Box<dyn PendingOffer>, Box<dyn PendingAnswer>) {
    let offer = a.offer().await.unwrap();
    let answer = b.answer(offer.sdp()).await.unwrap();
    (offer, answer)
}

async fn connect(a: &WebRtc, b: &WebRtc) -> (Channel, Channel) {
    let (offer, answer) = describe(a, b).await;
    let sdp = answer.sdp().to_owned();
    let (a, b) = tokio::join!(offer.open(&sdp), answer.open());
    (a.unwrap(), b.unwrap())
}

#[wasm_bindgen_test]
async fn two_connect_talk_and_leave() {
    guarded(async {
        let (alice, bob) = (transport(), transport());
        let started = now();
        let (mut a, mut b) = connect(&alice, &bob).await;
        console_log!("connected after {:?}", started.elapsed());
        a.sender.send(Frame::text("hello")).await.unwrap();
        assert_eq!(b.receiver.recv().await.unwrap(), Frame::text("hello"));
        b.sender.send(Frame::binary("and back")).await.unwrap();
        assert_eq!(a.receiver.recv().await.unwrap(), Frame::binary("and back"));
        let stats = a.sender.stats().await;
        console_log!("{stats:?}");
        assert_eq!((stats.bytes_sent, stats.bytes_received), (5, 8));
        assert!(stats.round_trip.is_some() && stats.local_candidate.is_some() && stats.remote_candidate.is_some());
        a.sender.close().await;
        assert_eq!(b.receiver.recv().await, Err(ChannelClosed::Remote));
        tokio::join!(alice.shutdown(), bob.shutdown());
    })
    .await;
}

/// Chromium counts closed connections among its 500 until they are collected.
/// Long texts are encoded in another way than short ones, and those that are not ASCII need more bytes than they have units.
#[wasm_bindgen_test]
async fn texts_of_every_length_and_script_arrive_whole() {
    guarded(async {
        let (alice, bob) = (transport(), transport());
        let (a, mut b) = connect(&alice, &bob).await;
        for part in ["x", "é", "語", "🦀", "x語🦀"] {
            for times in [1, 255, 256, 257, 511, 512, 513, 5000] {
                let text = part.repeat(times);
                a.sender.send(Frame::text(text.clone())).await.unwrap();
                assert_eq!(b.receiver.recv().await.unwrap(), Frame::text(text), "{part:?}, {times} times");
            }
        }
    })
    .await;
}

#[wasm_bindgen_test]
async fn more_connections_than_a_browser_makes_come_one_after_the_other() {
    guarded(async {
        let alice = Arc::new(transport());
        for batch in 0..11 {
            let begun = now();
            let mut offers = JoinSet::new();
            for _ in 0..100 {
                let alice = alice.clone();
                offers.spawn(async move { alice.offer().await.map(drop) });
            }
            while let Some(offer) = offers.join_next().await {
                offer.unwrap().unwrap();
            }
            console_log!("batch {batch} of 100 offers in {:?}", begun.elapsed());
        }
    })
    .await;
}

/// A peer may send as soon as its own side is open, which is before the browser has told the other page of the channel.
#[wasm_bindgen_test]
async fn what_is_sent_as_soon_as_one_side_is_open_arrives() {
    guarded(async {
        let (alice, bob) = (transport(), transport());
        for round in 0..60 {
            let (offer, answer) = describe(&alice, &bob).await;
            let sdp = answer.sdp().to_owned();
            let sends = async {
                let a = offer.open(&sdp).await.unwrap();
                a.sender.try_send(Frame::text("first")).unwrap();
                a.sender.try_send(Frame::text("second")).unwrap();
                a
            };
            let receives = async {
                let mut b = answer.open().await.unwrap();
                for expected in ["first", "second"] {
                    let got = timeout(Duration::from_secs(5), b.receiver.recv()).await;
                    assert_eq!(
                        got.unwrap_or_else(|_| panic!("{expected} is lost, round {round}")),
                        Ok(Frame::text(expected))
                    );
                }
                b
            };
            let _open = tokio::join!(sends, receives);
        }
    })
    .await;
}

/// Chromium hands an answerer a channel that it says is open, and loses now and then what is sent on it at once.
#[wasm_bindgen_test]
async fn what_an_answerer_sends_first_arrives() {
    guarded(async {
        let (alice, bob) = (transport(), transport());
        for round in 0..60 {
            let (offer, answer) = describe(&alice, &bob).await;
            let sdp = answer.sdp().to_owned();
            let sends = async {
                let b = answer.open().await.unwrap();
                b.sender.try_send(Frame::text("first")).unwrap();
                b
            };
            let receives = async {
                let mut a = offer.open(&sdp).await.unwrap();
                let got = timeout(Duration::from_secs(5), a.receiver.recv()).await;
                assert_eq!(got.unwrap_or_else(|_| panic!("it is lost, round {round}")), Ok(Frame::text("first")));
                a
            };
            let _open = tokio::join!(sends, receives);
        }
    })
    .await;
}

/// The other side may not even have been told of the channel.
#[wasm_bindgen_test]
async fn a_close_right_after_the_opening_loses_nothing() {
    guarded(async {
        // What is in flight has the close timeout to arrive: on a busy machine retransmissions take longer than the default.
        let patient = || WebRtc::new(config().close_timeout(GUARD)).expect("a browser with WebRTC");
        let (alice, bob) = (patient(), patient());
        for _ in 0..20 {
            let (offer, answer) = describe(&alice, &bob).await;
            let sdp = answer.sdp().to_owned();
            let sends = async {
                let a = offer.open(&sdp).await.unwrap();
                for number in 0..100 {
                    a.sender.try_send(Frame::text(format!("{number:<10000}"))).unwrap();
                }
            };
            let receives = async {
                let mut b = answer.open().await.unwrap();
                for number in 0..100 {
                    assert_eq!(b.receiver.recv().await, Ok(Frame::text(format!("{number:<10000}"))));
                }
                assert_eq!(b.receiver.recv().await, Err(ChannelClosed::Remote));
            };
            tokio::join!(sends, receives);
        }
    })
    .await;
}

#[wasm_bindgen_test]
async fn two_hundred_connections_leave_nothing() {
    guarded(async {
        nothing_is_held().await;
        let (alice, bob) = (transport(), transport());
        for batch in 0..10 {
            let mut open = Vec::new();
            for _ in 0..10 {
                let (one, other) = tokio::join!(connect(&alice, &bob), connect(&bob, &alice));
                open.extend([one, other]);
            }
            assert_eq!(held().connections, 40, "both ends of twenty");
            for (number, (mut a, mut b)) in open.into_iter().enumerate() {
                a.sender.send(Frame::text("hello")).await.unwrap();
                assert_eq!(b.receiver.recv().await, Ok(Frame::text("hello")));
                match (batch + number) % 3 {
                    0 => {
                        a.sender.close().await;
                        assert_eq!(b.receiver.recv().await, Err(ChannelClosed::Remote));
                    }
                    1 => {
                        drop(b);
                        assert_eq!(a.receiver.recv().await, Err(ChannelClosed::Remote));
                    }
                    _ => {
                        tokio::join!(a.sender.close(), b.sender.close());
                    }
                }
            }
        }
        let (_offer, _answer) = describe(&alice, &bob).await;
        tokio::join!(alice.shutdown(), bob.shutdown());
    })
    .await;
    guarded(nothing_is_held()).await;
}

/// What a drop or a shutdown began ends soon.
async fn nothing_is_held() {
    while held().connections > 0 || held().listeners > 0 {
        yield_now().await;
    }
}

/// A browser does not count empty frames among what it holds.
#[wasm_bindgen_test]
async fn empty_frames_are_bounded_and_arrive() {
    guarded(async {
        let (alice, bob) = (WebRtc::new(config().send_buffer_bytes(100 * 1800)).unwrap(), transport());
        let (a, mut b) = connect(&alice, &bob).await;
        let taken = (0..10_000).take_while(|_| a.sender.try_send(Frame::text("")).is_ok()).count();
        assert_eq!(taken, 100);
        // Others wait for room, of which the browser says nothing.
        for _ in 0..150 {
            a.sender.send(Frame::binary("")).await.unwrap();
        }
        a.sender.send(Frame::text("after")).await.unwrap();
        for number in 0..250 {
            let expected = if number < 100 { Frame::text("") } else { Frame::binary("") };
            assert_eq!(b.receiver.recv().await, Ok(expected), "{number}");
        }
        assert_eq!(b.receiver.recv().await, Ok(Frame::text("after")));
        // What is sent after them shows that they were: there is room at once.
        a.sender.send(Frame::text("")).await.unwrap();
        a.sender.close().await;
        assert_eq!(b.receiver.recv().await, Ok(Frame::text("")));
        assert_eq!(b.receiver.recv().await, Err(ChannelClosed::Remote));
    })
    .await;
}

/// The browser checks an idle connection so seldom that silence alone would be no sign of death.
#[wasm_bindgen_test]
async fn a_connection_on_which_nothing_is_sent_stays() {
    guarded(async {
        let make = || WebRtc::new(config().idle_timeout(Duration::from_secs(1))).unwrap();
        let (alice, bob) = (make(), make());
        let (mut a, b) = connect(&alice, &bob).await;
        let ended = timeout(Duration::from_secs(12), a.sender.closed()).await;
        assert!(ended.is_err(), "{ended:?}");
        b.sender.send(Frame::text("still here")).await.unwrap();
        assert_eq!(a.receiver.recv().await, Ok(Frame::text("still here")));
        assert!(a.sender.stats().await.round_trip.is_some());
    })
    .await;
}

#[wasm_bindgen(inline_js = r#"
export async function peer_in_a_frame(offer) {
  const frame = document.createElement('iframe')
  document.body.append(frame)
  const pc = new frame.contentWindow.RTCPeerConnection()
  pc.ondatachannel = event => { frame.channel = event.channel }
  await pc.setRemoteDescription({ type: 'offer', sdp: offer })
  await pc.setLocalDescription(await pc.createAnswer())
  while (pc.iceGatheringState !== 'complete') await new Promise(resolve => setTimeout(resolve, 10))
  return [pc.localDescription.sdp, () => frame.remove()]
}
const getStats = RTCPeerConnection.prototype.getStats
export function let_nothing_arrive(countsChecks) {
  let checks = 0
  RTCPeerConnection.prototype.getStats = async () => new Map([['pair', {
    type: 'candidate-pair', id: 'pair', bytesReceived: 7, requestsSent: countsChecks ? checks++ : undefined
  }]])
}
export function let_all_arrive() {
  RTCPeerConnection.prototype.getStats = getStats
}"#)]
extern "C" {
    /// Has the browser report that nothing arrives, and, if it counts them, that it sends one check after the other.
    fn let_nothing_arrive(counts_checks: bool);
    fn let_all_arrive();

    /// A peer in a page of its own: its answer, and a function that takes the page away.
    #[wasm_bindgen(catch)]
    async fn peer_in_a_frame(offer: &str) -> Result<JsValue, JsValue>;
}

/// What a browser reports of a peer that was killed: Chromium and Firefox, as far as the latter says anything.
#[wasm_bindgen_test]
async fn silence_is_a_death_if_checks_are_not_answered() {
    guarded(async {
        let idle_timeout = Duration::from_secs(1);
        let make = || WebRtc::new(config().idle_timeout(idle_timeout)).unwrap();
        let (alice, bob) = (make(), transport());
        let (mut a, _b) = connect(&alice, &bob).await;
        let_nothing_arrive(false);
        let ended = timeout(4 * idle_timeout, a.sender.closed()).await;
        assert!(ended.is_err(), "checks are not counted, and the browser says nothing: {ended:?}");
        let_nothing_arrive(true);
        let begun = now();
        let reason = a.sender.closed().await;
        let_all_arrive();
        assert_eq!(reason, ChannelClosed::Timeout(idle_timeout));
        assert_eq!(a.receiver.recv().await, Err(reason));
        assert!(begun.elapsed() < 3 * idle_timeout, "{:?}", begun.elapsed());
    })
    .await;
}

/// A page that goes says nothing by itself; its browser may.
#[wasm_bindgen_test]
async fn a_page_that_goes_is_noticed_within_the_idle_timeout() {
    guarded(async {
        let alice = transport();
        let offer = alice.offer().await.unwrap();
        let peer = js_sys::Array::from(&peer_in_a_frame(offer.sdp()).await.unwrap());
        let a = offer.open(&peer.get(0).as_string().unwrap()).await.unwrap();
        let begun = now();
        peer.get(1).unchecked_into::<js_sys::Function>().call0(&JsValue::NULL).unwrap();
        let reason = a.sender.closed().await;
        console_log!("{reason:?} after {:?}", begun.elapsed());
        assert!(matches!(reason, ChannelClosed::Remote | ChannelClosed::Timeout(_)), "{reason:?}");
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    })
    .await;
}

#[wasm_bindgen_test]
async fn without_a_relay_that_answers_there_is_no_address_for_relays_only() {
    guarded(async {
        let turn = IceServer::turn("turn:127.0.0.1:34789", "user", "secret");
        let config = config().ice_servers([turn]).ice_policy(IcePolicy::RelayOnly);
        let alice = WebRtc::new(config.gather_timeout(Duration::from_millis(300))).unwrap();
        assert!(matches!(alice.offer().await, Err(TransportError::NoCandidate)));
        // One whose offer names relays meets the one who has none.
        let bob = transport();
        let offer = bob.offer().await.unwrap();
        assert!(matches!(alice.answer(offer.sdp()).await, Err(TransportError::NoCandidate)));
        alice.shutdown().await;
    })
    .await;
}

#[wasm_bindgen_test]
async fn an_opening_that_finds_no_path_names_the_candidates() {
    guarded(async {
        let alice = WebRtc::new(config().connect_timeout(Duration::from_secs(3))).unwrap();
        let (offer, answer) = describe(&alice, &transport()).await;
        let relay = answer.sdp().lines().map(|line| match line.starts_with("a=candidate:") {
            true => "a=candidate:1 1 udp 1 192.0.2.1 9 typ relay raddr 0.0.0.0 rport 0\r\n".to_owned(),
            false => format!("{line}\r\n"),
        });
        let (sdp, begun) = (relay.collect::<String>(), now());
        drop(answer);
        match offer.open(&sdp).await {
            Err(TransportError::IceFailed { local, remote }) => {
                assert!(local.contains("host") && remote.contains("relay"), "{local}, {remote}");
            }
            other => panic!("{other:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(3));
    })
    .await;
}

#[wasm_bindgen_test]
async fn a_server_that_does_not_answer_is_waited_for_no_longer_than_configured() {
    guarded(async {
        let patience = Duration::from_millis(700);
        let silent = IceServer::stun("stun:127.0.0.1:34789");
        let make = |gather_timeout| {
            WebRtc::new(config().ice_servers([silent.clone()]).gather_timeout(gather_timeout)).unwrap()
        };
        let begun = now();
        let offer = make(patience).offer().await.unwrap();
        let took = begun.elapsed();
        let begun = now();
        drop(make(10 * patience).offer().await.unwrap());
        // Firefox asks no server at an address of this machine: then it takes no time at all.
        let is_waited_for = begun.elapsed() > patience;
        assert!(took < 4 * patience && (took >= patience || !is_waited_for), "{took:?}, else {:?}", begun.elapsed());
        assert!(offer.sdp().contains("typ host"), "{}", offer.sdp());
    })
    .await;
}

#[wasm_bindgen_test]
async fn an_offer_that_no_answer_comes_to_expires() {
    guarded(async {
        let answer_timeout = Duration::from_millis(500);
        let (alice, bob) = (WebRtc::new(config().answer_timeout(answer_timeout)).unwrap(), transport());
        let (offer, answer) = describe(&alice, &bob).await;
        // The offer's time began before this.
        sleep(answer_timeout).await;
        match offer.open(answer.sdp()).await {
            Err(TransportError::Timeout { step, after }) => {
                assert_eq!((step, after), ("waiting for the answer", answer_timeout));
            }
            other => panic!("{other:?}"),
        }
    })
    .await;
}

#[wasm_bindgen_test]
async fn limits_are_kept_and_bad_settings_named() {
    guarded(async {
        let alice = WebRtc::new(config().max_offers(2).max_connections(1)).unwrap();
        let bob = transport();
        let (first, second) = (alice.offer().await.unwrap(), alice.offer().await.unwrap());
        assert!(matches!(alice.offer().await, Err(TransportError::TooManyConnections { max: 2 })));
        let answer = bob.answer(first.sdp()).await.unwrap();
        let sdp = answer.sdp().to_owned();
        let (a, b) = tokio::join!(first.open(&sdp), answer.open());
        let (_a, _b) = (a.unwrap(), b.unwrap());
        let answer = bob.answer(second.sdp()).await.unwrap();
        assert!(matches!(second.open(answer.sdp()).await, Err(TransportError::TooManyConnections { max: 1 })));
        let offer = bob.offer().await.unwrap();
        assert!(matches!(alice.answer(offer.sdp()).await, Err(TransportError::TooManyConnections { max: 1 })));
        // It is an offer again that is waited for.
        alice.offer().await.map(drop).unwrap();

        let nonsense = WebRtc::new(config().ice_servers([IceServer::stun("no address")]));
        assert!(matches!(nonsense, Err(TransportError::Backend(_))), "{nonsense:?}");
    })
    .await;
}
