//! The usual connector over real sockets: `wss`, with a certificate made here, and `ws`.

#![allow(clippy::unwrap_used, reason = "the helpers here are part of the tests")]

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p2pt_proto::{ClientMessage, InfoHash, PeerId};
use p2pt_tracker::{
    AnnounceUrl, CertificateError, ClientConfig, ConnectError, Connector as _, HeaderError, TrackerClient,
    TrackerEvent, TrackerWarning, WebSocketConnector,
};
use rcgen::generate_simple_self_signed;
use rcgen::{BasicConstraints, CertificateParams, CertifiedKey, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

/// A deadline for what takes milliseconds, unless it hangs.
const GUARD: Duration = Duration::from_secs(30);

/// A tracker on loopback that accepts one socket and returns its first message, or `None` if there is no handshake.
struct Tracker {
    port: u16,
    certificate: Vec<u8>,
    first_message: JoinHandle<Option<String>>,
}

fn secure_tracker() -> Tracker {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    tracker_with(vec![cert.der().clone()], &signing_key.serialize_der())
}

/// A tracker that shows this certificate, and those behind it.
fn tracker_with(chain: Vec<CertificateDer<'static>>, key: &[u8]) -> Tracker {
    let key = PrivateKeyDer::try_from(key.to_vec()).unwrap();
    let certificate = chain[0].to_vec();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    serve(config, certificate)
}

fn serve(config: ServerConfig, certificate: Vec<u8>) -> Tracker {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let first_message = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(GUARD)).unwrap();
        let tls = ServerConnection::new(Arc::new(config)).unwrap();
        let mut socket = tungstenite::accept(StreamOwned::new(tls, stream)).ok()?;
        Some(socket.read().unwrap().into_text().unwrap().to_string())
    });
    Tracker { port, certificate, first_message }
}

impl Tracker {
    fn url(&self) -> AnnounceUrl {
        AnnounceUrl::parse(&format!("wss://localhost:{}/announce", self.port)).unwrap()
    }
}

fn start(url: AnnounceUrl, connector: WebSocketConnector) -> (TrackerClient, mpsc::Receiver<((), TrackerEvent)>) {
    let (events_tx, events) = mpsc::channel(16);
    let (id, config) = (PeerId::from([1; 20]), ClientConfig::default());
    let client = TrackerClient::start(url, id, config, Arc::new(connector), (), events_tx);
    client.join(InfoHash::of("swarm"));
    client.offers(InfoHash::of("swarm"), vec![]);
    (client, events)
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}

/// Waits until a client has connected.
async fn connected(tracker: &Tracker, connector: WebSocketConnector) -> TrackerClient {
    let (client, mut events) = start(tracker.url(), connector);
    loop {
        match timeout(GUARD, events.recv()).await.unwrap().unwrap().1 {
            TrackerEvent::Connected => return client,
            TrackerEvent::OffersWanted { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_root_certificate_may_be_one_of_several_in_a_file() {
    let (tracker, other) = (secure_tracker(), secure_tracker());
    let file = format!("Our roots\n{}{}", pem(&other.certificate), pem(&tracker.certificate));
    let connector = WebSocketConnector::new().with_root_certificate(file.as_bytes()).unwrap();
    drop(connected(&tracker, connector).await);
}

/// Takes the announce of a client that trusts the tracker.
async fn announces(tracker: Tracker, connector: WebSocketConnector) {
    let connector = connector.with_root_certificate(&tracker.certificate).unwrap();
    let _client = connected(&tracker, connector).await;
    let message = tokio::task::spawn_blocking(move || tracker.first_message.join().unwrap()).await.unwrap();
    let Ok(ClientMessage::Announce(announce)) = ClientMessage::decode(message.unwrap()) else { panic!("no announce") };
    assert_eq!(announce.info_hash, InfoHash::of("swarm"));
}

#[tokio::test]
async fn announces_over_tls_with_a_root_of_our_own() {
    announces(secure_tracker(), WebSocketConnector::new()).await;
}

#[tokio::test]
async fn tls_to_the_tracker_goes_through_a_proxy() {
    let tracker = secure_tracker();
    let target = format!("localhost:{}", tracker.port);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let proxied = tokio::spawn(async move {
        let mut near = tokio::io::BufReader::new(listener.accept().await.unwrap().0);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(near.read_line(&mut head).await.unwrap(), 0, "{head:?}");
        }
        let mut far = tokio::net::TcpStream::connect(&target).await.unwrap();
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        head.starts_with(&format!("CONNECT {target} "))
    });
    announces(tracker, WebSocketConnector::new().with_proxy(proxy.parse().unwrap())).await;
    assert!(timeout(GUARD, proxied).await.unwrap().unwrap());
}

#[tokio::test]
async fn refuses_a_certificate_nobody_vouches_for() {
    let tracker = secure_tracker();
    let (_client, mut events) = start(tracker.url(), WebSocketConnector::new());
    loop {
        match timeout(GUARD, events.recv()).await.unwrap().unwrap().1 {
            TrackerEvent::Warning {
                warning: TrackerWarning::ConnectFailed { error: ConnectError::Untrusted(reason), .. },
                ..
            } => {
                assert!(reason.contains("certificate"), "{reason}");
                break;
            }
            TrackerEvent::OffersWanted { .. } | TrackerEvent::ConnectFailed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(tokio::task::spawn_blocking(move || tracker.first_message.join().unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    // Bound and dropped: nothing listens there now.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let url = AnnounceUrl::parse(&format!("ws://127.0.0.1:{port}")).unwrap();
    let error = timeout(GUARD, WebSocketConnector::new().connect(&url, None)).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn extra_headers_go_with_the_handshake() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = AnnounceUrl::parse(&format!("ws://127.0.0.1:{}", listener.local_addr().unwrap().port())).unwrap();
    // Hangs up after the request: all that counts is in it.
    let received = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(GUARD)).unwrap();
        let lines = BufReader::new(stream).lines().map(Result::unwrap);
        lines.take_while(|line| !line.is_empty()).collect::<Vec<String>>()
    });
    let connector = WebSocketConnector::new().with_header("Origin", "https://app.example").unwrap();
    timeout(GUARD, connector.connect(&url, None)).await.unwrap().unwrap_err();
    let request = tokio::task::spawn_blocking(move || received.join().unwrap()).await.unwrap();
    assert!(request.iter().any(|line| line.eq_ignore_ascii_case("origin: https://app.example")), "{request:?}");
}

#[test]
fn a_header_must_be_one() {
    let connector = WebSocketConnector::new();
    assert_eq!(connector.clone().with_header("Ori gin", "x").unwrap_err(), HeaderError::Name);
    assert_eq!(connector.with_header("Origin", "x\r\nCookie: y").unwrap_err(), HeaderError::Value);
}

#[test]
fn a_root_certificate_must_be_one() {
    for bad in ["", "no", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n", &pem(b"no")] {
        let error = WebSocketConnector::new().with_root_certificate(bad.as_bytes()).unwrap_err();
        assert_eq!(error, CertificateError, "{bad}");
    }
}

/// The request line of the handshake with a tracker at this URL, `HOST` being its address.
async fn request_line(url: &str) -> String {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = url.replace("HOST", &listener.local_addr().unwrap().to_string());
    let read = tokio::spawn(async move {
        let mut line = String::new();
        tokio::io::BufReader::new(listener.accept().await.unwrap().0).read_line(&mut line).await.unwrap();
        line
    });
    let connector = WebSocketConnector::new();
    // The tracker hangs up after that line.
    timeout(GUARD, connector.connect(&url.parse().unwrap(), None)).await.unwrap().unwrap_err();
    timeout(GUARD, read).await.unwrap().unwrap()
}

#[tokio::test]
async fn every_request_has_a_path() {
    for (url, target) in [
        ("ws://HOST", "/"),
        ("ws://HOST?key=a%20b", "/?key=a%20b"),
        ("ws://HOST/announce?key", "/announce?key"),
        ("ws://HOST/a/../announce", "/announce"),
    ] {
        assert_eq!(request_line(url).await, format!("GET {target} HTTP/1.1\r\n"), "{url}");
    }
}

/// What `openssl req -x509` has made, see `certificates/README.md`.
macro_rules! made_by_openssl {
    ($name:literal) => {
        (
            include_bytes!(concat!("certificates/", $name, ".pem")),
            include_bytes!(concat!("certificates/", $name, ".key")),
        )
    };
}

fn tracker_with_pem((certificate, key): (&[u8], &[u8])) -> Tracker {
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    tracker_with(vec![CertificateDer::from_pem_slice(certificate).unwrap()], key.secret_der())
}

/// Why a client does not connect to a tracker, by this URL, that trusts the usual authorities and these certificates.
async fn distrust(tracker: &Tracker, host: &str, roots: &[&[u8]]) -> String {
    refusal(tracker, host, roots).await.to_string()
}

/// Why a connector with these roots opens no socket.
async fn refusal(tracker: &Tracker, host: &str, roots: &[&[u8]]) -> ConnectError {
    let connector =
        roots.iter().fold(WebSocketConnector::new(), |connector, root| connector.with_root_certificate(root).unwrap());
    let url = AnnounceUrl::parse(&format!("wss://{host}:{}/announce", tracker.port)).unwrap();
    timeout(GUARD, connector.connect(&url, None)).await.unwrap().unwrap_err()
}

#[tokio::test]
async fn a_certificate_made_by_openssl_can_be_a_root_and_the_servers_own() {
    let made: (&[u8], &[u8]) = made_by_openssl!("self-signed");
    announces_as_root(tracker_with_pem(made), made.0).await;
    // By its address too, and with others beside it.
    let tracker = tracker_with_pem(made);
    let file = [made_by_openssl!("common-name").0, made.0].concat();
    let connector = WebSocketConnector::new().with_root_certificate(&file).unwrap();
    let url = AnnounceUrl::parse(&format!("wss://127.0.0.1:{}", tracker.port)).unwrap();
    timeout(GUARD, connector.connect(&url, None)).await.unwrap().unwrap();
}

async fn announces_as_root(tracker: Tracker, root: &[u8]) {
    let connector = WebSocketConnector::new().with_root_certificate(root).unwrap();
    let _client = connected(&tracker, connector).await;
    let message = tokio::task::spawn_blocking(move || tracker.first_message.join().unwrap()).await.unwrap();
    assert!(matches!(ClientMessage::decode(message.unwrap()), Ok(ClientMessage::Announce(_))));
}

#[tokio::test]
async fn a_given_certificate_does_not_vouch_for_others_names() {
    let made: (&[u8], &[u8]) = made_by_openssl!("self-signed");
    let words = distrust(&tracker_with_pem(made), "[::ffff:127.0.0.1]", &[made.0]).await;
    assert!(words.starts_with("TLS: the tracker's certificate is for localhost, 127.0.0.1 and not for "), "{words}");
}

#[tokio::test]
async fn the_server_has_to_have_the_key_of_a_given_certificate() {
    let made: (&[u8], &[u8]) = made_by_openssl!("self-signed");
    // The two versions have the signature in different messages.
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let certificate = CertificateDer::from_pem_slice(made.0).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made_by_openssl!("common-name").1).unwrap();
        // Another key, which rustls as a server does not notice if it is told what to show.
        let provider = rustls::crypto::ring::default_provider();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let shown =
            Arc::new(rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(vec![certificate], key)));
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(shown);
        let words = distrust(&serve(config, Vec::new()), "localhost", &[made.0]).await;
        assert!(words.contains("has not the key of the certificate"), "{version:?}: {words}");
    }
}

/// A certificate for localhost, changed, and its key.
fn certificate(change: impl FnOnce(&mut CertificateParams)) -> (CertificateDer<'static>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    (params.self_signed(&key).unwrap().der().clone(), key.serialize_der())
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_in_words() {
    let told = |tracker: Tracker, host: &'static str, trusted: bool| async move {
        let roots: &[&[u8]] = if trusted { &[&tracker.certificate] } else { &[] };
        distrust(&tracker, host, roots).await
    };
    let tracker = |(certificate, key): (CertificateDer<'static>, Vec<u8>)| tracker_with(vec![certificate], &key);
    let authority = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 2, 29);
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(2999, 12, 31);
    let made: (&[u8], &[u8]) = made_by_openssl!("common-name");
    for (words, expected) in [
        (told(tracker(certificate(expired)), "localhost", true).await, "has expired on 2020-02-29; its operator"),
        (
            told(
                tracker(certificate(|params| {
                    authority(params);
                    expired(params)
                })),
                "localhost",
                true,
            )
            .await,
            "has expired on 2020-02-29; its operator",
        ),
        (
            told(tracker(certificate(early)), "localhost", true).await,
            "is not valid before 2999-12-31; most likely the clock",
        ),
        (
            told(
                tracker(certificate(|params| {
                    authority(params);
                    early(params)
                })),
                "localhost",
                true,
            )
            .await,
            "is not valid before 2999-12-31; most likely the clock",
        ),
        (told(tracker(certificate(|_| ())), "127.0.0.1", true).await, "is for localhost and not for 127.0.0.1"),
        (
            told(tracker_with_pem(made), "localhost", true).await,
            "names no host as certificates have to, in a subjectAltName",
        ),
        (
            told(tracker(certificate(|_| ())), "localhost", false).await,
            "is self-signed, so that no authority vouches for it",
        ),
        (
            told(tracker(certificate(authority)), "localhost", false).await,
            "is self-signed, so that no authority vouches for it",
        ),
    ] {
        assert!(words.contains(expected), "{words}");
    }
}

#[tokio::test]
async fn a_certificate_signed_by_another_is_trusted_with_its_authority() {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.distinguished_name.push(rcgen::DnType::CommonName, "Root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_certificate = root.self_signed(&root_key).unwrap().der().clone();
    let issuer = Issuer::new(root, root_key);
    let signed = |is_ca: IsCa| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = is_ca;
        tracker_with(vec![params.signed_by(&key, &issuer).unwrap().der().clone()], &key.serialize_der())
    };
    announces_as_root(signed(IsCa::NoCa), &root_certificate).await;
    let words = distrust(&signed(IsCa::NoCa), "localhost", &[]).await;
    assert!(words.contains("signed by an authority that is not trusted here"), "{words}");
    assert!(words.starts_with("TLS: "), "{words}");
    let words = distrust(&signed(IsCa::Ca(BasicConstraints::Unconstrained)), "localhost", &[&root_certificate]).await;
    assert!(words.contains("for an authority and not for a server"), "{words}");
}

#[tokio::test]
async fn a_tracker_without_tls_is_said_to_have_none() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let first_message = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Until the client hangs up.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
        None
    });
    let error = refusal(&Tracker { port, certificate: Vec::new(), first_message }, "localhost", &[]).await;
    assert_eq!(error, ConnectError::PlainPort);
    assert!(error.to_string().starts_with("this port does not speak TLS: use ws://"), "{error}");
    assert_eq!(error.advice(), Some("give the tracker's URL with ws:// in place of wss://"));
}

#[tokio::test]
async fn a_tracker_that_hangs_up_in_the_tls_handshake_may_have_none() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let first_message = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // What was sent is read first: a socket closed with unread bytes is reset.
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
        None
    });
    let words = distrust(&Tracker { port, certificate: Vec::new(), first_message }, "localhost", &[]).await;
    assert!(words.contains("closed in the handshake; a port that does not speak TLS may do so"), "{words}");
}

#[tokio::test]
async fn a_tracker_with_tls_is_said_to_speak_it_where_it_is_asked_without() {
    let port = secure_tracker().port;
    let url: AnnounceUrl = format!("ws://localhost:{port}").parse().unwrap();
    let error = timeout(GUARD, WebSocketConnector::new().connect(&url, None)).await.unwrap().unwrap_err();
    assert_eq!(error, ConnectError::TlsPort);
    assert_eq!(error.to_string(), "this port speaks TLS: use wss://");
}
