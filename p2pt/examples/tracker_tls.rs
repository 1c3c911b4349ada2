//! A tracker inside a program, with TLS of its own: pages that are served by `https` may open `wss://` alone.
//!
//! `cargo run -p p2pt --features server-tls --example tracker_tls` makes a certificate for `localhost`, and two nodes of this
//! program meet at `wss://localhost:PORT`. With the files of a real certificate it serves until Ctrl-C:
//! `… --example tracker_tls -- 0.0.0.0:443 t.example fullchain.pem privkey.pem`.

use std::{env, error::Error, path::PathBuf, sync::Arc, time::Duration};

use p2pt::tracker::{
    ServerConfig, ServerTls, TrackerListener, TrackerServer, WebSocketConnector, raise_descriptor_limit,
};
use p2pt::{Event, P2pt};

/// How often the files are read anew. Certificates are renewed weeks before they expire.
const RENEWAL: Duration = Duration::from_secs(24 * 3600);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (address, name, files) = match arguments.as_slice() {
        [] => ("127.0.0.1:0", "localhost", None),
        [address, name, certificate, key] => {
            (address.as_str(), name.as_str(), Some((PathBuf::from(certificate), PathBuf::from(key))))
        }
        _ => return Err("give nothing, or ADDRESS NAME CERTIFICATE KEY".into()),
    };
    let (certificate, key) = match &files {
        Some((certificate, key)) => (tokio::fs::read(certificate).await?, tokio::fs::read(key).await?),
        None => self_signed(name)?,
    };

    let tls = ServerTls::from_pem(&certificate, &key)?;
    // A connection takes a descriptor, and many systems begin with 1024.
    raise_descriptor_limit()?;
    let listener = TrackerListener::bind(address).await?.tls(tls.clone());
    let tracker = TrackerServer::start([listener], ServerConfig::default())?;
    // By a name that is in the certificate, and not by the address, which `tracker.url()` has.
    let url = format!("wss://{name}:{}", tracker.local_addr().port());
    println!("announce at {url}");

    // A certificate of a public authority needs no word about it. Others are trusted where they are given as a root.
    let connector = Arc::new(WebSocketConnector::new().with_root_certificate(&certificate)?);
    let node = || P2pt::builder().tracker(&url).connector(connector.clone()).join("room");
    let (alice, mut events) = node().await?;
    let (bob, _bob_events) = node().await?;
    loop {
        match events.next().await {
            Some(Event::PeerConnected(peer)) => break println!("{} has met {}", alice.peer_id(), peer.id()),
            Some(event) => println!("{event}"),
            None => break,
        }
    }
    alice.shutdown().await;
    bob.shutdown().await;

    if let Some((certificate, key)) = files {
        tokio::select! {
            ended = tokio::signal::ctrl_c() => ended?,
            () = renew(tls, certificate, key) => {}
        }
    }
    tracker.shutdown().await;
    Ok(())
}

/// A certificate that this program signs itself, and its key, both in PEM: enough for a first try, and for tests.
fn self_signed(name: &str) -> Result<(Vec<u8>, Vec<u8>), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
    Ok((made.cert.pem().into(), made.signing_key.serialize_pem().into()))
}

/// Reads the files anew from time to time, since whatever renews the certificate replaces them. Connections stay open.
async fn renew(tls: ServerTls, certificate: PathBuf, key: PathBuf) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        let read = async { Ok((tokio::fs::read(&certificate).await?, tokio::fs::read(&key).await?)) };
        let replaced: Result<(), Box<dyn Error>> = match read.await {
            Ok((certificate, key)) => tls.replace_with_pem(&certificate, &key).map_err(Into::into),
            Err(error) => Err(error),
        };
        match replaced {
            Ok(()) => println!("the certificate was read anew"),
            Err(error) => eprintln!("the certificate was not replaced, and the one before it remains in use: {error}"),
        }
    }
}
