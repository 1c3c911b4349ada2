//! A network of hosts on a bridge, in namespaces that vanish with the test: no other process sees it, and nothing is
//! left behind however the test ends.
//!
//! It needs Linux, iproute2 and util-linux, and either root or user namespaces that every user may create. Some container
//! runtimes and some distributions refuse both; the soak then fails and says so.

use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// The host that this process is on.
pub const HOME: usize = 0;

/// Set for the copy of a test that runs in namespaces of its own.
const ENTERED: &str = "P2PT_SOAK_ENTERED";

/// Runs this program again with these arguments, in new namespaces, unless that is where it is. Returns whether it did;
/// if so, all is done.
///
/// # Panics
/// If that run fails.
pub fn enter(arguments: &[&str]) -> bool {
    if std::env::var_os(ENTERED).is_some() {
        return false;
    }
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount"]).args((!root).then_some("--map-root-user"));
    unshare.arg(std::env::current_exe().expect("a program knows its own path")).args(arguments);
    // One arena: what is freed can be used again by the next caller, so that memory in use tells more.
    unshare.env(ENTERED, "1").env("P2PT_BINARY", crate::js::p2pt_binary()).env("MALLOC_ARENA_MAX", "1");
    let status = unshare.status().expect("unshare starts: it is in the package util-linux");
    assert!(status.success(), "{unshare:?}: {status} (it needs root or user namespaces, and iproute2)");
    true
}

/// Hosts with an address each, plugged into one bridge. [`HOME`] is one of them.
#[derive(Debug)]
pub struct Network(());

impl Network {
    /// Makes a network of this many hosts. Once, in the namespaces of [`enter`].
    pub fn new(hosts: usize) -> Self {
        assert!(std::env::var_os(ENTERED).is_some(), "not on this machine's own network");
        // Named namespaces live in /run/netns; these are seen by this process alone.
        run("mount -t tmpfs none /run");
        run("ip netns add hub");
        run("ip -n hub link add bridge type bridge");
        run("ip -n hub link set bridge up");
        for host in 0..hosts {
            let (namespace, ip) = if host == HOME {
                (std::process::id().to_string(), "ip".to_owned())
            } else {
                run(&format!("ip netns add host{host}"));
                (format!("host{host}"), format!("ip -n host{host}"))
            };
            run(&format!("ip -n hub link add port{host} type veth peer name eth0 netns {namespace}"));
            run(&format!("ip -n hub link set port{host} master bridge up"));
            run(&format!("{ip} addr add {}/16 dev eth0", Self::address(host)));
            run(&format!("{ip} link set eth0 up"));
            run(&format!("{ip} link set lo up"));
        }
        Self(())
    }

    /// A host's address.
    pub fn address(host: usize) -> Ipv4Addr {
        let number = u16::try_from(host + 1).expect("few hosts");
        let [high, low] = number.to_be_bytes();
        Ipv4Addr::new(10, 77, high, low)
    }

    /// The same command, to be run on a host.
    pub fn at(&self, host: usize, command: &tokio::process::Command) -> tokio::process::Command {
        assert_ne!(host, HOME, "what is at home runs here");
        let mut there = tokio::process::Command::new("nsenter");
        let command = command.as_std();
        there.arg(format!("--net=/run/netns/host{host}")).arg(command.get_program()).args(command.get_args());
        there
    }

    /// Moves a host, which is not [`HOME`], to another network, as a laptop is carried to one: its address goes, with all
    /// that is bound to it, and it gets that of a host that this network does not have. There is a default route at both,
    /// without which a browser does not think that it is online.
    pub fn roam(&self, host: usize, new: usize) {
        let ip = format!("ip -n host{host}");
        run(&format!("{ip} link set eth0 down"));
        run(&format!("{ip} addr flush dev eth0"));
        run(&format!("{ip} addr add {}/16 dev eth0", Self::address(new)));
        run(&format!("{ip} link set eth0 up"));
        run(&format!("{ip} route add default dev eth0"));
    }

    /// Cuts these hosts off from each other only; or joins them again. What they send to each other is
    /// lost without a word.
    pub fn cut(&self, hosts: &[usize], cut: bool) {
        let isolated = if cut { "on" } else { "off" };
        for host in hosts {
            run(&format!("bridge -n hub link set dev port{host} isolated {isolated}"));
        }
    }

    /// Cuts a host off from all others, or joins it again. What it sends is lost without a word.
    pub fn unplug(&self, host: usize, unplugged: bool) {
        let (disabled, forwarding) = (0, 3);
        let state = if unplugged { disabled } else { forwarding };
        run(&format!("bridge -n hub link set dev port{host} state {state}"));
    }
}

fn run(line: &str) {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    let output = command.args(words).output().unwrap_or_else(|error| panic!("{line}: {error} (iproute2 is needed)"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}
