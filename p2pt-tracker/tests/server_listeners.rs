//! Several ports of one tracker, and what Prometheus reads.

#![cfg(feature = "server")]

mod server_support;

use std::{collections::BTreeMap, net::SocketAddr};

use p2pt_tracker::{ServerConfig, TrackerListener, TrackerServer};
use server_support::{Client, announce, answer, raw, with_offers};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::client_async;

async fn listener() -> TrackerListener {
    TrackerListener::bind("127.0.0.1:0").await.expect("a free port")
}

async fn get(addr: SocketAddr, request: &str) -> String {
    raw(TcpStream::connect(addr).await.expect("the server listens"), request).await
}

#[tokio::test]
async fn ports_share_swarms_and_limits() {
    let mut config = ServerConfig::default();
    config.swarms.max_connections = 2;
    let server = TrackerServer::start([listener().await, listener().await], config).expect("two listeners");
    let [first, second] = *server.local_addrs() else { panic!("{:?}", server.local_addrs()) };
    assert_eq!((server.local_addr(), server.url().to_string()), (first, format!("ws://{first}")));
    assert_ne!(first, second);

    let (mut one, mut two) = (Client::connect(first).await, Client::connect(second).await);
    two.announce(announce(2)).await;
    two.reply().await;
    one.announce(with_offers(1, [5], 10)).await;
    assert_eq!(one.reply().await, (0, 2), "both are in one swarm");
    two.text().await;
    two.send(answer(2, 1, 5)).await;
    one.text().await;
    for addr in [first, second] {
        let stream = TcpStream::connect(addr).await.expect("the server listens");
        let refusal = client_async("ws://tracker/", stream).await.expect_err("the server is full").to_string();
        assert!(refusal.contains("503"), "{refusal}");
    }
    assert_eq!(server.stats().refused.full, 2);
    let closed = async { tokio::join!(one.close_frame(), two.close_frame()) };
    tokio::join!(server.shutdown(), closed);
    for addr in [first, second] {
        assert!(TcpStream::connect(addr).await.is_err(), "nothing listens at {addr} any more");
    }
}

#[tokio::test]
async fn an_address_in_use_is_named_and_nothing_is_listened_on() {
    let held = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let in_use = held.local_addr().expect("an address");
    let error = TrackerListener::bind_all(&["127.0.0.1:0".parse().expect("an address"), in_use]).expect_err("in use");
    assert!(error.to_string().contains(&format!("cannot listen on {in_use}: ")), "{error}");
    let error = TrackerListener::bind(in_use).await.expect_err("in use");
    assert!(error.to_string().contains(&in_use.to_string()), "{error}");
    let error = TrackerServer::start([], ServerConfig::default()).expect_err("no listener");
    assert!(error.to_string().contains("needs an address"), "{error}");
}

#[tokio::test]
async fn all_addresses_of_both_families_go_together() {
    // A machine may have no IPv6.
    let Ok(free) = TcpListener::bind("[::1]:0").await else { return };
    drop(free);
    // A port that is free; should another program take it for IPv4 meanwhile, the next one is tried.
    let both = async || {
        let port = TcpListener::bind("[::]:0").await.ok()?.local_addr().ok()?.port();
        TrackerListener::bind_all(&[SocketAddr::new([0; 16].into(), port), SocketAddr::new([0; 4].into(), port)]).ok()
    };
    let mut listeners = None;
    for _ in 0..10 {
        if listeners.is_none() {
            listeners = both().await;
        }
    }
    let listeners = listeners.expect("both are listened on");
    let port = listeners[0].local_addr().port();
    let _server = TrackerServer::start(listeners, ServerConfig::default()).expect("two listeners");
    for addr in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let response = get(addr.parse().expect("an address"), "GET /health HTTP/1.1\r\n\r\n").await;
        assert!(response.ends_with("\r\n\r\nok\n"), "{addr}: {response}");
    }
}

/// The samples of an exposition in the text format, by name and labels, each with the type of its metric. Panics at what
/// a strict parser would refuse.
fn parse(text: &str) -> BTreeMap<String, (String, f64)> {
    assert!(text.ends_with('\n'), "the last line ends");
    let (mut samples, mut types, mut helped) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let mut current = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a name and a text");
            assert!(!helped.contains(&name) && help.ends_with('.') && !help.contains('\\'), "{line}");
            helped.push(name);
            current = name;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            assert_eq!(name, current, "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert!(types.insert(name, kind).is_none(), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            let name = series.split('{').next().expect("a name");
            assert_eq!(name, current, "{line}: samples of one metric are together, behind its type");
            let letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(letters(name) || name.starts_with("p2pt_tracker_") && letters(&name[4..]), "{line}");
            if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                let label = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix("\"}")).expect("one label");
                let (label, value) = label.split_once("=\"").expect("a label and a value");
                assert!(letters(label) && letters(value), "{line}");
            }
            let sample = (types[name].to_owned(), value.parse().expect("a number"));
            assert!(samples.insert(series.to_owned(), sample).is_none(), "{line}: twice");
        }
    }
    assert_eq!(helped.len(), types.len());
    samples
}

#[tokio::test]
async fn prometheus_reads_what_happens_at_a_port_of_its_own() {
    let mut config = ServerConfig::default();
    config.swarms.max_connections = 2;
    let listeners = [listener().await, listener().await.metrics()];
    let server = TrackerServer::start(listeners, config).expect("two listeners");
    let [public, metrics] = *server.local_addrs() else { panic!("{:?}", server.local_addrs()) };
    let (mut one, mut two) = (Client::connect(public).await, Client::connect(public).await);
    two.announce(announce(2)).await;
    two.reply().await;
    one.announce(with_offers(1, [5], 10)).await;
    one.reply().await;
    two.text().await;
    two.send("{").await;
    two.failure().await;

    let request = "GET /metrics HTTP/1.1\r\nHost: tracker\r\n\r\n";
    let elsewhere = get(public, request).await;
    assert!(elsewhere.starts_with("HTTP/1.1 404 "), "peers do not read it: {elsewhere}");
    // The tracker is full, which does not matter here.
    let response = get(metrics, request).await;
    let (head, body) = response.split_once("\r\n\r\n").expect("a response");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    let samples = parse(body);
    for (series, kind, value) in [
        ("connections", "gauge", 2.0),
        ("swarms", "gauge", 1.0),
        ("members", "gauge", 2.0),
        ("seeders", "gauge", 0.0),
        ("connections_opened_total", "counter", 2.0),
        ("messages_total{kind=\"announce\"}", "counter", 2.0),
        ("messages_total{kind=\"scrape\"}", "counter", 0.0),
        ("messages_total{kind=\"offer\"}", "counter", 1.0),
        ("failures_total", "counter", 1.0),
        ("refused_total{reason=\"request\"}", "counter", 1.0),
        ("refused_total{reason=\"full\"}", "counter", 0.0),
    ] {
        let sample = samples.get(&format!("p2pt_tracker_{series}")).unwrap_or_else(|| panic!("no {series}:\n{body}"));
        assert_eq!((sample.0.as_str(), sample.1), (kind, value), "{series}");
    }
    assert!(samples["p2pt_tracker_uptime_seconds"].1 > 0.0);
    assert_eq!(samples.len(), 21, "{body}");

    let stream = TcpStream::connect(metrics).await.expect("the server listens");
    let refusal = client_async("ws://tracker/", stream).await.expect_err("peers are elsewhere").to_string();
    assert!(refusal.contains("404"), "{refusal}");
    let health = get(metrics, "GET /health HTTP/1.0\r\n\r\n").await;
    assert!(health.ends_with("ok\n"), "{health}");
    assert_eq!(server.stats().swarms.peers, 2);
}
