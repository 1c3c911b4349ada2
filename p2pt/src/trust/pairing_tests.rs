use std::pin::pin;
use std::time::Duration;

use futures_util::future::join_all;
use p2pt_transport::Transport as _;
use p2pt_transport::memory::MemoryNetwork;
use p2pt_trust::{Nonce, SafetyCode, SdpHash, Transcript};
use rand::SeedableRng as _;

use super::*;

/// In virtual time; longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two sides of one code.
struct Bench {
    network: MemoryNetwork,
    sides: [Pairing; 2],
    keys: [NodeKey; 2],
    channels: u8,
}

impl Bench {
    fn new() -> Self {
        let (code, keys) = (Code::draw(&mut rand::rng()), [1, 2].map(|n| NodeKey::from_bytes(&[n; 32])));
        let side = |side, key: &NodeKey| Pairing::new(&(side, code.clone()), key.clone(), crate::now());
        let sides = [side(Side::Shows, &keys[0]), side(Side::Types, &keys[1])];
        Self { network: MemoryNetwork::new(1), sides, keys, channels: 0 }
    }

    /// The ends of a new channel, each with what the other end has proven on it.
    async fn channel(&mut self) -> [(Channel, Proven); 2] {
        let (near, far) = (self.network.transport(), self.network.transport());
        let offer = near.offer().await.expect("an offer");
        let answer = far.answer(offer.sdp()).await.expect("an answer");
        let sdp = answer.sdp().to_owned();
        let (near, far) = tokio::try_join!(offer.open(&sdp), answer.open()).expect("a channel");
        self.channels += 1;
        let (offer, answer) = (SdpHash::from([self.channels; 32]), SdpHash::from([0; 32]));
        let (transcript, nonce) = (Transcript::new(&offer, &answer), Nonce::from([0; 32]));
        let proven = |key: &NodeKey, label: &str| Proven {
            key: key.public_key(),
            safety_code: SafetyCode::new(&transcript, &nonce, &nonce),
            transcript,
            label: label.into(),
            greeting: None,
        };
        let (shown, typed) = (proven(&self.keys[1], &near.info.label), proven(&self.keys[0], &near.info.label));
        [(near, shown), (far, typed)]
    }

    async fn pair(&self, side: usize, (channel, proven): &mut (Channel, Proven)) -> Result<(), RejectReason> {
        let mut rng = StdRng::seed_from_u64(side as u64);
        let pairing = self.sides[side].pair(channel, Some(proven), &mut rng);
        timeout(PATIENCE, pairing).await.expect("each wait has its end")
    }
}

#[tokio::test(start_paused = true)]
async fn a_last_message_that_is_lost_leaves_the_two_able_to_pair() {
    let mut bench = Bench::new();
    let [mut shows, mut types] = bench.channel().await;
    {
        // The side that types is finished when it has sent its last message, which the other side does not get.
        let (mut shows, mut types) = (pin!(bench.pair(0, &mut shows)), pin!(bench.pair(1, &mut types)));
        tokio::select! {
            biased;
            paired = &mut types => assert_eq!(paired, Ok(())),
            paired = &mut shows => panic!("{paired:?}"),
        }
    }
    drop((shows, types));
    let [mut shows, mut types] = bench.channel().await;
    assert_eq!(tokio::join!(bench.pair(0, &mut shows), bench.pair(1, &mut types)), (Ok(()), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn two_channels_at_once_are_both_paired_with_no_more_on_them_than_codes() {
    let mut bench = Bench::new();
    let ([mut shows, mut types], [mut shows_too, mut types_too]) = (bench.channel().await, bench.channel().await);
    let paired = tokio::join!(
        bench.pair(0, &mut shows),
        bench.pair(1, &mut types_too),
        bench.pair(1, &mut types),
        bench.pair(0, &mut shows_too),
    );
    assert_eq!(paired, (Ok(()), Ok(()), Ok(()), Ok(())));
    for (mut one, mut two) in [(shows, types), (shows_too, types_too)] {
        for end in [&one, &two] {
            end.0.sender.send(Frame::text("hello".to_owned())).await.expect("it is open");
        }
        for end in [&mut one, &mut two] {
            assert!(matches!(end.0.receiver.recv().await, Ok(Frame::Text(_))), "nothing of the exchange is left");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn strangers_that_stay_silent_hold_up_no_peer_that_has_the_code() {
    let mut bench = Bench::new();
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(bench.channel().await);
    }
    let [mut shows, mut types] = bench.channel().await;
    let (silent, mut far): (Vec<_>, Vec<_>) = silent.into_iter().map(|[near, far]| (near, far)).unzip();
    let strangers = join_all(silent.into_iter().map(async |mut near| bench.pair(0, &mut near).await));
    let begun = crate::now();
    let honest = async {
        let paired = tokio::join!(bench.pair(0, &mut shows), bench.pair(1, &mut types));
        assert!(crate::now() - begun < Duration::from_secs(2), "it has waited for strangers");
        paired
    };
    let (strangers, honest) = tokio::join!(strangers, honest);
    assert_eq!(honest, (Ok(()), Ok(())));
    assert!(strangers.iter().all(|paired| *paired == Err(RejectReason::NotConfirmed)), "{strangers:?}");
    far.clear();
}

#[tokio::test(start_paused = true)]
async fn guesses_on_many_channels_at_once_are_three_at_most() {
    let mut bench = Bench::new();
    let code = Code::draw(&mut rand::rng());
    let mut channels = Vec::new();
    for _ in 0..6 {
        channels.push(bench.channel().await);
    }
    let bench = &bench;
    let attempts = channels.into_iter().map(async |[mut near, mut far]| {
        let guess = Pairing::new(&(Side::Types, code.clone()), bench.keys[1].clone(), crate::now());
        let mut rng = StdRng::seed_from_u64(7);
        tokio::join!(bench.pair(0, &mut near), guess.pair(&mut far.0, Some(&far.1), &mut rng)).0
    });
    let ends = join_all(attempts).await;
    let tested = ends.iter().filter(|end| matches!(end, Err(RejectReason::WrongCode { .. }))).count();
    let void = ends.iter().filter(|end| **end == Err(RejectReason::CodeVoid)).count();
    assert_eq!((tested, void), (3, 3), "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn another_peer_finds_a_code_that_was_proven_of_no_use() {
    let mut bench = Bench::new();
    let [mut shows, mut types] = bench.channel().await;
    assert_eq!(tokio::join!(bench.pair(0, &mut shows), bench.pair(1, &mut types)), (Ok(()), Ok(())));
    // It has the code, and another key than the one that has proven it.
    let [mut shows, _types] = bench.channel().await;
    shows.1.key = NodeKey::from_bytes(&[3; 32]).public_key();
    assert_eq!(bench.pair(0, &mut shows).await, Err(RejectReason::CodeVoid));
}
