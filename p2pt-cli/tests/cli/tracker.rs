//! `p2pt tracker` with several ports, behind a proxy, and with TLS.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p2pt_tests::pipe::PATIENCE;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncBufRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;
use tokio::time::timeout;

use crate::program::{exit_code, line, p2pt, run, stdout, text, until};

/// A tracker with these arguments, and what it prints.
fn start(arguments: &[&str]) -> (Child, impl AsyncBufRead + Unpin + use<>, impl AsyncBufRead + Unpin + use<>) {
    let mut command = p2pt(&["tracker"]);
    let command = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let (printed, complaints) = (stdout(&mut child), child.stderr.take().expect("it is piped"));
    (child, printed, BufReader::new(complaints))
}

/// The address in the next line, behind these words.
async fn address(printed: &mut (impl AsyncBufRead + Unpin), words: &str) -> String {
    let line = line(printed).await;
    line.strip_prefix(words).unwrap_or_else(|| panic!("{line:?} does not begin with {words:?}")).to_owned()
}

/// What comes back for these bytes until the end.
async fn ask(address: &str, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(bytes.as_bytes()).await.expect("it reads");
    let mut response = Vec::new();
    // A socket that is closed with unread bytes is reset.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut response)).await.expect("it ends in time");
    String::from_utf8(response).expect("text")
}

#[tokio::test]
async fn each_address_is_listened_on_and_printed() {
    let arguments = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    let (_tracker, mut printed, _) = start(&arguments);
    let first = address(&mut printed, "listening on ws://").await;
    let second = address(&mut printed, "listening on ws://").await;
    let metrics = address(&mut printed, "metrics at http://").await;
    for address in [&first, &second] {
        let output = run(&["scrape", &format!("ws://{address}"), "app"]).await;
        assert!(output.status.success(), "{output:?}");
    }
    let metrics = metrics.strip_suffix("/metrics").expect("a path");
    let response = ask(metrics, "GET /metrics HTTP/1.1\r\n\r\n").await;
    assert!(response.contains("\np2pt_tracker_messages_total{kind=\"scrape\"} 2\n"), "{response}");
    let response = ask(&first, "GET /metrics HTTP/1.1\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");

    let held = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let in_use = held.local_addr().expect("an address").to_string();
    let output = run(&["tracker", "--listen", "127.0.0.1:0", "--listen", &in_use]).await;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    assert!(text(&output.stderr).contains(&format!("cannot listen on {in_use}: ")), "{output:?}");
}

#[tokio::test]
async fn proxies_are_trusted_as_the_arguments_say() {
    let limit = ["--listen", "127.0.0.1:0", "--max-connections-per-address", "0", "--trusted-proxy", "127.0.0.0/8"];
    let (_tracker, mut printed, _) = start(&limit);
    let tracker = address(&mut printed, "listening on ws://").await;
    // Nothing is allowed to any client, which is known only once the proxy has said who it is.
    let response = ask(&tracker, "GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 429 "), "{response}");
    let response = ask(&tracker, "GET / HTTP/1.1\r\nForwarded: for=me\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 429 "), "{response}");

    let forwarded = [&limit[..], &["--forwarded-header", "forwarded"]].concat();
    // The refusal is logged, where nothing reads the log any more.
    let (_tracker, mut printed, complaints) = start(&forwarded);
    drop(complaints);
    let tracker = address(&mut printed, "listening on ws://").await;
    let response = ask(&tracker, "GET / HTTP/1.1\r\nForwarded: for=me\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");

    let arguments = ["--listen", "127.0.0.1:0", "--trusted-proxy", "127.0.0.1", "--proxy-protocol"];
    let (_tracker, mut printed, _) = start(&arguments);
    let tracker = address(&mut printed, "listening on ws://").await;
    let get = "GET /health HTTP/1.0\r\n\r\n";
    let response = ask(&tracker, &format!("PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n{get}")).await;
    assert!(response.ends_with("\r\n\r\nok\n"), "{response}");
    assert_eq!(ask(&tracker, get).await, "", "a header is needed");
}

#[tokio::test]
async fn what_is_logged_of_a_socket_names_its_address() {
    let full = ["-v", "--listen", "127.0.0.1:0", "--max-connections", "0", "--trusted-proxy", "192.0.2.1"];
    let (_tracker, mut printed, mut log) = start(&full);
    let tracker = address(&mut printed, "listening on ws://").await;
    let handshake = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "),
        (handshake, "HTTP/1.1 503 "),
        ("\x16\x03\x01 no HTTP\r\n\r\n", "HTTP/1.1 400 "),
    ] {
        let response = ask(&tracker, request).await;
        assert!(response.starts_with(status), "{response}");
        let refusal = until(&mut log, "refused").await;
        assert!(refusal.contains("socket{address=127.0.0.1}: "), "{refusal}");
    }
}

/// A directory with a certificate for localhost and its key; it is removed in the end.
pub(crate) struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("p2pt-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().expect("a path in UTF-8")
    }

    fn write(&self, name: &str, contents: &str) {
        fs::write(self.path(name), contents).expect("a file is written");
    }

    /// Writes a new certificate and its key, and the certificate also under another name.
    fn renew(&self, copy: &str) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let certificate = pem("CERTIFICATE", cert.der());
        self.write("cert.pem", &certificate);
        self.write(copy, &certificate);
        self.write("key.pem", &pem("PRIVATE KEY", &signing_key.serialize_der()));
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// A tracker with a certificate of its own, and its port.
pub(crate) async fn with_tls(name: &str) -> (Files, Child, String) {
    let files = Files::new(name);
    files.renew("copy.pem");
    let (certificate, key) = (files.path("cert.pem"), files.path("key.pem"));
    let (tracker, mut printed, _) = start(&["--listen", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key]);
    let port = address(&mut printed, "listening on wss://127.0.0.1:").await;
    (files, tracker, port)
}

/// Whether `p2pt scrape` gets an answer, with this certificate as a root.
async fn answers(port: &str, root: &str) -> bool {
    let url = format!("wss://localhost:{port}");
    run(&["scrape", &url, "app", "--root-certificate", root]).await.status.success()
}

#[cfg(unix)]
#[tokio::test]
async fn a_certificate_is_read_anew_at_a_hangup_and_a_broken_one_is_not_taken() {
    let files = Files::new("tls");
    files.renew("first.pem");
    let (certificate, key) = (files.path("cert.pem"), files.path("key.pem"));
    let (tracker, mut printed, mut complaints) =
        start(&["--listen", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key]);
    let port = address(&mut printed, "listening on wss://127.0.0.1:").await;
    assert!(answers(&port, &files.path("first.pem")).await);

    files.write("key.pem", "no key");
    p2pt_tests::pipe::signal(&tracker, "HUP").await;
    let complaint = line(&mut complaints).await;
    assert!(
        complaint.contains("no private key in the key file") && complaint.contains("remains in use"),
        "{complaint}"
    );
    assert!(answers(&port, &files.path("first.pem")).await);

    files.renew("second.pem");
    p2pt_tests::pipe::signal(&tracker, "HUP").await;
    assert_eq!(line(&mut printed).await, "the certificate was read anew");
    assert!(answers(&port, &files.path("second.pem")).await);
    assert!(!answers(&port, &files.path("first.pem")).await);
    p2pt_tests::pipe::signal(&tracker, "TERM").await;
    assert_eq!(exit_code(tracker).await, Some(0));
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_said_to_be_so_in_words() {
    let files = Files::new("broken-tls");
    files.renew("copy.pem");
    files.write("encrypted.pem", &pem("ENCRYPTED PRIVATE KEY", b"?"));
    for (certificate, key, words) in [
        ("cert.pem", "missing.pem", "missing.pem cannot be read"),
        ("key.pem", "key.pem", "no certificate"),
        ("cert.pem", "encrypted.pem", "decrypt it first"),
    ] {
        let (certificate, key) = (files.path(certificate), files.path(key));
        let output = run(&["tracker", "--listen", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key]).await;
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
        assert!(text(&output.stderr).contains(words), "{output:?}");
    }
}
