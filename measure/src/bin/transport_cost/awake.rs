//! Cores that do not sleep. A core that has nothing to do sleeps, and waking it takes longer than a round trip does: how
//! long depends on the machine and on what ran before, and says nothing of a transport.

use std::process::Stdio;

use tokio::process::{Child, Command};

/// One process for each core that uses what no other program wants of it, until this is dropped.
///
/// They run in the scheduling class for idle work (`chrt` and `setpriv`, package util-linux), so that any other process
/// takes their place the moment it has something to do.
#[derive(Debug)]
pub(crate) struct Awake {
    _spinning: Vec<Child>,
}

impl Awake {
    pub(crate) fn begin() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let program = std::env::current_exe().expect("a program knows its own path");
        let spinning = (0..cores).map(|_| {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "--", "chrt", "--idle", "0"]).arg(&program).arg("spin");
            command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
            command.spawn().expect("util-linux is installed")
        });
        Self { _spinning: spinning.collect() }
    }
}

/// What each of the processes does.
pub(crate) fn spin() -> ! {
    loop {
        std::hint::black_box((0..1_000_000_u64).sum::<u64>());
    }
}
