//! What `-v`, `-vv` and `RUST_LOG` have the program log.

use std::collections::BTreeSet;
use std::process::Stdio;

use p2pt_tests::pipe::PATIENCE;
use tokio::time::timeout;

use crate::program::{p2pt, text};

/// What the demo's peers say to each other.
const SAID: [&str; 4] = ["are you there", "Nice to meet you", "6 * 7", "glad"];

/// The lines that the demo logs.
async fn log(arguments: &[&str], rust_log: Option<&str>) -> Vec<String> {
    let mut demo = p2pt(&[arguments, &["demo"]].concat());
    demo.stdin(Stdio::null()).envs(rust_log.map(|filter| ("RUST_LOG", filter)));
    let output = timeout(PATIENCE, demo.output()).await.expect("it ends in time").expect("it starts");
    let (said, log) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}\n{log}");
    for part in SAID {
        assert!(said.contains(part), "the demo does not say {part:?}:\n{said}");
        assert!(!log.contains(part), "a message is logged: {part:?}");
    }
    log.lines().map(str::to_owned).collect()
}

/// The level and the module of a line, which is a time, a level, spans and the module, each with a colon, and the rest.
fn kind(line: &str) -> (String, String) {
    let mut words = line.split_whitespace().skip(1);
    let level = words.next().unwrap_or_default().to_owned();
    let module = words.find(|word| word.ends_with(':') && !word.contains('{') && !word.contains('}'));
    (level, module.unwrap_or_default().to_owned())
}

#[tokio::test]
async fn each_v_has_more_kinds_of_lines_and_none_has_what_messages_say() {
    let (once, twice) = (log(&["-v"], None).await, log(&["-vv"], None).await);
    let kinds = |lines: &[String]| -> BTreeSet<_> { lines.iter().map(|line| kind(line)).collect() };
    let levels = |lines: &[String]| -> BTreeSet<_> { lines.iter().map(|line| kind(line).0).collect() };
    assert!(levels(&once).contains("DEBUG") && !levels(&once).contains("TRACE"), "{:?}", kinds(&once));
    assert!(levels(&twice).contains("DEBUG") && levels(&twice).contains("TRACE"), "{:?}", kinds(&twice));
    assert!(kinds(&twice).len() > kinds(&once).len(), "{:?}\n{:?}", kinds(&once), kinds(&twice));
    let has = |lines: &[String], part: &str| lines.iter().any(|line| line.contains(part));
    for step in ["the node starts", "the peer is connected", "a request is answered", "the node has stopped"] {
        assert!(has(&once, step) && has(&twice, step), "{step}");
    }
    for detail in ["frame in", "frame out", "message in", "message out"] {
        assert!(has(&twice, detail) && !has(&once, detail), "{detail}");
    }
    let others: Vec<_> = kinds(&twice).into_iter().filter(|(_, module)| !module.starts_with("p2pt")).collect();
    assert!(others.is_empty(), "another library's details: {others:?}");
}

#[tokio::test]
async fn rust_log_overrides_the_flag() {
    assert_eq!(log(&["-vv"], Some("error")).await, [""; 0]);
    let mesh = log(&[], Some("p2pt::request=debug")).await;
    assert!(!mesh.is_empty() && mesh.iter().all(|line| kind(line).1 == "p2pt::request:"), "{mesh:#?}");
    let ignored = log(&[], Some("p2pt=very")).await;
    assert!(ignored.len() == 1 && ignored[0].contains("RUST_LOG cannot be used"), "{ignored:#?}");
}
