//! The tracker over TLS, with the client of this crate.

#![cfg(all(feature = "client", feature = "server-tls"))]
#![allow(clippy::unwrap_used, reason = "the helpers here are part of the tests")]

mod server_support;

use std::{fs, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pt_proto::{InfoHash, Offer, OfferId, PeerId};
use p2pt_tracker::{
    AnnounceUrl, ClientConfig, Connector as _, ServerConfig, ServerTls, ServerTlsError, TrackerClient, TrackerEvent,
    TrackerListener, TrackerServer, WebSocketConnector,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use server_support::{GUARD, raw};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

/// A certificate for localhost, itself a root, and its key, as PEM.
struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (pem("CERTIFICATE", cert.der()), pem("PRIVATE KEY", &signing_key.serialize_der()));
        Self { certificate, key }
    }

    fn tls(&self) -> ServerTls {
        ServerTls::from_pem(self.certificate.as_bytes(), self.key.as_bytes()).unwrap()
    }

    /// How a client connects that trusts this certificate alone, besides the public ones.
    fn connector(&self) -> WebSocketConnector {
        WebSocketConnector::new().with_root_certificate(self.certificate.as_bytes()).unwrap()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

async fn start(tls: ServerTls, config: ServerConfig) -> TrackerServer {
    let listener = TrackerListener::bind("127.0.0.1:0").await.unwrap();
    TrackerServer::start([listener.tls(tls)], config).unwrap()
}

fn url(server: &TrackerServer) -> AnnounceUrl {
    AnnounceUrl::parse(&format!("wss://localhost:{}/announce", server.local_addr().port())).unwrap()
}

type Events = mpsc::Receiver<((), TrackerEvent)>;

/// A client in the swarm, with one offer.
fn client(server: &TrackerServer, identity: &Identity, number: u8) -> (TrackerClient, Events) {
    let (events_tx, events) = mpsc::channel(16);
    let (id, config) = (PeerId::from([number; 20]), ClientConfig::default());
    let client = TrackerClient::start(url(server), id, config, Arc::new(identity.connector()), (), events_tx);
    client.join(InfoHash::of("swarm"));
    client.offers(InfoHash::of("swarm"), vec![Offer::new(OfferId::from([number; 20]), "offer")]);
    (client, events)
}

async fn until(events: &mut Events, wanted: impl Fn(&TrackerEvent) -> bool) -> TrackerEvent {
    loop {
        let event = timeout(GUARD, events.recv()).await.unwrap().unwrap().1;
        assert!(!matches!(event, TrackerEvent::Warning { .. }), "{event:?}");
        if wanted(&event) {
            return event;
        }
    }
}

#[tokio::test]
async fn clients_meet_over_tls() {
    let identity = Identity::new();
    let server = start(identity.tls(), ServerConfig::default()).await;
    assert_eq!(server.url().to_string(), format!("wss://{}", server.local_addr()));
    let (_one, mut one_events) = client(&server, &identity, 1);
    until(&mut one_events, |event| matches!(event, TrackerEvent::Connected)).await;
    let (_two, mut two_events) = client(&server, &identity, 2);
    let both = async {
        // The second announces its offer, which the tracker hands to the first.
        let offer = until(&mut one_events, |event| matches!(event, TrackerEvent::Offer { .. })).await;
        assert!(matches!(offer, TrackerEvent::Offer { from, .. } if from == PeerId::from([2; 20])), "{offer:?}");
    };
    let connected = until(&mut two_events, |event| matches!(event, TrackerEvent::Connected));
    tokio::join!(both, connected);
    assert_eq!(server.stats().swarms.peers, 2);
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_a_broken_one_for_none() {
    let (old, new) = (Identity::new(), Identity::new());
    let tls = old.tls();
    let server = start(tls.clone(), ServerConfig::default()).await;
    let connect = async |identity: &Identity| {
        timeout(GUARD, identity.connector().connect(&url(&server), None))
            .await
            .unwrap()
            .map_err(|error| error.to_string())
    };
    let held = connect(&old).await.unwrap();
    assert!(connect(&new).await.unwrap_err().contains("certificate"));

    let error = tls.replace_with_pem(new.certificate.as_bytes(), old.key.as_bytes()).unwrap_err();
    assert!(matches!(error, ServerTlsError::KeyMismatch), "{error}");
    drop(connect(&old).await.unwrap());

    tls.replace_with_pem(new.certificate.as_bytes(), new.key.as_bytes()).unwrap();
    drop(connect(&new).await.unwrap());
    assert!(connect(&old).await.unwrap_err().contains("certificate"));
    assert!(server.stats().swarms.connections >= 1, "the first connection lives on");
    drop(held);
}

#[tokio::test]
async fn sockets_without_tls_and_silent_ones_are_counted_and_closed() {
    let config = ServerConfig::default().handshake_timeout(Duration::from_millis(100));
    let server = start(Identity::new().tls(), config).await;
    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    assert_eq!(raw(stream, "").await, "", "it has the time of a handshake");
    assert_eq!((server.stats().refused.timeouts, server.stats().refused.tls), (1, 0));
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(GUARD, tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer)).await.unwrap();
    assert_eq!((server.stats().refused.timeouts, server.stats().refused.tls), (1, 1), "{answer:?}");
}

#[test]
fn what_is_wrong_with_a_certificate_or_key_is_said_in_words() {
    let (identity, other) = (Identity::new(), Identity::new());
    let (certificate, key) = (identity.certificate.as_str(), identity.key.as_str());
    let old_encryption = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMAAA\n\
                          -----END RSA PRIVATE KEY-----\n";
    for (certificate, key, words) in [
        ("", key, "no certificate in the certificate file"),
        (key, key, "no certificate in the certificate file"),
        (pem("CERTIFICATE", b"no").as_str(), key, "certificate"),
        ("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n", key, "cannot be understood"),
        (certificate, "", "no private key in the key file"),
        (certificate, certificate, "no private key in the key file"),
        (certificate, &pem("PRIVATE KEY", b"no"), "cannot be used"),
        (certificate, &pem("ENCRYPTED PRIVATE KEY", b"no"), "openssl pkey"),
        (certificate, old_encryption, "openssl pkey"),
        (certificate, &other.key, "does not belong to the first certificate"),
        (&format!("{}{certificate}", other.certificate), key, "does not belong to the first certificate"),
    ] {
        let error = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{error:?} does not say {words:?}");
    }
    // Further certificates are a chain, and text around them is let pass.
    let chain = format!("subject=localhost\n{certificate}{}", other.certificate);
    ServerTls::from_pem(chain.as_bytes(), format!("A key\n{key}").as_bytes()).unwrap();
}

#[test]
fn files_are_read_and_named_when_they_cannot_be() {
    let directory = std::env::temp_dir().join(format!("p2pt-server-tls-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let identity = Identity::new();
    fs::write(&certificate, &identity.certificate).unwrap();
    let error = ServerTls::from_files(&certificate, &key).unwrap_err().to_string();
    assert!(error.contains(&format!("{} cannot be read: ", key.display())), "{error}");
    fs::write(&key, &identity.key).unwrap();
    let tls = ServerTls::from_files(&certificate, &key).unwrap();
    tls.replace_with_files(&certificate, &key).unwrap();
    fs::remove_dir_all(&directory).unwrap();
    assert!(
        matches!(tls.replace_with_files(&certificate, &key), Err(ServerTlsError::Read { path, .. }) if path == certificate)
    );
}
