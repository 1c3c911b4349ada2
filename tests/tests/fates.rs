//! One good tracker beside one of each kind of bad one: nobody notices but those who ask.

use std::time::Duration;

use p2pt::tracker::TrackerStatus;
use p2pt_tests::sim::{Sim, SimNode, is_full_mesh, until};
use p2pt_tests::tracker_profile::{Misbehaviour, TrackerProfile};
use tokio::time::{Instant, sleep};

const GOOD: &str = "ws://good.test/announce";
const BAD: &str = "ws://bad.test/announce";

const SECOND: Duration = Duration::from_secs(1);

/// How finely [`until`] looks.
const GLANCE: Duration = Duration::from_millis(100);

/// Who answers an offer in good faith that a forged answer has used up waits three seconds before another offer of the
/// same peer counts for more; as long, made-up peers take up attempts.
const DECEIVED: Duration = Duration::from_millis(3500);

/// What farewells to a tracker may take that does not read them: the deadline of a client's stop, and its grace.
const FAREWELL: Duration = Duration::from_millis(2500);

fn is_mesh(nodes: &[SimNode]) -> bool {
    is_full_mesh(nodes.iter().map(|node| &node.p2pt))
}

/// How long start, meeting, meeting one more, and shutdown take.
async fn live(bad: Option<(TrackerProfile, Misbehaviour)>, max_peers: usize) -> [Duration; 4] {
    let what = format!("{bad:?}");
    let sim = Sim::new(61);
    let good = sim.start_profile(GOOD, TrackerProfile::bittorrent_tracker());
    let trackers: &[&str] = if bad.is_some() { &[BAD, GOOD] } else { &[GOOD] };
    if let Some((profile, misbehaviour)) = bad {
        sim.start_profile(BAD, profile.misbehaving(misbehaviour));
    }
    let started = Instant::now();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(sim.start_with("room", trackers, |node| node.max_peers(max_peers)).await);
    }
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
        let alone = live(None, max_peers).await;
        println!("the good tracker alone: {alone:?}");
        assert!(alone.iter().all(|took| *took <= SECOND), "{alone:?}");
        for misbehaviour in Misbehaviour::ALL {
            for profile in TrackerProfile::all() {
                let what = format!("{misbehaviour:?} of {}, {max_peers} peers", profile.name);
                let took = live(Some((profile, misbehaviour)), max_peers).await;
                let is_deceived = matches!(misbehaviour, Misbehaviour::ForgedAnswers | Misbehaviour::OfferFlood);
                let meeting = if is_deceived { DECEIVED } else { GLANCE };
                let may = [alone[0], alone[1] + meeting, alone[2] + meeting, alone[3] + FAREWELL];
                if took.iter().zip(&may).any(|(took, may)| took > may) {
                    slower.push(format!("{what}: {took:?}"));
                }
            }
        }
        assert!(slower.is_empty(), "not {alone:?}: {slower:#?}");
    }
}

/// In the second half of two hours, no more than in the first.
#[tokio::test(start_paused = true)]
async fn beside_a_bad_tracker_nothing_grows_over_hours() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for misbehaviour in Misbehaviour::ALL {
        let before = tasks();
        let sim = Sim::new(62);
        sim.start_profile(GOOD, TrackerProfile::aquatic());
        sim.start_profile(BAD, TrackerProfile::wt_tracker().misbehaving(misbehaviour));
        let mut nodes = Vec::new();
        for _ in 0..2 {
            // Nobody reads their events.
            nodes.push(sim.start("room", &[BAD, GOOD]).await);
        }
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
        assert!(
            first.iter().zip(&second).all(|(first, second)| *second <= first * 3 / 2 + 10),
            "{misbehaviour:?}: {most:?}"
        );
        assert!(second.iter().all(|count| *count <= 300), "{misbehaviour:?}: {most:?}");
        assert!(is_mesh(&nodes), "{misbehaviour:?}");
        nodes.iter().for_each(|node| sim.kill(node.node));
        drop(nodes);
        sim.crash_tracker(GOOD);
        sim.crash_tracker(BAD);
        assert!(
            until(30 * SECOND, || tasks() == before).await.is_some(),
            "{misbehaviour:?}: {} tasks left",
            tasks() - before
        );
    }
}
