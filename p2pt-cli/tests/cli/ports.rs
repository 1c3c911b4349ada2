//! Which UDP ports the program binds.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::path::Path;

use p2pt_tests::pipe::PipePeer;

use crate::program::{Tracker, p2pt};

/// The UDP ports that a process has bound.
fn bound(process: u32) -> BTreeSet<u16> {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors can be listed");
    let targets = descriptors.flatten().filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok());
    let inode = |target: &Path| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    let inodes: BTreeSet<String> = targets.filter_map(|target| inode(&target)).collect();
    let mut ports = BTreeSet::new();
    for table in ["udp", "udp6"] {
        let table = std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if inodes.contains(fields[9]) {
                let (_, port) = fields[1].rsplit_once(':').expect("an address and a port");
                ports.insert(u16::from_str_radix(port, 16).expect("a port"));
            }
        }
    }
    ports
}

/// The first of eight ports that are free now.
fn free_range() -> u16 {
    let is_free = |port: u16| UdpSocket::bind(("127.0.0.1", port)).is_ok();
    let mut firsts = (20_000 + (std::process::id() % 1_000) as u16 * 8..).step_by(8);
    firsts.find(|first| (*first..first + 8).all(is_free)).expect("free ports")
}

#[tokio::test]
async fn with_a_port_no_other_is_bound_for_however_many_peers() {
    let tracker = Tracker::start().await;
    let first = free_range();
    let mut fixed = tracker.pipe("fixed", &["--port", &first.to_string()]).await;
    let mut others = Vec::new();
    for n in 0..6 {
        let mut other = tracker.pipe(&format!("other {n}"), &[]).await;
        fixed.about("peer_connected", other.id()).await;
        other.about("peer_connected", fixed.id()).await;
        others.push(other);
    }
    let ports = bound(fixed.process().pid());
    assert!(ports.len() >= 2, "one for offers and one for answers: {ports:?}");
    assert!(ports.iter().all(|port| (first..first + 8).contains(port)), "{ports:?} from {first}");
    let free = bound(others[0].process().pid());
    assert!(!free.is_empty() && free.iter().all(|port| !(first..first + 8).contains(port)), "{free:?}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let tracker = Tracker::start().await;
    let first = free_range();
    let taken: Vec<_> = (first..first + 8).map(|port| UdpSocket::bind(("127.0.0.1", port)).expect("free")).collect();
    let mut command = p2pt(&["pipe", "p2pt-cli tests", "--no-default-stun", "--tracker", &tracker.url]);
    command.args(["--bind", "127.0.0.1", "--port", &first.to_string()]);
    let mut pipe = PipePeer::spawn("no port", command).await;
    let reason = format!("cannot bind UDP 127.0.0.1:{first}: Address already in use");
    pipe.process().expect("error", |event| event["error"].as_str().is_some_and(|error| error.contains(&reason))).await;
    drop(taken);
}
