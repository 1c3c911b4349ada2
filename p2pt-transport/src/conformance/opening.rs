//! From two transports to an open channel, and all the ways not to get there.

use std::{collections::BTreeSet, time::Duration};

use p2pt_rt::{sleep, timeout};

use super::{
    Problem,
    harness::{Harness, broken, same},
};
use crate::{AddCandidateError, Channel, Frame, RemoteCandidates, Role, TransportError};

/// Nothing a backend could connect to. The last one is well-formed and offers nothing.
const GARBAGE: [&str; 5] =
    ["", "\0", "not an SDP", "v=0\r\na=\u{1F4A5}\r\n", "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"];

pub(super) async fn connects(harness: &Harness<'_>) -> Result<(), Problem> {
    let (mut a, mut b) = harness.connect().await?;
    same("the offerer's role", &a.info.role, &Role::Offerer)?;
    same("the answerer's role", &b.info.role, &Role::Answerer)?;
    same("the answerer's label", &b.info.label, &a.info.label)?;
    if a.info.label.is_empty() {
        return broken("the label is empty");
    }
    harness.works(&mut a, &mut b).await
}

pub(super) async fn connects_the_other_way(harness: &Harness<'_>) -> Result<(), Problem> {
    connects(&Harness { a: harness.b.clone(), b: harness.a.clone(), settings: harness.settings }).await
}

pub(super) async fn labels_differ(harness: &Harness<'_>) -> Result<(), Problem> {
    let mut labels = BTreeSet::new();
    for _ in 0..3 {
        let (a, _b) = harness.connect().await?;
        if !labels.insert(a.info.label.clone()) {
            return broken(format!("two connections have the label {:?}", a.info.label));
        }
    }
    Ok(())
}

pub(super) async fn fingerprints_agree(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, b) = harness.connect().await?;
    for (side, one, other) in [("answerer", &a, &b), ("offerer", &b, &a)] {
        if one.info.local_fingerprint.is_some() || other.info.remote_fingerprint.is_some() {
            let what = format!("the certificate the {side} sees");
            same(&what, &other.info.remote_fingerprint, &one.info.local_fingerprint)?;
        }
    }
    // By its certificate a peer is known again on another connection.
    let (next, _b) = harness.connect().await?;
    same("the certificate of another connection", &next.info.local_fingerprint, &a.info.local_fingerprint)?;
    same("the certificate seen on another connection", &next.info.remote_fingerprint, &a.info.remote_fingerprint)
}

pub(super) async fn connections_do_not_mix(harness: &Harness<'_>) -> Result<(), Problem> {
    let opened = tokio::try_join!(harness.connect(), harness.connect(), harness.connect())?;
    let mut channels = [opened.0, opened.1, opened.2];
    for (index, (a, b)) in channels.iter().enumerate() {
        same("the answerer's label", &b.info.label, &a.info.label)?;
        harness.send(&*a.sender, Frame::text(format!("{index} there"))).await?;
        harness.send(&*b.sender, Frame::text(format!("{index} back"))).await?;
    }
    for (index, (a, b)) in channels.iter_mut().enumerate() {
        harness.expect(&mut *b.receiver, &Frame::text(format!("{index} there"))).await?;
        harness.expect(&mut *a.receiver, &Frame::text(format!("{index} back"))).await?;
    }
    Ok(())
}

pub(super) async fn foreign_lines_are_ignored(harness: &Harness<'_>) -> Result<(), Problem> {
    let add = |sdp: &str| format!("{sdp}a=p2pt:1\r\na=p2pt-conformance:some text, and more\r\na=p2pt-flag\r\n");
    let offer = harness.offer().await?;
    let answer = harness.answer(&add(offer.sdp())).await?;
    let sdp = add(answer.sdp());
    let (mut a, mut b) = harness.open(offer, answer, &sdp).await?;
    harness.works(&mut a, &mut b).await
}

fn is_invalid<T>(sdp: &str, got: Result<T, TransportError>) -> Result<(), Problem> {
    match got {
        Err(TransportError::InvalidSdp(_)) => Ok(()),
        Err(source) => Err(Problem::Transport { step: "refusing garbage with InvalidSdp", source }),
        Ok(_) => broken(format!("{sdp:?} was taken for SDP")),
    }
}

pub(super) async fn garbage_offer(harness: &Harness<'_>) -> Result<(), Problem> {
    for sdp in GARBAGE {
        is_invalid(sdp, harness.within("refusing a garbage offer", harness.b.answer(sdp)).await?)?;
    }
    connects(harness).await
}

pub(super) async fn garbage_answer(harness: &Harness<'_>) -> Result<(), Problem> {
    for sdp in GARBAGE {
        let offer = harness.offer().await?;
        is_invalid(sdp, harness.within("refusing a garbage answer", offer.open(sdp)).await?)?;
    }
    connects(harness).await
}

/// A description without its candidates, and the candidates as a browser's API has them.
fn without_candidates(sdp: &str) -> (String, Vec<String>) {
    let named = |line: &&str| line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates");
    let (candidates, rest): (Vec<&str>, Vec<&str>) = sdp.lines().partition(named);
    let bare = candidates.into_iter().filter_map(|line| line.strip_prefix("a=").map(str::to_owned));
    (rest.iter().map(|line| format!("{line}\r\n")).collect(), bare.filter(|line| line.contains(':')).collect())
}

/// Hands over candidates that must be taken.
fn add_all(candidates: &dyn RemoteCandidates, late: &[String]) -> Result<(), Problem> {
    late.iter().map(String::as_str).try_for_each(|candidate| {
        let added = candidates.add(candidate);
        added.or_else(|error| broken(format!("the late candidate {candidate:?} was not taken: {error}")))
    })
}

pub(super) async fn late_candidates(harness: &Harness<'_>) -> Result<(), Problem> {
    if harness.offer().await?.remote_candidates().add("") == Err(AddCandidateError::Unsupported) {
        let is_promised = harness.settings.late_candidates;
        return if is_promised { broken("an offer takes no late candidates".to_owned()) } else { Ok(()) };
    }
    for (offerer_takes_them, before_open) in [(true, true), (true, false), (false, true), (false, false)] {
        let offer = harness.offer().await?;
        let (offer_sdp, offered) = without_candidates(offer.sdp());
        let answer = harness.answer(&offer_sdp).await?;
        let (answer_sdp, answered) = without_candidates(answer.sdp());
        // Whichever side has the other's tells it its own by reaching it.
        let (candidates, late) = if offerer_takes_them {
            (offer.remote_candidates(), answered)
        } else {
            (answer.remote_candidates(), offered)
        };
        if before_open {
            add_all(&*candidates, &late)?;
        }
        let trickle = async {
            if !before_open {
                sleep(harness.settings.patience).await;
                add_all(&*candidates, &late)?;
            }
            add_all(&*candidates, &[String::new()])
        };
        let (opened, trickled) = tokio::join!(harness.open(offer, answer, &answer_sdp), trickle);
        let (mut a, mut b) = opened?;
        trickled?;
        harness.works(&mut a, &mut b).await?;
        add_all(&*candidates, &late)?;
        harness.works(&mut a, &mut b).await?;
    }
    Ok(())
}

/// Nothing an address could be read from.
const GARBAGE_CANDIDATES: [&str; 6] = [
    "\0",
    "nonsense",
    "candidate:",
    "candidate:1 1 udp 2130706431 127.0.0.1",
    "candidate:1 1 udp 2130706431 127.0.0.1 99999 typ host",
    "candidate:\u{1F4A5} \u{1F4A5} \u{1F4A5} \u{1F4A5} \u{1F4A5} \u{1F4A5} \u{1F4A5} \u{1F4A5}",
];

fn is_no_candidate(candidates: &dyn RemoteCandidates) -> Result<(), Problem> {
    for garbage in GARBAGE_CANDIDATES {
        match candidates.add(garbage) {
            Err(AddCandidateError::Invalid(_) | AddCandidateError::Unsupported) => {}
            Err(other) => return broken(format!("{garbage:?} is an Invalid candidate, got {other:?}")),
            Ok(()) => return broken(format!("{garbage:?} was taken for a candidate")),
        }
    }
    Ok(())
}

pub(super) async fn garbage_candidate(harness: &Harness<'_>) -> Result<(), Problem> {
    let offer = harness.offer().await?;
    let before_the_answer = offer.remote_candidates();
    is_no_candidate(&*before_the_answer)?;
    let answer = harness.answer(offer.sdp()).await?;
    let at_the_answerer = answer.remote_candidates();
    is_no_candidate(&*at_the_answerer)?;
    let sdp = answer.sdp().to_owned();
    let (mut a, mut b) = harness.open(offer, answer, &sdp).await?;
    is_no_candidate(&*before_the_answer)?;
    is_no_candidate(&*at_the_answerer)?;
    harness.works(&mut a, &mut b).await
}

pub(super) async fn one_answer_per_offer(harness: &Harness<'_>) -> Result<(), Problem> {
    let offer = harness.offer().await?;
    let (first, second) = (harness.answer(offer.sdp()).await?, harness.answer(offer.sdp()).await?);
    let sdp = first.sdp().to_owned();
    let wins = async {
        let (mut a, mut b) = harness.open(offer, first, &sdp).await?;
        harness.works(&mut a, &mut b).await?;
        Ok((a, b))
    };
    let loses = harness.within("failing to open with an answer that was never applied", second.open());
    let (won, lost) = tokio::join!(wins, loses);
    let (mut a, mut b) = won?;
    if lost?.is_ok() {
        return broken("an answer that was not applied opened");
    }
    harness.works(&mut a, &mut b).await
}

pub(super) async fn dropped_offer(harness: &Harness<'_>) -> Result<(), Problem> {
    let offer = harness.offer().await?;
    let answer = harness.answer(offer.sdp()).await?;
    drop(offer);
    harness.fails("failing to open what its offerer has dropped", answer.open()).await
}

pub(super) async fn dropped_answer(harness: &Harness<'_>) -> Result<(), Problem> {
    let offer = harness.offer().await?;
    let answer = harness.answer(offer.sdp()).await?;
    let sdp = answer.sdp().to_owned();
    drop(answer);
    harness.fails("failing to open what its answerer has dropped", offer.open(&sdp)).await
}

pub(super) async fn cancelled_open(harness: &Harness<'_>) -> Result<(), Problem> {
    let step = "failing to open what the other side has cancelled";
    for offerer_stays in [true, false] {
        let offer = harness.offer().await?;
        let answer = harness.answer(offer.sdp()).await?;
        let sdp = answer.sdp().to_owned();
        if offerer_stays {
            cancel(answer.open()).await;
            harness.fails(step, offer.open(&sdp)).await?;
        } else {
            cancel(offer.open(&sdp)).await;
            harness.fails(step, answer.open()).await?;
        }
    }
    Ok(())
}

/// Gives an opening one look at the world, then drops it and what may have come of it.
async fn cancel(open: impl Future<Output = Result<Channel, TransportError>>) {
    drop(timeout(Duration::ZERO, open).await);
}
