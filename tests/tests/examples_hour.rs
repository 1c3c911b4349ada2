//! The examples of `p2pt`, as they are, for an hour of virtual time among peers that speak, and leave politely and
//! rudely; and the README files show these very examples.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use p2pt::testing::World;
use p2pt::transport::Frame;
use p2pt::{Event, Events, Peer, PeerId, Swarm};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, timeout};

#[allow(dead_code, unreachable_pub)]
#[path = "../../p2pt/examples/hello.rs"]
mod hello;
#[allow(dead_code, unreachable_pub)]
#[path = "../../p2pt/examples/listen.rs"]
mod listen;

const ROOM: &str = "my-app";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// How a visitor leaves.
#[derive(Debug, Clone, Copy)]
enum Leave {
    /// Tells everyone.
    Politely,
    /// Is killed.
    Rudely,
    /// Closes the connections, and stays in the swarm for a while.
    Disconnecting,
    /// Loses its network while it is spoken to.
    Unplugged,
    /// Is stopped, and killed later.
    Frozen,
    /// Forgets all handles.
    Dropped,
}

const LEAVES: [Leave; 6] =
    [Leave::Politely, Leave::Rudely, Leave::Disconnecting, Leave::Unplugged, Leave::Frozen, Leave::Dropped];

/// What a visitor does beside asking.
fn speak(peer: &Peer, manner: u32) {
    match manner % 6 {
        0 => (0..50).for_each(|number| drop(peer.queue(format!("message {number}")))),
        1 => drop(peer.queue("x".repeat(1 << 20))),
        2 => drop(peer.queue_frame(Frame::Binary(Bytes::from_static(b"raw")))),
        // The beginning of a message, and nonsense after it.
        3 => drop(peer.queue_frame(Frame::text("^{nonsense"))),
        4 => drop(peer.queue(serde_json::json!([1, 2, 3]))),
        _ => {}
    }
}

/// Reads events until the end; greets back, so that requests of the example are answered, unless it is a mute one.
async fn hear(mut events: Events, is_mute: bool) {
    while let Some(event) = events.next().await {
        if let Event::Message(message) = event
            && !is_mute
        {
            let _ = message.queue_response("likewise");
        }
    }
}

/// Waits for the example's own node and talks to it. Whether it answered.
async fn visit(world: &World, swarm: &Swarm, host: &PeerId, rng: &mut StdRng) -> Option<String> {
    world.until(60 * SECOND, || swarm.peer(host).is_some()).await.expect("the example's node is met");
    let peer = swarm.peer(host).expect("met");
    speak(&peer, rng.random());
    // An example that only listens never answers.
    let response = timeout(20 * SECOND, peer.request("how are you?")).await;
    response.ok().map(|response| response.expect("a response").text().unwrap_or_default().to_owned())
}

async fn leave(world: &World, swarm: Swarm, way: Leave) {
    match way {
        Leave::Politely => swarm.shutdown().await,
        Leave::Rudely => world.kill(&swarm),
        Leave::Disconnecting => {
            for peer in swarm.peers() {
                peer.disconnect().await;
            }
            world.advance(SECOND).await;
            swarm.leave().await.expect("it is a member");
        }
        Leave::Unplugged => {
            world.unplug(&swarm);
            world.advance(30 * SECOND).await;
            world.kill(&swarm);
        }
        Leave::Frozen => {
            world.freeze(&swarm);
            world.advance(30 * SECOND).await;
            world.kill(&swarm);
        }
        Leave::Dropped => drop(swarm),
    }
}

/// Runs an example for an hour among visitors, and checks that it is there for the last as for the first. `answer` is
/// what it answers, if it does.
async fn hour<F>(run: impl FnOnce(Events) -> F, answer: Option<&str>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (world, mut rng) = (World::new(7), StdRng::seed_from_u64(7));
    let (host, events) = world.join(ROOM).await;
    let example = tokio::spawn(run(events));
    let tasks_at_first = tasks();
    let start = Instant::now();
    let mut visits = 0;
    while start.elapsed() < HOUR {
        let (swarm, events) = world.join(ROOM).await;
        let hearing = tokio::spawn(hear(events, rng.random_bool(0.3)));
        let said = visit(&world, &swarm, &host.peer_id(), &mut rng).await;
        assert_eq!(said.as_deref(), answer, "visit {visits} after {:?}", start.elapsed());
        if visits % 20 == 10 {
            world.stop_tracker(World::TRACKER);
            world.advance(30 * SECOND).await;
            world.start_tracker(World::TRACKER);
        }
        if matches!(LEAVES[visits % LEAVES.len()], Leave::Dropped) {
            hearing.abort();
        }
        leave(&world, swarm, LEAVES[visits % LEAVES.len()]).await;
        assert!(!example.is_finished(), "the example ended after {:?}", start.elapsed());
        visits += 1;
        world.advance(Duration::from_millis(rng.random_range(0..20_000))).await;
    }
    assert!(visits > 60, "{visits}");
    // The longest wait of an example is that of a request, 30 s.
    world.until(60 * SECOND, || host.peers().is_empty()).await.expect("all have gone");
    world.advance(60 * SECOND).await;
    assert!(tasks() <= tasks_at_first + 2, "{} tasks were {tasks_at_first}", tasks());
    host.shutdown().await;
    timeout(SECOND, example).await.expect("it ends with its node").expect("without a panic");
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn hello_goes_on() {
    hour(hello::greet, Some("nice to meet you")).await;
}

#[tokio::test]
async fn listen_goes_on() {
    hour(listen::listen, None).await;
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The code of an example, without its title.
fn code(path: &str) -> String {
    let source = read(path);
    let (_, code) = source.split_once("\n\n").expect("a title and an empty line");
    code.to_owned()
}

#[test]
fn the_readmes_show_the_examples() {
    for (readme, example) in [("README.md", "p2pt/examples/start.rs"), ("p2pt/README.md", "p2pt/examples/listen.rs")] {
        let text = read(readme);
        let blocks: Vec<&str> = text.split("```rust").skip(1).filter_map(|block| block.split("```").next()).collect();
        let shown: Vec<&str> = blocks.iter().filter_map(|block| Some(block.split_once('\n')?.1)).collect();
        assert_eq!(shown.first(), Some(&code(example).as_str()), "{readme} begins with another program than {example}");
    }
}

/// Each example is started by a test that runs it as a user would, or is one of those above, and has its line in the list.
#[test]
fn every_example_is_run_and_listed() {
    let tests = ["examples", "turn", "interop_apps", "interop_modules", "examples_hour", "other_backend"];
    let tests = tests.map(|name| read(&format!("tests/tests/{name}.rs"))).concat();
    let list = read("p2pt/examples/README.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    for directory in ["p2pt", "p2pt-transport", "p2pt-tracker"] {
        for file in root.join(directory).join("examples").read_dir().expect("a directory") {
            let path = file.expect("readable").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("text");
            // A program that measures is no example of how anything is done.
            if ["README", "tracker_load"].contains(&name) {
                continue;
            }
            let is_run = tests.contains(&format!("(\"{name}\", "))
                || tests.contains(&format!("{name}/ask."))
                || tests.contains(&format!("{name}::"));
            assert!(is_run, "no test runs the example {name}");
            let is_listed = [format!("{name}.rs)"), format!("{name}/main.rs)"), format!("{name}/ask.")];
            assert!(is_listed.iter().any(|link| list.contains(link)), "p2pt/examples/README.md has no line of {name}");
        }
    }
}

/// An error that is dropped is not seen.
#[test]
fn the_examples_drop_no_error() {
    for example in ["hello", "listen"] {
        let code = code(&format!("p2pt/examples/{example}.rs"));
        for hidden in ["let _ =", ".ok()", "_ => {}", ".unwrap()", ".expect("] {
            assert!(!code.contains(hidden), "{example}: {hidden}");
        }
    }
}
