//! The modules for Python and Node around `p2pt pipe`, by the examples beside them.

use std::path::Path;

use p2pt_tests::js::{Tracker, TrackerKind, p2pt_binary};
use p2pt_tests::program::Program;
use tokio::process::Command;

fn script(interpreter: &'static str, path: &str, url: &str) -> Program {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../p2pt/examples");
    let mut command = Command::new(interpreter);
    command.arg(examples.join(path)).arg(url).env("P2PT", p2pt_binary()).env("PYTHONDONTWRITEBYTECODE", "1");
    Program::spawn(interpreter, command)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python 3.10 and Node 20: cargo test -p p2pt-tests --test interop_modules -- --ignored"]
async fn python_node_and_rust_ask_each_other() {
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let mut python = script("python3", "python/ask.py", tracker.url());
    let mut node = script("node", "node/ask.mjs", tracker.url());
    // Each answers both others, and is answered by them.
    let mut rust = Program::start("typed_requests", &[tracker.url()]);
    let of_python = async {
        python.says("says {'degrees': 5").await;
        python.says("says {'degrees': 5").await;
    };
    let of_node = async {
        node.says("says 5").await;
        node.says("says 5").await;
    };
    let of_rust = async {
        rust.says("says 5 °C").await;
        rust.says("says 5 °C").await;
    };
    tokio::join!(of_python, of_node, of_rust);
    tracker.stop().await;
}
