//! A good tracker beside one that misbehaves, in each way there is: what that costs, and what it does not.

use std::time::Duration;

use p2pt::tracker::TrackerStatus;
use p2pt_tests::sim::{GLANCE, Sim, SimNode, is_mesh, tasks, until};
use p2pt_tests::tracker_profile::{Misbehaviour, TrackerProfile};
use tokio::time::{Instant, sleep};

const GOOD: &str = "ws://good.test/announce";
const BAD: &str = "ws://bad.test/announce";

const SECOND: Duration = Duration::from_secs(1);

/// How long an attempt holds back the offers of the same peer by other trackers: `PATIENCE` of `p2pt-mesh`. An answerer in
/// good faith, to whose offer a forged answer came before its own, waits so long before the good tracker's offer counts.
const HELD_BACK: Duration = Duration::from_secs(3);

/// What stopping may take at a tracker that does not read: the deadline of a client's stop, and its grace.
const STOPPED_WITHIN: Duration = Duration::from_millis(2500);

/// By how much one meeting may be later than at the good tracker alone.
///
/// Measured with eight seeds, in either order of the trackers: forged answers cost exactly [`HELD_BACK`] at each meeting if
/// the bad tracker is the first and there is room for more peers than there are; floods of offers cost as much once their
/// made-up peers have taken the places for attempts. Everything else costs nothing, or one [`GLANCE`], which is how exactly
/// a meeting is seen.
fn later_by(misbehaviour: Misbehaviour) -> Duration {
    match misbehaviour {
        Misbehaviour::ForgedAnswers | Misbehaviour::OfferFlood => HELD_BACK + GLANCE,
        _ => GLANCE,
    }
}

/// How long three nodes take to meet, and two more to meet them, with `max_peers` the limit of each.
async fn meetings(bad: Option<Misbehaviour>, trackers: &[&str], max_peers: usize) -> Option<[Duration; 2]> {
    let sim = Sim::new(2);
    if let Some(misbehaviour) = bad {
        sim.start_profile(BAD, TrackerProfile::bittorrent_tracker().misbehaving(misbehaviour));
    }
    sim.start_profile(GOOD, TrackerProfile::bittorrent_tracker());
    let mut nodes = sim.start_all(3, "room", trackers, |node| node.max_peers(max_peers)).await;
    let first = until(60 * SECOND, || is_mesh(&nodes)).await?;
    nodes.extend(sim.start_all(2, "room", trackers, |node| node.max_peers(max_peers)).await);
    Some([first, until(60 * SECOND, || is_mesh(&nodes)).await?])
}

#[tokio::test(start_paused = true)]
async fn a_bad_tracker_holds_up_no_meeting_for_longer_than_one_attempt() {
    for max_peers in [4, 12, 100] {
        let alone = meetings(None, &[GOOD], max_peers).await.expect("they meet at the good tracker");
        for trackers in [[BAD, GOOD], [GOOD, BAD]] {
            for misbehaviour in Misbehaviour::ALL {
                let took = meetings(Some(misbehaviour), &trackers, max_peers).await;
                let may = alone.map(|alone| alone + later_by(misbehaviour));
                let in_time = took.is_some_and(|took| took.iter().zip(&may).all(|(took, may)| took <= may));
                let what = format!("{misbehaviour:?}, {trackers:?}, at most {max_peers} peers");
                assert!(in_time, "{what}: {took:?}, alone {alone:?}");
            }
        }
    }
}

/// How long start, meeting, meeting one more, and shutdown take.
async fn lifetime(bad: Option<(TrackerProfile, Misbehaviour)>, max_peers: usize) -> [Duration; 4] {
    let what = format!("{bad:?}");
    let sim = Sim::new(61);
    let good = sim.start_profile(GOOD, TrackerProfile::bittorrent_tracker());
    let trackers: &[&str] = if bad.is_some() { &[BAD, GOOD] } else { &[GOOD] };
    if let Some((profile, misbehaviour)) = bad {
        sim.start_profile(BAD, profile.misbehaving(misbehaviour));
    }
    let started = Instant::now();
    let mut nodes = sim.start_all(3, "room", trackers, |node| node.max_peers(max_peers)).await;
    let start = started.elapsed();
    let meeting = until(300 * SECOND, || is_mesh(&nodes)).await;
    sleep(180 * SECOND).await;
    nodes.push(sim.start_with("room", trackers, |node| node.max_peers(max_peers)).await);
    let one_more = until(300 * SECOND, || is_mesh(&nodes)).await;
    for node in &nodes {
        let stats = node.p2pt.node().tracker_stats();
        let state = |url| stats.trackers.iter().find(|tracker| tracker.url.as_str() == url);
        let at_good = state(GOOD).expect("it is there");
        assert_eq!((at_good.status, at_good.counters.warnings), (TrackerStatus::Connected, 0), "{what}");
        assert_eq!((&at_good.last_error, at_good.counters.connects), (&None, 1), "{what}");
    }
    let leaving = Instant::now();
    nodes[3].p2pt.shutdown().await;
    let shutdown = leaving.elapsed();
    assert_eq!(good.members(), 3, "{what}");
    let gone = until(SECOND, || is_mesh(&nodes[..3])).await;
    assert!(gone.is_some(), "{what}: the leave was not seen");
    [Some(start), meeting, one_more, Some(shutdown)].map(|took| took.unwrap_or(Duration::MAX))
}

#[tokio::test(start_paused = true)]
async fn start_meeting_and_shutdown_take_no_longer_beside_a_bad_tracker() {
    for max_peers in [4, 100] {
        let mut slower = Vec::new();
        let alone = lifetime(None, max_peers).await;
        println!("the good tracker alone: {alone:?}");
        assert!(alone.iter().all(|took| *took <= SECOND), "{alone:?}");
        for misbehaviour in Misbehaviour::ALL {
            for profile in TrackerProfile::all() {
                let what = format!("{misbehaviour:?} of {}, {max_peers} peers", profile.name);
                let took = lifetime(Some((profile, misbehaviour)), max_peers).await;
                let later = later_by(misbehaviour);
                let may = [alone[0], alone[1] + later, alone[2] + later, alone[3] + STOPPED_WITHIN];
                if took.iter().zip(&may).any(|(took, may)| took > may) {
                    slower.push(format!("{what}: {took:?}"));
                }
            }
        }
        assert!(slower.is_empty(), "not {alone:?}: {slower:#?}");
    }
}

/// The second of two hours needs no more than the first.
#[tokio::test(start_paused = true)]
async fn beside_a_bad_tracker_nothing_grows_over_hours() {
    for misbehaviour in Misbehaviour::ALL {
        let before = tasks();
        let sim = Sim::new(62);
        sim.start_profile(GOOD, TrackerProfile::aquatic());
        sim.start_profile(BAD, TrackerProfile::wt_tracker().misbehaving(misbehaviour));
        // Their events are not read.
        let nodes: Vec<SimNode> = sim.start_all(2, "room", &[BAD, GOOD], |node| node).await;
        let mut most = [[0; 3]; 2];
        for half in &mut most {
            for _ in 0..3600 {
                let offers = nodes.iter().flat_map(|node| node.p2pt.node().tracker_stats().trackers);
                let offers = offers.flat_map(|tracker| tracker.swarms.into_values()).map(|swarm| swarm.offers).sum();
                let now = [tasks() - before - sim.sockets(), sim.network.pending(), offers];
                *half = std::array::from_fn(|n| half[n].max(now[n]));
                sleep(SECOND).await;
            }
        }
        println!("{misbehaviour:?}: at most {most:?} tasks, offers and answers pending, offers alive");
        let [first, second] = most;
        let is_steady = first.iter().zip(&second).all(|(first, second)| *second <= first * 3 / 2 + 10);
        assert!(is_steady, "{misbehaviour:?}: {most:?}");
        assert!(second.iter().all(|count| *count <= 300), "{misbehaviour:?}: {most:?}");
        assert!(is_mesh(&nodes), "{misbehaviour:?}");
        nodes.iter().for_each(|node| sim.kill(node.node));
        drop(nodes);
        sim.crash_tracker(GOOD);
        sim.crash_tracker(BAD);
        let left = until(30 * SECOND, || tasks() == before).await;
        assert!(left.is_some(), "{misbehaviour:?}: {} tasks left", tasks() - before);
    }
}
