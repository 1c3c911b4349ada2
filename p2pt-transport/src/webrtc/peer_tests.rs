//! One connection: what it keeps until it may read it, what it fails of, when it is dead, and how it closes.

use std::time::{Duration, Instant};

use ring::digest;

use super::{
    endpoint::Key,
    peer::{End, PeerEvent, Remote, Stage},
    session::DtlsRole,
    sim::{SILENCE, Sim, WINDOW, hash, socket},
    stun::{Class, Unverified},
};
use crate::Frame;

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(super) fn is_request(data: &[u8]) -> bool {
    Unverified::parse(data).is_some_and(|message| message.class() == Class::Request)
}

pub(super) fn is_stun(data: &[u8]) -> bool {
    data.first().is_some_and(|first| *first < 4)
}

/// Runs until a connection of a node has ended, and says after how long, and of what.
fn ends(sim: &mut Sim, node: usize, key: Key) -> (Duration, Stage, End) {
    let begin = sim.now;
    assert!(sim.run_until(Duration::from_secs(1000), |sim| sim.nodes[node].end(key).is_some()), "it never ends");
    let (stage, end) = sim.nodes[node].end(key).expect("it has ended");
    (sim.now - begin, stage, end)
}

/// Each stage has its deadline, and says what the opening has failed of.
#[test]
fn an_opening_fails_of_what_it_waits_for() {
    let seconds = Duration::from_secs;
    // No answer.
    let mut sim = Sim::new(2);
    let key = sim.offer(0, 0);
    assert_eq!(ends(&mut sim, 0, key), (seconds(120), Stage::Waiting, End::TimedOut));
    assert_eq!(sim.nodes[0].endpoint.len(), 0);

    // No path.
    let mut sim = Sim::new(2);
    sim.carries = Box::new(|_, _| false);
    let (a, b) = sim.connect(0, 1, 4);
    assert_eq!(ends(&mut sim, 0, a), (seconds(15), Stage::Checking, End::TimedOut));
    assert_eq!(sim.nodes[1].end(b), Some((Stage::Checking, End::TimedOut)));

    // A path in one direction is none, whatever its side makes of it.
    let mut sim = Sim::new(2);
    sim.carries = Box::new(|_, datagram| {
        datagram.local == socket(0, 0) || is_stun(&datagram.data) && !is_request(&datagram.data)
    });
    let (a, b) = sim.connect(0, 1, 4);
    let (_, stage, _) = ends(&mut sim, 1, b);
    assert_eq!(stage, Stage::Checking);
    ends(&mut sim, 0, a);

    // Nor is one that only the side takes for one that does not decide: no check of the other side arrives, so none
    // is nominated.
    let mut sim = Sim::new(2);
    sim.carries = Box::new(|_, datagram| {
        datagram.local == socket(1, 4) || is_stun(&datagram.data) && !is_request(&datagram.data)
    });
    let (_, b) = sim.connect(0, 1, 4);
    sim.run(ms(100));
    assert_eq!(sim.nodes[1].peer(b).stage(), Stage::Handshaking);
    assert_eq!(ends(&mut sim, 1, b).1, Stage::Checking);

    // A path, and no handshake: checks keep it from falling silent.
    let mut sim = Sim::new(2);
    sim.carries = Box::new(|_, datagram| is_stun(&datagram.data));
    let (a, b) = sim.connect(0, 1, 4);
    let (after, stage, end) = ends(&mut sim, 0, a);
    assert_eq!((stage, end), (Stage::Handshaking, End::TimedOut));
    assert!((seconds(10)..seconds(11)).contains(&after), "{after:?}");
    assert_eq!(ends(&mut sim, 1, b).1, Stage::Handshaking);

    // A handshake, and no channel.
    let mut sim = Sim::new(2);
    let begin = sim.now;
    let (a, b) = sim.connect(0, 1, 4);
    // Records of the handshake are of epoch 0, and the Finished of epoch 1 is of handshakes: 22.
    sim.carries = Box::new(|_, datagram| datagram.data[0] != 23);
    let (_, stage, end) = ends(&mut sim, 1, b);
    assert_eq!((sim.now - begin, stage, end), (seconds(30), Stage::Secure, End::TimedOut));
    assert_eq!(sim.nodes[0].end(a).map(|(stage, _)| stage), Some(Stage::Secure));

    // Something arrives from the other side, which is then gone: it is not waited for any longer than for an open one.
    let mut sim = Sim::new(2);
    let (a, _) = sim.connect(0, 1, 4);
    let gone = sim.now + ms(5);
    sim.carries = Box::new(move |now, _| now < gone);
    let (after, stage, end) = ends(&mut sim, 0, a);
    assert_eq!(end, End::IdleTimeout, "{stage:?}");
    assert!(after < SILENCE + ms(10), "{after:?}");
}

/// An open connection is dead when nothing authentic was received for the idle timeout: not before, and not after.
#[test]
fn silence_is_death_at_its_time() {
    let mut sim = Sim::new(2);
    let (a, b) = sim.open(0, 1);
    sim.run(Duration::from_secs(10));
    sim.nodes[1].log = Some(Vec::new());
    sim.run(Duration::from_secs(2));
    let last = sim.nodes[1].log.take().expect("a log").last().expect("keepalives").0;
    sim.carries = Box::new(|_, _| false);
    // What is on its way still arrives.
    sim.run(ms(2));
    ends(&mut sim, 0, a);
    assert_eq!(sim.now, last + sim.delay + SILENCE);
    assert_eq!(sim.nodes[0].end(a), Some((Stage::Open, End::IdleTimeout)));
    ends(&mut sim, 1, b);
}

/// When one direction is cut, the side that hears nothing ends, and tells the other at once.
#[test]
fn one_direction_is_not_enough() {
    let mut sim = Sim::new(2);
    let (a, b) = sim.open(0, 1);
    sim.run(Duration::from_secs(10));
    sim.carries = Box::new(|_, datagram| datagram.local != socket(1, 4));
    ends(&mut sim, 0, a);
    let (after, stage, end) = ends(&mut sim, 1, b);
    assert_eq!((stage, end), (Stage::Open, End::Remote));
    assert!(after <= ms(1), "{after:?}");
}

/// A silence shorter than that loses nothing.
#[test]
fn an_interruption_loses_nothing() {
    let mut sim = Sim::new(2);
    let (a, b) = sim.open(0, 1);
    sim.run(Duration::from_secs(10));
    let back = sim.now + ms(2900);
    sim.carries = Box::new(move |now, _| now >= back);
    for number in 0..100 {
        sim.send(0, a, Frame::text(number.to_string()));
    }
    sim.touch(0, a);
    sim.run(Duration::from_secs(20));
    assert!(sim.nodes[0].is_open(a) && sim.nodes[1].is_open(b));
    let expected: Vec<Frame> = (0..100).map(|number| Frame::text(number.to_string())).collect();
    assert_eq!(sim.nodes[1].received(b), expected);
}

/// Data alone is lost for longer than the SCTP stack would try, while checks show that the other side lives.
#[test]
fn data_that_is_lost_for_minutes_arrives_in_the_end() {
    let mut sim = Sim::new(2);
    let (a, b) = sim.open(0, 1);
    sim.run(Duration::from_secs(1));
    sim.carries = Box::new(|_, datagram| is_stun(&datagram.data));
    sim.send(0, a, Frame::text("at last"));
    sim.touch(0, a);
    sim.run(Duration::from_secs(300));
    sim.carries = Box::new(|_, _| true);
    // The stack's longest time-out is a minute.
    let arrives = |sim: &Sim| sim.nodes[1].received(b) == [Frame::text("at last")];
    assert!(sim.run_until(Duration::from_secs(61), arrives), "it is sent no more");
}

/// A peer that begins to shut its association down and never completes that is not waited for: the stack takes nothing more to
/// send from then on, while checks go on.
#[test]
fn a_shutdown_that_is_never_completed_ends_in_time() {
    let mut sim = Sim::new(2);
    let (a, b) = sim.open(0, 1);
    for node in 0..2 {
        sim.send(node, [a, b][node], Frame::text("first"));
        sim.touch(node, [a, b][node]);
    }
    sim.run(Duration::from_secs(10));
    let (header, _) = sim.nodes[0].peer(a).session().acknowledged().expect("an acknowledgement");
    let (_, tsn) = sim.nodes[0].peer(a).session().acknowledged().expect("an acknowledgement");
    let shutdown = [&[7, 0, 0, 8], &tsn.to_be_bytes()[..]].concat();
    let now = sim.now;
    sim.nodes[0].peer(a).session().forge(now, header, &shutdown);
    sim.touch(0, a);
    sim.run(ms(10));
    assert!(sim.nodes[1].peer(b).send(now, Frame::text("refused")).is_err());
    sim.nodes[0].peer(a).session().forge(now + ms(900), header, &shutdown);
    sim.touch(0, a);
    let (after, stage, end) = ends(&mut sim, 1, b);
    assert_eq!((stage, end), (Stage::Open, End::Remote));
    let timeout = sim.nodes[1].config.close_timeout;
    assert!((timeout - ms(20)..=timeout).contains(&after), "{after:?}");
}

/// Sends frames to a reader that reads nothing, closes, and says how many the reader then finds.
fn closed_before_it_is_read(frames: usize, bytes: usize, by_reset: bool) -> (usize, usize) {
    let mut sim = Sim::new(2);
    let offer = sim.offer(0, 0);
    let remote = sim.remote((0, offer), 0, DtlsRole::Client);
    let answer = sim.answer(1, 4, Remote { closes_by_reset: by_reset, ..remote });
    let remote = sim.remote((1, answer), 4, DtlsRole::Server);
    sim.accept(0, offer, Remote { closes_by_reset: by_reset, ..remote });
    assert!(sim.run_until(Duration::from_secs(5), |sim| sim.nodes[0].is_open(offer) && sim.nodes[1].is_open(answer)));
    sim.nodes[1].reads = false;
    for number in 0..frames {
        sim.send(0, offer, Frame::binary(number.to_be_bytes().repeat(bytes / 8)));
    }
    sim.close(0, offer);
    let (_, stage, end) = ends(&mut sim, 1, answer);
    assert_eq!((stage, end), (Stage::Open, End::Remote));
    let outstanding = sim.nodes[0].endpoint.peer(offer).map_or(0, |peer| peer.outstanding());
    assert_eq!(sim.nodes[0].end(offer), Some((Stage::Open, End::Local)));
    // It has ended, and what it has received is still there to be read, once the reader is.
    let received = sim.nodes[1].remains(answer);
    for (number, frame) in received.iter().enumerate() {
        assert_eq!(*frame, Frame::binary(number.to_be_bytes().repeat(bytes / 8)));
    }
    (received.len(), outstanding)
}

#[test]
fn acknowledged_frames_are_never_lost() {
    for by_reset in [true, false] {
        for (frames, bytes) in [(20_000, 104), (60, 30_000), (30_000, 24)] {
            let (received, outstanding) = closed_before_it_is_read(frames, bytes, by_reset);
            assert_eq!((received, outstanding), (if frames * bytes < WINDOW as usize { frames } else { received }, 0));
            // What does not fit into the window was not acknowledged, and is given up after the close timeout.
            assert!(received * bytes >= (frames * bytes).min(WINDOW as usize * 9 / 10), "{received} of {frames}");
        }
    }
}

/// What was received before the end can be read after it, also where the connection ends by the idle timeout, or fails.
#[test]
fn what_was_received_before_the_silence_is_still_there() {
    for fails in [false, true] {
        let mut sim = Sim::new(2);
        let (a, b) = sim.open(0, 1);
        sim.run(Duration::from_secs(5));
        sim.nodes[1].reads = false;
        for number in 0..60 {
            sim.send(0, a, Frame::text(number.to_string()));
        }
        sim.touch(0, a);
        sim.run(ms(500));
        assert_eq!(sim.nodes[0].peer(a).outstanding(), 0, "all is acknowledged");
        if fails {
            let now = sim.now;
            sim.nodes[1].peer(b).fail(now, "a reason".to_owned());
            sim.touch(1, b);
        }
        sim.carries = Box::new(|_, _| false);
        ends(&mut sim, 1, b);
        let expected: Vec<Frame> = (0..60).map(|number| Frame::text(number.to_string())).collect();
        assert_eq!(sim.nodes[1].remains(b), expected, "{fails}");
    }
}

/// One that opens channel after channel is cut off, which loses nothing of what was acknowledged before.
#[test]
fn channel_after_channel_is_too_many() {
    let mut sim = Sim::new(2);
    let (a, b) = sim.open(0, 1);
    for node in 0..2 {
        sim.send(node, [a, b][node], Frame::text("first"));
        sim.touch(node, [a, b][node]);
    }
    sim.run(Duration::from_secs(1));
    sim.nodes[1].reads = false;
    sim.send(0, a, Frame::text("unread"));
    sim.touch(0, a);
    sim.run(Duration::from_secs(1));
    let (header, _) = sim.nodes[0].peer(a).session().acknowledged().expect("an acknowledgement");
    // The stack that has not sent these packets does not hear what comes of them.
    sim.carries = Box::new(|_, datagram| datagram.local != socket(1, 4) || is_stun(&datagram.data));
    let mut opened = 0;
    while sim.nodes[1].end(b).is_none() && opened < 100 {
        opened += 1;
        let (_, tsn) = sim.nodes[1].peer(b).session().acknowledged().expect("an acknowledgement");
        // DATA of its own TSN, on stream 100 and so on, whole: a DATA_CHANNEL_OPEN.
        let mut chunk = vec![0, 3, 0, 28];
        chunk.extend((tsn + 1).to_be_bytes());
        chunk.extend((100 + opened as u16).to_be_bytes());
        chunk.extend([0, 0, 0, 0, 0, 50, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let now = sim.now;
        sim.nodes[0].peer(a).session().forge(now, header, &chunk);
        sim.touch(0, a);
        sim.run(ms(250));
    }
    assert_eq!(opened, 17);
    assert!(
        matches!(sim.nodes[1].end(b), Some((Stage::Open, End::Failed(why))) if why.contains("channel after channel"))
    );
    assert_eq!(sim.nodes[1].remains(b), [Frame::text("unread")]);
}

/// When the other side says that it has closed politely, it has read everything.
#[test]
fn nothing_is_outstanding_after_a_polite_close_of_the_other_side() {
    for closes_by_reset in [true, false] {
        let mut sim = Sim::new(2);
        let offer = sim.offer(0, 0);
        let remote = sim.remote((0, offer), 0, DtlsRole::Client);
        let answer = sim.answer(1, 4, Remote { closes_by_reset, ..remote });
        let remote = sim.remote((1, answer), 4, DtlsRole::Server);
        sim.accept(0, offer, remote);
        sim.run(ms(500));
        // Sent and read, but not acknowledged yet: the stack would wait 200 ms with that.
        sim.send(0, offer, Frame::text("the last"));
        sim.touch(0, offer);
        sim.run(ms(1));
        sim.close(1, answer);
        ends(&mut sim, 0, offer);
        assert_eq!(sim.nodes[0].end(offer), Some((Stage::Open, End::Remote)), "{closes_by_reset}");
        assert_eq!(sim.nodes[1].received(answer), [Frame::text("the last")]);
        assert_eq!(sim.nodes[0].left[&offer], 0, "{closes_by_reset}");
    }
}

fn gone(sim: &Sim) -> bool {
    sim.nodes.iter().all(|node| node.endpoint.len() == 0)
}

/// Toward a peer that understands a reset the close is over after a round trip; toward others after 100 ms of patience.
#[test]
fn a_close_takes_as_long_as_the_other_side_needs() {
    for (closes_by_reset, least, most) in [(true, 0, 10), (false, 100, 110)] {
        let mut sim = Sim::new(2);
        let offer = sim.offer(0, 0);
        let remote = sim.remote((0, offer), 0, DtlsRole::Client);
        let answer = sim.answer(1, 4, remote);
        let remote = sim.remote((1, answer), 4, DtlsRole::Server);
        sim.accept(0, offer, Remote { closes_by_reset, ..remote });
        sim.run(ms(500));
        sim.close(0, offer);
        let begin = sim.now;
        assert!(sim.run_until(Duration::from_secs(10), gone));
        let took = sim.now - begin;
        assert!((ms(least)..ms(most)).contains(&took), "{took:?}");
        assert_eq!(sim.nodes[0].end(offer), Some((Stage::Open, End::Local)));
        assert_eq!(sim.nodes[1].end(answer), Some((Stage::Open, End::Remote)));
    }
}

/// SCTP may let an acknowledgement wait for 200 ms, which a close does not: it asks for it, however many frames are on their way
/// and whether they are when the close begins.
#[test]
fn a_close_waits_for_no_delayed_acknowledgement() {
    for frames in 1..=5 {
        for are_on_their_way in [true, false] {
            let mut sim = Sim::new(2);
            let (a, b) = sim.open(0, 1);
            sim.run(ms(500));
            for _ in 0..frames {
                sim.send(0, a, Frame::binary(vec![1; 1000]));
            }
            if are_on_their_way {
                sim.touch(0, a);
                sim.run(ms(5));
            }
            let begin = sim.now;
            sim.close(0, a);
            assert!(sim.run_until(Duration::from_secs(10), gone));
            let took = sim.now - begin;
            assert!(took < ms(20), "{frames} frames, on their way: {are_on_their_way}: {took:?}");
            assert_eq!(sim.nodes[1].received(b).len(), frames);
        }
    }
}

/// An acknowledgement travels with the answer, so that two sides that answer each other send a datagram for each message, and
/// no other; without an answer it comes soon.
#[test]
fn acknowledgements_travel_with_answers() {
    const ROUNDS: usize = 100;
    let mut sim = Sim::new(2);
    let (a, b) = sim.open(0, 1);
    sim.run(ms(500));
    for node in [0, 1] {
        sim.nodes[node].log = Some(Vec::new());
    }
    for round in 0..ROUNDS {
        sim.send(0, a, Frame::text("question"));
        sim.touch(0, a);
        assert!(sim.run_until(ms(10), |sim| sim.nodes[1].received(b).len() == round + 1));
        sim.send(1, b, Frame::text("answer"));
        sim.touch(1, b);
        assert!(sim.run_until(ms(10), |sim| sim.nodes[0].received(a).len() == round + 1));
    }
    for node in [0, 1] {
        let log = sim.nodes[node].log.take().expect("a log");
        let records = log.iter().filter(|(_, datagram)| !is_stun(&datagram.data)).count();
        assert!((ROUNDS..=ROUNDS + 2).contains(&records), "{records} datagrams");
    }
    // Two more, of which the second is acknowledged by the stack at once.
    for _ in 0..2 {
        sim.send(0, a, Frame::text("no question"));
        sim.touch(0, a);
    }
    sim.run(ms(8));
    assert_eq!(sim.nodes[0].peer(a).outstanding(), 0);
}

#[test]
fn both_may_close_at_once() {
    for closes_by_reset in [true, false] {
        let mut sim = Sim::new(2);
        let offer = sim.offer(0, 0);
        let remote = sim.remote((0, offer), 0, DtlsRole::Client);
        let answer = sim.answer(1, 4, Remote { closes_by_reset, ..remote });
        let remote = sim.remote((1, answer), 4, DtlsRole::Server);
        sim.accept(0, offer, Remote { closes_by_reset, ..remote });
        sim.run(ms(500));
        let now = sim.now;
        for (node, key) in [(0, offer), (1, answer)] {
            sim.send(node, key, Frame::text("the last"));
            sim.nodes[node].peer(key).close(now);
            sim.nodes[node].endpoint.list(key);
        }
        sim.pump();
        assert!(sim.run_until(ms(1500), gone), "{closes_by_reset}");
        for (node, key) in [(0, offer), (1, answer)] {
            assert_eq!(sim.nodes[node].received(key), [Frame::text("the last")]);
            let ended = PeerEvent::Ended { stage: Stage::Open, end: End::Local };
            assert_eq!(sim.nodes[node].events[&key].iter().filter(|event| **event == ended).count(), 1);
        }
    }
}

/// What is lost on its way comes again after a second, SCTP's shortest time-out, and its acknowledgement a round trip later: a
/// flush that is given up sooner loses all that is left, toward a peer that takes the end of the association for the close.
#[test]
fn a_flush_outlasts_the_loss_of_all_that_was_on_its_way() {
    let mut sim = Sim::new(2);
    sim.delay = ms(100);
    let offer = sim.offer(0, 0);
    let remote = sim.remote((0, offer), 0, DtlsRole::Client);
    let answer = sim.answer(1, 4, remote);
    let remote = Remote { closes_by_reset: false, ..sim.remote((1, answer), 4, DtlsRole::Server) };
    sim.accept(0, offer, remote);
    assert!(sim.run_until(Duration::from_secs(5), |sim| sim.nodes[0].is_open(offer) && sim.nodes[1].is_open(answer)));
    sim.run(Duration::from_secs(1));
    let frames = vec![Frame::binary(vec![1; 1000]); 100];
    for frame in &frames {
        sim.send(0, offer, frame.clone());
    }
    let again = sim.now + ms(50);
    sim.carries = Box::new(move |now, _| now >= again);
    sim.close(0, offer);
    assert!(sim.run_until(Duration::from_secs(60), |sim| sim.nodes[0].endpoint.len() == 0));
    assert_eq!(sim.nodes[1].received(answer), frames);
}

/// A flush is given up after the close timeout without progress, and after ten of them with it.
#[test]
fn a_flush_has_its_deadlines() {
    // Nothing arrives any more.
    let mut sim = Sim::new(2);
    let (a, _) = sim.open(0, 1);
    sim.run(Duration::from_secs(1));
    sim.carries = Box::new(|_, _| false);
    sim.send(0, a, Frame::text("lost"));
    let begin = sim.now;
    sim.close(0, a);
    assert!(sim.run_until(Duration::from_secs(60), |sim| sim.nodes[0].endpoint.len() == 0));
    // One timeout for the flush, another for the other side's own close.
    assert_eq!(sim.now - begin, 2 * sim.nodes[0].config.close_timeout);

    // A little arrives each second: one datagram in 100 ms.
    let mut sim = Sim::new(2);
    let (a, b) = sim.open(0, 1);
    sim.run(Duration::from_secs(1));
    for _ in 0..2000 {
        sim.send(0, a, Frame::binary(vec![1; 1000]));
    }
    let mut last: Option<Instant> = None;
    sim.carries = Box::new(move |now, datagram| {
        if datagram.local == socket(1, 4) || datagram.data.len() < 500 {
            return true;
        }
        let carries = last.is_none_or(|last| now >= last + ms(100));
        if carries {
            last = Some(now);
        }
        carries
    });
    let begin = sim.now;
    sim.close(0, a);
    assert!(sim.run_until(Duration::from_secs(60), |sim| sim.nodes[0].endpoint.len() == 0));
    let timeout = sim.nodes[0].config.close_timeout;
    assert!((2 * timeout..=12 * timeout).contains(&(sim.now - begin)), "{:?}", sim.now - begin);
    assert!(!sim.nodes[1].received(b).is_empty());

    // Frames that have not come to the connection yet are waited for too.
    let mut sim = Sim::new(2);
    let (a, _) = sim.open(0, 1);
    sim.run(Duration::from_secs(1));
    let now = sim.now;
    sim.nodes[0].unsent = 5;
    sim.nodes[0].peer(a).set_unsent(now, 5);
    sim.close(0, a);
    sim.run(ms(1900));
    assert_eq!(sim.nodes[0].endpoint.len(), 1);
    sim.nodes[0].unsent = 0;
    sim.touch(0, a);
    sim.run(ms(20));
    assert_eq!(sim.nodes[0].endpoint.len(), 0);
}

/// Opens a connection whose sides expect of each other what `remote` makes of the truth.
fn with_certificates(change: impl Fn(usize, &Sim, &mut Remote)) -> (Sim, Key, Key) {
    let mut sim = Sim::new(3);
    let offer = sim.offer(0, 0);
    let mut remote = sim.remote((0, offer), 0, DtlsRole::Client);
    change(0, &sim, &mut remote);
    let answer = sim.answer(1, 4, remote);
    let mut remote = sim.remote((1, answer), 4, DtlsRole::Server);
    change(1, &sim, &mut remote);
    sim.accept(0, offer, remote);
    sim.run(ms(1000));
    (sim, offer, answer)
}

#[test]
fn certificates_are_verified_by_any_of_the_hashes() {
    for algorithm in [&digest::SHA256, &digest::SHA384, &digest::SHA512] {
        let (sim, offer, answer) = with_certificates(|node, sim, remote| {
            remote.certificate = hash(&sim.nodes[node].config.session.certificate, algorithm);
        });
        assert!(sim.nodes[0].is_open(offer) && sim.nodes[1].is_open(answer), "{algorithm:?}");
    }
}

/// Whichever side finds that the certificate is another one, both fail at once and name the handshake.
#[test]
fn another_certificate_fails_both_sides() {
    for of in [0, 1] {
        for algorithm in [&digest::SHA256, &digest::SHA512] {
            let (mut sim, offer, answer) = with_certificates(|node, sim, remote| {
                if node == of {
                    remote.certificate = hash(&sim.nodes[2].config.session.certificate, algorithm);
                }
            });
            for (node, key) in [(0, offer), (1, answer)] {
                let ended = sim.nodes[node].end(key);
                assert!(
                    matches!(ended, Some((Stage::Handshaking, End::Failed(_) | End::Remote))),
                    "node {node}, certificate of {of}: {ended:?}"
                );
            }
            sim.run(ms(100));
            assert!(gone(&sim));
        }
    }
}

/// What comes along a way that only the other side's translation knows counts as coming from the address it came from.
#[test]
fn a_connection_survives_a_new_address_of_the_other_side() {
    let mut sim = Sim::new(2);
    let (a, b) = sim.open(0, 1);
    sim.run(Duration::from_secs(5));
    let rebound: std::net::SocketAddr = ([203, 0, 113, 9], 4000).into();
    sim.rebind(socket(1, 4), rebound);
    sim.run(Duration::from_secs(5));
    assert!(sim.nodes[0].is_open(a) && sim.nodes[1].is_open(b));
    sim.send(0, a, Frame::text("to the new address"));
    sim.touch(0, a);
    sim.send(1, b, Frame::text("from there"));
    sim.touch(1, b);
    sim.run(ms(100));
    assert_eq!(sim.nodes[1].received(b), [Frame::text("to the new address")]);
    assert_eq!(sim.nodes[0].received(a), [Frame::text("from there")]);
    sim.run(Duration::from_secs(60));
    assert!(sim.nodes[0].is_open(a) && sim.nodes[1].is_open(b));
}
