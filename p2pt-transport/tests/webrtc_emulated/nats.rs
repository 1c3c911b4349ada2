//! Through NATs, with a STUN server.

use p2pt_transport::emulator::{Nat, NatConfig, NatKind};
use tokio::time::Instant;

use super::*;

const KINDS: [NatKind; 4] =
    [NatKind::EndpointIndependent, NatKind::AddressRestricted, NatKind::PortRestricted, NatKind::Symmetric];

/// A NAT, a host behind it, and its transport.
fn behind(internet: &Internet, nat: impl Into<NatConfig>, stun: SocketAddr) -> (Nat, Host, WebRtc) {
    let nat = internet.nat(nat).unwrap();
    let host = nat.host(line(20)).unwrap();
    let transport = asking(&host, stun);
    (nat, host, transport)
}

/// A mapping for each remote endpoint tells a STUN server nothing of use, and is of use only where the other NAT lets
/// other ports of a known address in.
fn meet(one: NatKind, other: NatKind) -> bool {
    let is_strict = |kind| matches!(kind, NatKind::PortRestricted | NatKind::Symmetric);
    let is_hopeless = |one, other| one == NatKind::Symmetric && is_strict(other);
    !is_hopeless(one, other) && !is_hopeless(other, one)
}

#[tokio::test(start_paused = true)]
async fn what_can_meet_through_nats_does_and_what_cannot_says_so_by_its_deadline() {
    for one in KINDS {
        for other in KINDS {
            for signalling in [0, 60, 2500] {
                let internet = Internet::new(1);
                let stun = internet.stun_server().unwrap();
                let (_, _, alice) = behind(&internet, one, stun);
                let (_, _, bob) = behind(&internet, other, stun);
                let begin = Instant::now();
                let (a, b) = open(&alice, &bob, ms(signalling)).await;
                let what = format!("{one:?} to {other:?}, {signalling} ms: {:?}", begin.elapsed());
                if meet(one, other) {
                    let (mut a, mut b) = (a.expect(&what), b.expect(&what));
                    carries(&mut a, &mut b).await;
                    let took = begin.elapsed() - ms(2 * signalling);
                    assert!(took < ms(1500), "{what}");
                } else {
                    let types = || "host srflx".to_owned();
                    for failed in [a, b] {
                        let Err(TransportError::IceFailed { local, remote }) = failed else { panic!("{what}: no") };
                        assert_eq!((local, remote), (types(), types()), "{what}");
                    }
                    let took = begin.elapsed() - ms(2 * signalling);
                    assert!(took <= Duration::from_millis(15_300), "{what}");
                    assert!(begin.elapsed() >= Duration::from_secs(15), "{what}");
                }
                shut_down([&alice, &bob]).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_behind_the_same_nat_meet_directly() {
    let internet = Internet::new(2);
    let stun = internet.stun_server().unwrap();
    let nat = internet.nat(NatKind::Symmetric).unwrap();
    let [alice, bob] = [(); 2].map(|()| asking(&nat.host(line(20)).unwrap(), stun));
    let (mut a, mut b) = connect(&alice, &bob).await;
    carries(&mut a, &mut b).await;
    assert_eq!(a.sender.stats().await.local_candidate.as_deref(), Some("host"));
    shut_down([&alice, &bob]).await;
}

/// An offer waits for minutes; the translations that it names are still there.
#[tokio::test(start_paused = true)]
async fn an_offer_that_has_waited_leads_through_its_nat_still() {
    let internet = Internet::new(3);
    let stun = internet.stun_server().unwrap();
    let short = |kind| NatConfig::from(kind).mapping_lifetime(Duration::from_secs(30));
    let (_, _, alice) = behind(&internet, short(NatKind::PortRestricted), stun);
    let (_, _, bob) = behind(&internet, short(NatKind::PortRestricted), stun);
    let offer = within(alice.offer()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(110)).await;
    let answer = within(bob.answer(offer.sdp())).await.unwrap();
    let sdp = answer.sdp().to_owned();
    let (a, b) = within(async { tokio::join!(offer.open(&sdp), answer.open()) }).await;
    carries(&mut a.unwrap(), &mut b.unwrap()).await;
    shut_down([&alice, &bob]).await;
}

/// The translation of an idle connection is kept by its keepalives.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_keeps_its_translations() {
    let internet = Internet::new(4);
    let stun = internet.stun_server().unwrap();
    let short = |kind| NatConfig::from(kind).mapping_lifetime(Duration::from_secs(5));
    let (_, _, alice) = behind(&internet, short(NatKind::PortRestricted), stun);
    let (_, _, bob) = behind(&internet, short(NatKind::PortRestricted), stun);
    let (mut a, mut b) = connect(&alice, &bob).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    carries(&mut a, &mut b).await;
    shut_down([&alice, &bob]).await;
}

/// The NAT in front of one side forgets everything in the middle of a transfer, while the other side can be reached by
/// any address: the first keepalive through the new translation leads the other side there.
#[tokio::test(start_paused = true)]
async fn a_rebinding_in_the_middle_of_a_transfer_loses_nothing() {
    for kind in [NatKind::EndpointIndependent, NatKind::PortRestricted, NatKind::Symmetric] {
        for is_sender in [true, false] {
            let internet = Internet::new(5);
            let stun = internet.stun_server().unwrap();
            let (nat, _, alice) = behind(&internet, kind, stun);
            let bob = asking(&internet.host(line(20)).unwrap(), stun);
            let (mut a, mut b) = connect(&alice, &bob).await;
            let begin = Instant::now();
            let rebinding = async {
                for after in [30, 8000] {
                    tokio::time::sleep(ms(after)).await;
                    nat.rebind();
                }
            };
            let (from, to) = if is_sender { (&mut a, &mut b) } else { (&mut b, &mut a) };
            let sending = async {
                transfer(from, to, 100, 30_000).await;
                tokio::time::sleep(Duration::from_secs(8).saturating_sub(begin.elapsed())).await;
                transfer(from, to, 100, 30_000).await;
            };
            tokio::join!(rebinding, sending);
            carries(&mut a, &mut b).await;
            println!("{kind:?}, sends: {is_sender}: {:?}", begin.elapsed());
            shut_down([&alice, &bob]).await;
        }
    }
}

/// Where both sides are behind NATs that let only known endpoints in, neither can know the new one.
#[tokio::test(start_paused = true)]
async fn a_rebinding_that_cannot_heal_is_silence() {
    let internet = Internet::new(6);
    let stun = internet.stun_server().unwrap();
    let (nat, _, alice) = behind(&internet, NatKind::PortRestricted, stun);
    let (_, _, bob) = behind(&internet, NatKind::PortRestricted, stun);
    let (mut a, mut b) = connect(&alice, &bob).await;
    nat.change_address().unwrap();
    let ends = within(async { tokio::join!(a.receiver.recv(), b.receiver.recv()) }).await;
    assert_eq!(ends, (silent(), silent()));
    // What comes next is a connection through the new translation.
    let (mut a, mut b) = connect(&alice, &bob).await;
    carries(&mut a, &mut b).await;
    shut_down([&alice, &bob]).await;
}
