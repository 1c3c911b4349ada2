//! The program, as a child process.

use std::process::{Output, Stdio};

use p2pt_tests::pipe::{PATIENCE, PipePeer};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// `p2pt` with these arguments; killed when its handle is dropped.
pub(crate) fn p2pt(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p2pt"));
    command.args(arguments).env_remove("RUST_LOG").env_remove("P2PT_SECRET").kill_on_drop(true);
    command
}

/// Runs `p2pt` without input to its end.
pub(crate) async fn run(arguments: &[&str]) -> Output {
    let mut command = p2pt(arguments);
    command.stdin(Stdio::null());
    timeout(PATIENCE, command.output()).await.expect("it ends in time").expect("it starts")
}

/// What a program has written.
pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is UTF-8")
}

/// The next line a program writes; empty if there is none.
pub(crate) async fn line(from: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut line = String::new();
    timeout(PATIENCE, from.read_line(&mut line)).await.expect("it says something in time").expect("it can be read");
    line.trim_end().to_owned()
}

/// Reads lines until one contains `wanted`, and returns that.
pub(crate) async fn until(from: &mut (impl AsyncBufReadExt + Unpin), wanted: &str) -> String {
    loop {
        let said = line(from).await;
        assert!(!said.is_empty(), "it ended before it said {wanted}");
        if said.contains(wanted) {
            return said;
        }
    }
}

/// Waits for a program to end, and returns its exit code.
pub(crate) async fn exit_code(mut child: Child) -> Option<i32> {
    timeout(PATIENCE, child.wait()).await.expect("it ends in time").expect("it can be waited for").code()
}

/// A started program's standard output.
pub(crate) fn stdout(child: &mut Child) -> BufReader<impl AsyncRead + Unpin + use<>> {
    BufReader::new(child.stdout.take().expect("it is piped"))
}

/// A started program's standard error.
#[cfg(target_os = "linux")]
pub(crate) fn stderr(child: &mut Child) -> BufReader<impl AsyncRead + Unpin + use<>> {
    BufReader::new(child.stderr.take().expect("it is piped"))
}

/// `p2pt tracker` on a free port of the loopback interface.
pub(crate) struct Tracker {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Tracker {
    pub(crate) async fn start() -> Self {
        let mut command = p2pt(&["tracker", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let first = line(&mut stdout(&mut child)).await;
        let url = first.strip_prefix("listening on ").unwrap_or_else(|| panic!("first line: {first}"));
        Self { child, url: url.to_owned() }
    }

    /// A `p2pt pipe` here.
    pub(crate) async fn pipe(&self, name: &str, arguments: &[&str]) -> PipePeer {
        PipePeer::spawn(name, self.pipe_command(arguments)).await
    }

    /// A `p2pt pipe` here, under another identifier than the usual one.
    pub(crate) fn pipe_at(&self, identifier: &str, arguments: &[&str]) -> Command {
        let mut command = p2pt(&["pipe", identifier, "--loopback", "--tracker", &self.url]);
        command.args(arguments);
        command
    }

    pub(crate) fn pipe_command(&self, arguments: &[&str]) -> Command {
        self.pipe_at("p2pt-cli tests", arguments)
    }
}

/// A folder of a test's own, which goes when it is over.
pub(crate) struct Folder(std::path::PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("p2pt-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("it can be made");
        Self(path)
    }

    /// A file in it, by its path.
    pub(crate) fn path(&self, file: &str) -> String {
        self.0.join(file).to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is small.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
