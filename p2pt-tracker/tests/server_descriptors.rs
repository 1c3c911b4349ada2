//! A tracker in a process that may open few files.

#![cfg(all(unix, feature = "server"))]

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use p2pt_tracker::{ServerConfig, TrackerServer, raise_descriptor_limit};

/// Set in the process that is the tracker; its value is whether to raise the limit.
const TRACKER: &str = "P2PT_TEST_TRACKER";

const HANDSHAKE: &[u8] = b"GET /announce HTTP/1.1\r\nHost: tracker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Not a test by itself: a tracker until standard input ends, in a process that another test has started.
#[test]
fn tracker() {
    let Ok(raise) = env::var(TRACKER) else { return };
    if raise == "raise" {
        println!("limit {}", raise_descriptor_limit().expect("it can be raised"));
    }
    // Where Tokio's signals are compiled in, it panics by itself with fewer than it needs.
    let build = || tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let Ok(Ok(runtime)) = std::panic::catch_unwind(build) else { return println!("no runtime") };
    let outcome = runtime.block_on(async {
        // All clients of these tests are behind one address.
        let config = ServerConfig::default().max_connections_per_address(usize::MAX);
        let server = TrackerServer::bind("127.0.0.1:0", config).await?;
        println!("listening {}", server.local_addr());
        let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        end.await.expect("no panic").expect("standard input");
        server.shutdown().await;
        Ok::<_, std::io::Error>(())
    });
    if let Err(error) = outcome {
        println!("error {error}");
    }
}

/// Starts the tracker with at most so many open files, which it may raise to so many.
fn start(soft: u32, hard: u32, raise: bool) -> Child {
    let script =
        format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" --exact tracker --nocapture --test-threads=1");
    Command::new("sh")
        .args(["-c", &script])
        .arg(env::current_exe().expect("this program"))
        .env(TRACKER, if raise { "raise" } else { "no" })
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell")
}

/// What the tracker says behind this word.
fn said(output: &mut impl BufRead, word: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(output.read_line(&mut line).expect("text") > 0, "it ended without {word:?}");
        if let Some((_, rest)) = line.trim_end().split_once(word) {
            return rest.trim().to_owned();
        }
    }
}

/// Opens a socket and asks for a WebSocket; the first line of the response with it.
fn connect(addr: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(addr).expect("the tracker listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
    stream.write_all(HANDSHAKE).expect("room");
    let mut response = [0; 1024];
    let bytes = stream.read(&mut response).expect("a response");
    let first = String::from_utf8_lossy(&response[..bytes]).lines().next().unwrap_or_default().to_owned();
    (stream, first)
}

#[test]
fn beyond_what_descriptors_allow_clients_are_refused_in_words() {
    let mut child = start(64, 64, false);
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let addr: SocketAddr = said(&mut output, "listening").parse().expect("an address");
    let mut clients = Vec::new();
    for n in 0..100 {
        let (stream, first) = connect(addr);
        // Of 64 descriptors 16 are kept and 6 are for handshakes.
        let expected = if n < 42 { "HTTP/1.1 101" } else { "HTTP/1.1 503" };
        assert!(first.starts_with(expected), "socket {n}: {first:?}");
        if n < 42 {
            clients.push(stream);
        }
    }
    clients.truncate(30);
    // Those that have hung up make room, once the tracker has seen it.
    let mut refused = 0;
    while clients.len() < 42 {
        let (stream, first) = connect(addr);
        if first.starts_with("HTTP/1.1 101") {
            clients.push(stream);
        } else {
            refused += 1;
            assert!(refused < 10_000, "{first}");
        }
    }
    drop(child.stdin.take());
    let end = child.wait_with_output().expect("it ends");
    assert!(end.status.success(), "{}", String::from_utf8_lossy(&end.stderr));
}

#[test]
fn the_limit_can_be_raised() {
    let mut child = start(32, 80, true);
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    assert_eq!(said(&mut output, "limit"), "80");
    let addr: SocketAddr = said(&mut output, "listening").parse().expect("an address");
    let clients: Vec<_> = (0..50).map(|_| connect(addr)).collect();
    assert!(clients.iter().all(|(_, first)| first.starts_with("HTTP/1.1 101")));
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn with_any_number_of_descriptors_it_works_or_says_what_is_wrong() {
    for limit in 3..=64 {
        let mut child = start(limit, limit, false);
        drop(child.stdin.take());
        let end = child.wait_with_output().expect("it ends");
        let (said, wrong) = (String::from_utf8_lossy(&end.stdout), String::from_utf8_lossy(&end.stderr));
        // What the system's loader and Tokio do is not this crate's.
        if said.is_empty() || said.contains("no runtime") {
            assert!(limit < 12, "{limit}: {wrong}");
            continue;
        }
        assert!(end.status.success() && !wrong.contains("panicked"), "{limit}: {said} {wrong}");
        let expected = if limit < 18 { "error the limit of open files is" } else { "listening 127.0.0.1:" };
        assert!(said.contains(expected), "{limit}: {said} {wrong}");
    }
}
