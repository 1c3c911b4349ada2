//! What docs/tracker.md shows, word for word, tried: web servers and load balancers before trackers, the unit and the
//! firewall. Linux, where each address of 127.0.0.0/8 is one to connect from.
#![cfg(target_os = "linux")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use p2pt::tracker::{
    AnnounceUrl, ConnectError, Connector, ServerConfig, ServerTls, Socket, TrackerListener, TrackerServer,
    WebSocketConnector,
};
use p2pt::transport::webrtc::WebRtcConfig;
use p2pt::{Event, Events, P2pt, Swarm};
use p2pt_tests::js::p2pt_binary;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(60);

/// How many paths peers announce at: so many that all of them at one of three machines by chance is out of the question.
const PATHS: usize = 64;

/// The blocks of this language below the heading that begins so, in their order.
fn shown(heading: &str, language: &str) -> Vec<String> {
    let page = std::fs::read_to_string(root().join("docs/tracker.md")).expect("docs/tracker.md");
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).expect("a heading");
    let fence = format!("```{language}\n");
    let blocks = section.split(&fence).skip(1).filter_map(|block| block.split("```").next());
    blocks.map(str::to_owned).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace")
}

/// A certificate for `localhost`, and its key.
fn certificate() -> [PathBuf; 2] {
    ["self-signed.pem", "self-signed.key"].map(|name| root().join("p2pt-tracker/tests/certificates").join(name))
}

/// Which program stands before the trackers.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Nginx,
    Caddy,
    HaProxy,
}

/// One that runs, on a port of its own; it is killed when this is dropped.
struct Proxy {
    url: String,
    files: PathBuf,
    _process: Child,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Best effort: the system clears its temporary files anyway.
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

impl Proxy {
    /// Starts it with a configuration of the page, in which `change` puts the trackers of the test.
    async fn start(kind: Kind, shown: &str, change: impl Fn(String) -> String) -> Self {
        let port = free_port().await;
        let files = std::env::temp_dir().join(format!("p2pt-proxies-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&files).expect("a directory for the proxy's files");
        let [certificate, key] = certificate();
        let both = files.join("both.pem");
        let pem = [&certificate, &key].map(|path| std::fs::read(path).expect("a file")).concat();
        std::fs::write(&both, pem).expect("a file");

        let path = |path: &Path| path.to_str().expect("text").to_owned();
        let site = format!("localhost:{port} {{\n tls {} {}", path(&certificate), path(&key));
        // The port first, whose digits others may have too.
        let settings = change(shown.replace("443", &port.to_string()))
            .replace("/etc/letsencrypt/live/t.example/fullchain.pem", &path(&certificate))
            .replace("/etc/letsencrypt/live/t.example/privkey.pem", &path(&key))
            .replace("/etc/haproxy/t.example.pem", &path(&both))
            .replace("t.example {", &site)
            .replace("t.example", "localhost");
        // What the programs of a distribution bring along, as far as it is needed.
        let (program, settings) = match kind {
            Kind::Nginx => {
                let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|what| format!("{what}_temp_path {};\n", files.join(what).display()))
                    .concat();
                let begin = "daemon off; worker_processes 2; error_log stderr; pid";
                let pid = files.join("pid");
                let http = format!("http {{ access_log off;\n{temporary}{settings}}}");
                ("nginx", format!("{begin} {};\nevents {{ worker_connections 512; }}\n{http}", pid.display()))
            }
            Kind::Caddy => ("caddy", format!("{{\n admin off\n auto_https disable_redirects\n}}\n{settings}")),
            Kind::HaProxy => {
                let times = "timeout connect 5s\n timeout client 50s\n timeout server 50s";
                ("haproxy", format!("defaults\n mode http\n {times}\n{settings}"))
            }
        };
        let file = files.join("settings");
        std::fs::write(&file, &settings).expect("a file");
        let mut command = Command::new(program);
        match kind {
            Kind::Nginx => command.arg("-p").arg(&files).arg("-c").arg(&file),
            Kind::Caddy => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file),
            Kind::HaProxy => command.arg("-db").arg("-f").arg(&file),
        };
        command.env("XDG_DATA_HOME", &files).env("XDG_CONFIG_HOME", &files);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn();
        let mut process = process.unwrap_or_else(|error| panic!("{program}, of the package of that name: {error}"));
        let listens = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                if let Some(status) = process.try_wait().expect("a child") {
                    panic!("{program} has ended, {status}, with these settings:\n{settings}");
                }
                // Nothing tells when another program listens.
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, listens).await.expect("the proxy listens in time");
        Self { url: format!("wss://localhost:{port}"), files, _process: process }
    }

    /// A socket of a client at this address, in whose name nothing else is there.
    async fn connect(&self, path: &str, client: Ipv4Addr, forged: Option<&str>) -> Result<Socket, ConnectError> {
        let mut connector = connector(client).await;
        if let Some(forged) = forged {
            connector = connector.with_header("X-Forwarded-For", forged).expect("a header");
        }
        let url = AnnounceUrl::parse(&format!("{}{path}", self.url)).expect("a URL");
        timeout(DEADLINE, connector.connect(&url, None)).await.expect("an end in time")
    }

    /// A node whose sockets leave from this address.
    async fn node(&self, path: &str, client: Ipv4Addr) -> (Swarm, Events) {
        let builder = P2pt::builder().tracker(format!("{}{path}", self.url)).webrtc(WebRtcConfig::loopback());
        builder.connector(Arc::new(connector(client).await)).join("room").await.expect("a node starts")
    }

    /// Two nodes that announce at this path meet.
    async fn introduces(&self, path: &str, clients: [Ipv4Addr; 2]) {
        let (_one, mut events) = self.node(path, clients[0]).await;
        let (_other, _other_events) = self.node(path, clients[1]).await;
        let met = async { while !matches!(events.next().await.expect("it goes on"), Event::PeerConnected(_)) {} };
        timeout(DEADLINE, met).await.expect("they meet");
    }
}

/// A port that was free a moment ago, below those that the system gives to whatever asks for any.
async fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Processes that run at the same time begin at ports of their own.
    let first = 10_000 + (std::process::id() % 1000) as u16 * 20;
    loop {
        let port = first + TAKEN.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("::", port)).await.is_ok() {
            return port;
        }
    }
}

/// Connects from this address, which a small HTTP proxy of the test sees to.
async fn connector(client: Ipv4Addr) -> WebSocketConnector {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(leave_from(client, near));
        }
    });
    let certificate = std::fs::read(&certificate()[0]).expect("a certificate");
    let connector = WebSocketConnector::new().with_root_certificate(&certificate).expect("a certificate");
    connector.with_proxy(format!("http://127.0.0.1:{port}").parse().expect("a URL"))
}

/// One connection of such a proxy, to a port of this machine.
async fn leave_from(client: Ipv4Addr, mut near: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(near.read_u8().await?);
    }
    let head = String::from_utf8(head).expect("text");
    let port = head.strip_prefix("CONNECT localhost:").and_then(|rest| rest.split(' ').next());
    let port = port.and_then(|port| port.parse().ok()).expect("a port of this machine");
    let socket = TcpSocket::new_v4()?;
    socket.bind((client, 0).into())?;
    let mut far = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}

/// Trusts the proxy, which connects from 127.0.0.1, and lets each address have so many sockets.
fn config(per_address: usize) -> ServerConfig {
    let proxy = "127.0.0.1".parse().expect("a network");
    ServerConfig::default().trusted_proxies(vec![proxy]).max_connections_per_address(per_address)
}

async fn listener() -> TrackerListener {
    TrackerListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// A tracker behind a proxy sees the clients' own addresses, which these cannot choose, and introduces them.
async fn stands_before_a_tracker(kind: Kind, shown: &str, listener: TrackerListener) {
    let tracker = TrackerServer::start([listener], config(1)).expect("a listener");
    let address = tracker.local_addr().to_string();
    let proxy = Proxy::start(kind, shown, |text| text.replace("127.0.0.1:8000", &address)).await;

    let [one, other] = [2, 3].map(|last| Ipv4Addr::new(127, 0, 0, last));
    let first = proxy.connect("", one, None).await.expect("room for one");
    // With the status 429, or before a word where a header of the PROXY protocol says who it is.
    assert!(proxy.connect("", one, Some("192.0.2.9")).await.is_err(), "{kind:?}: an address has two sockets");
    let third = proxy.connect("", other, Some("not, an address")).await.expect("room for another");
    assert_eq!(tracker.stats().refused.per_address, 1, "{kind:?}");
    drop((first, third));
    proxy.introduces("", [4, 5].map(|last| Ipv4Addr::new(127, 0, 0, last))).await;
}

/// Peers of one path are at one of the machines, peers of many are at several, and those of one path meet.
async fn spreads_paths(kind: Kind, shown: &str) {
    // Of addresses of their own, so that the port of `/health` can be the same.
    let machines = [1, 2, 3].map(|last| Ipv4Addr::new(127, 0, 1, last));
    let mut health = 0;
    let mut trackers = Vec::new();
    for machine in machines {
        let clients = TrackerListener::bind((machine, 0)).await.expect("a free port");
        let operator = TrackerListener::bind((machine, health)).await.expect("a free port").metrics();
        health = operator.local_addr().port();
        trackers.push(TrackerServer::start([clients, operator], config(1000)).expect("listeners"));
    }
    let addresses: Vec<SocketAddr> = trackers.iter().map(TrackerServer::local_addr).collect();
    let proxy = Proxy::start(kind, shown, |text| {
        let named = (1..).zip(&addresses);
        let text = named
            .fold(text, |text, (number, address)| text.replace(&format!("10.0.0.{number}:8000"), &address.to_string()));
        text.replace("port 8001", &format!("port {health}"))
    });
    let proxy = proxy.await;

    let opened = || trackers.iter().map(|tracker| tracker.stats().connections_opened).collect::<Vec<_>>();
    for path in 0..PATHS {
        let before = opened();
        for client in [2, 3] {
            let client = Ipv4Addr::new(127, 0, 0, client);
            drop(proxy.connect(&format!("/app-{path}"), client, None).await.expect("a tracker"));
        }
        let more: Vec<u64> = opened().iter().zip(before).map(|(now, before)| now - before).collect();
        assert!(more.contains(&2), "{kind:?}: the peers of path {path} are torn apart: {more:?}");
    }
    let opened = opened();
    assert!(opened.iter().all(|machine| *machine > 0), "{kind:?}: a machine has no path: {opened:?}");
    proxy.introduces("/chess", [5, 6].map(|last| Ipv4Addr::new(127, 0, 0, last))).await;
}

#[tokio::test]
#[ignore = "needs nginx: apt-get install nginx, then cargo test -p p2pt-tests --test proxies nginx -- --ignored"]
async fn nginx_stands_before_a_tracker() {
    stands_before_a_tracker(Kind::Nginx, &shown("Behind nginx", "nginx")[0], listener().await).await;
}

#[tokio::test]
#[ignore = "needs caddy: apt-get install caddy, then cargo test -p p2pt-tests --test proxies caddy -- --ignored"]
async fn caddy_stands_before_a_tracker() {
    stands_before_a_tracker(Kind::Caddy, &shown("Behind Caddy", "caddy")[0], listener().await).await;
}

#[tokio::test]
#[ignore = "needs haproxy: apt-get install haproxy, then cargo test -p p2pt-tests --test proxies haproxy -- --ignored"]
async fn haproxy_stands_before_a_tracker() {
    let shown = shown("Behind HAProxy", "haproxy");
    stands_before_a_tracker(Kind::HaProxy, &shown[0], listener().await).await;
    let proxied = || async { listener().await.proxy_protocol() };
    stands_before_a_tracker(Kind::HaProxy, &shown[1], proxied().await).await;
    let version_1 = shown[1].replace("send-proxy-v2", "send-proxy");
    stands_before_a_tracker(Kind::HaProxy, &version_1, proxied().await).await;
    // TLS of the tracker's own behind the header.
    let passed_on = shown[1].replace(" ssl crt /etc/haproxy/t.example.pem", "");
    let [certificate, key] = certificate();
    let tls = ServerTls::from_files(certificate, key).expect("a certificate");
    stands_before_a_tracker(Kind::HaProxy, &passed_on, proxied().await.tls(tls)).await;
}

#[tokio::test]
#[ignore = "needs nginx: apt-get install nginx, then cargo test -p p2pt-tests --test proxies nginx -- --ignored"]
async fn nginx_spreads_paths_over_machines() {
    let server = shown("Behind nginx", "nginx")[0].replace("http://127.0.0.1:8000", "http://trackers");
    let upstream = &shown("One name, several machines", "nginx")[0];
    spreads_paths(Kind::Nginx, &format!("{upstream}\n{server}")).await;
}

#[tokio::test]
#[ignore = "needs caddy: apt-get install caddy, then cargo test -p p2pt-tests --test proxies caddy -- --ignored"]
async fn caddy_spreads_paths_over_machines() {
    spreads_paths(Kind::Caddy, &shown("One name, several machines", "caddy")[0]).await;
}

#[tokio::test]
#[ignore = "needs haproxy: apt-get install haproxy, then cargo test -p p2pt-tests --test proxies haproxy -- --ignored"]
async fn haproxy_spreads_paths_over_machines() {
    let single = &shown("Behind HAProxy", "haproxy")[0];
    let (frontend, _) = single.split_once("backend tracker\n    mode").expect("a frontend and a backend");
    let backend = &shown("One name, several machines", "haproxy")[0];
    spreads_paths(Kind::HaProxy, &format!("{frontend}\n{backend}")).await;
}

/// Runs it, and panics with what it says unless it is content and says nothing.
fn is_content(mut command: std::process::Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.trim().is_empty(), "{command:?}: {}\n{said}", output.status);
}

#[test]
#[ignore = "needs systemd-analyze, of the package systemd: cargo test -p p2pt-tests --test proxies units -- --ignored"]
fn systemd_takes_the_units() {
    let units = std::env::temp_dir().join(format!("p2pt-units-{}", std::process::id()));
    let unit = units.join("p2pt-tracker.service");
    let program = p2pt_binary().to_str().expect("text");
    let [service, tls] = &shown("As a service", "ini")[..] else { panic!("a unit and a drop-in are shown") };
    std::fs::create_dir_all(units.join("p2pt-tracker.service.d")).expect("a directory");
    for (file, text) in [(unit.clone(), service), (units.join("p2pt-tracker.service.d/tls.conf"), tls)] {
        std::fs::write(&file, text.replace("/usr/local/bin/p2pt", program)).expect("a file");
        let mut command = std::process::Command::new("systemd-analyze");
        command.arg("verify").arg(&unit);
        is_content(command);
    }
    std::fs::remove_dir_all(&units).expect("removed");
}

#[test]
#[ignore = "needs nft, and root or user namespaces: apt-get install nftables, then cargo test -p p2pt-tests --test proxies firewall -- --ignored"]
fn nftables_takes_the_firewall() {
    let rules = std::env::temp_dir().join(format!("p2pt-firewall-{}.nft", std::process::id()));
    std::fs::write(&rules, &shown("Firewall", "nft")[0]).expect("a file");
    let mut command = std::process::Command::new("unshare");
    command.args(["-rn", "nft", "-c", "-f"]).arg(&rules);
    is_content(command);
    std::fs::remove_file(&rules).expect("removed");
}
