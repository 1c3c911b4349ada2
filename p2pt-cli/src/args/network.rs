//! Arguments about the network: how trackers and peers are reached.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use p2pt::tracker::{CertificateError, Connector, HeaderError, ProxyUrl, WebSocketConnector};
use p2pt::transport::DEFAULT_STUN_SERVERS;
use p2pt::{AnnounceUrl, AnnounceUrlError, Builder, Limits, P2pt, PeerId};
use p2pt::{IcePolicy, IceServer, WebRtcConfig};

use super::{is_tracker_url, quoted};

/// Trackers used when none is given: the two public ones that have served WebTorrent for years.
const DEFAULT_TRACKERS: [&str; 2] = ["wss://tracker.openwebtorrent.com", "wss://tracker.webtorrent.dev"];

/// The environment variable that names a proxy.
pub(crate) const PROXY_VARIABLE: &str = "P2PT_PROXY";

/// Peers connected at most, unless it is said how many.
const DEFAULT_MAX_PEERS: usize = 100;

/// MiB that all peers together may take, unless it is said how much: the library's own default.
const DEFAULT_MEMORY: u32 = 256;

/// MiB with which a node is of any use: a message of 2 MiB fits.
const LEAST_MEMORY: i64 = 8;

/// MiB that an address of 32 bits reaches.
const MOST_MEMORY: i64 = 4095;

/// The highest port that has seven after it.
const LAST_PORT: i64 = 65_528;

/// How long an offer waits for TURN servers, which take several round trips; with none, the transport's default holds.
const TURN_GATHER_TIMEOUT: Duration = Duration::from_secs(2);

/// How a peer reaches others.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// A tracker's announce URL, ws://… or wss://…; may be repeated [default: two public trackers]
    #[arg(long = "tracker", value_name = "URL", value_parser = tracker)]
    trackers: Vec<AnnounceUrl>,
    /// Start with no tracker if none is given
    #[arg(long)]
    no_default_trackers: bool,
    #[command(flatten)]
    access: AccessArgs,
    /// A STUN server, stun:HOST[:PORT], besides the default ones; may be repeated
    #[arg(long, value_name = "URL", value_parser = |url: &str| ice_url("stun:", url))]
    stun: Vec<String>,
    /// Use no STUN servers but those given
    #[arg(long)]
    no_default_stun: bool,
    /// A TURN server, turn:HOST[:PORT], to relay what cannot be sent directly; may be repeated
    #[arg(
        long,
        value_name = "URL",
        value_parser = |url: &str| ice_url("turn:", url),
        requires_all = ["turn_user", "turn_password"]
    )]
    turn: Vec<String>,
    /// The user name at the TURN servers
    #[arg(long, value_name = "NAME")]
    turn_user: Option<String>,
    /// The password at the TURN servers; better in the environment, where other users do not see it
    #[arg(long, value_name = "PASSWORD", env = "P2PT_TURN_PASSWORD", hide_env_values = true)]
    turn_password: Option<String>,
    /// Connect through TURN servers only, so that peers see their addresses and not this machine's
    #[arg(long, requires = "turn", conflicts_with = "stun")]
    relay_only: bool,
    /// Stay on this machine: use 127.0.0.1, no STUN and no default trackers; peers meet at a --tracker that runs here
    #[arg(long, conflicts_with = "stun")]
    loopback: bool,
    /// Use the UDP ports PORT to PORT+7 and no others, so that one firewall rule serves all connections; at most 65528
    /// [default: free ones]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=LAST_PORT))]
    port: Option<u16>,
    /// Use this address of this machine and no others; may be repeated [default: those of all interfaces]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "loopback")]
    bind: Vec<IpAddr>,
    /// Data channels kept to each peer
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    connections: NonZeroUsize,
    /// Peers connected at most
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_PEERS)]
    max_peers: usize,
    /// Memory that all peers together may take with what they send and is not read yet, in MiB; a message above a quarter
    /// of it is refused
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT_MEMORY, value_parser = memory())]
    receive_memory: u32,
    /// Memory that messages may take which wait to be sent, to all peers together, in MiB; a message above a quarter of it
    /// is refused
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT_MEMORY, value_parser = memory())]
    send_memory: u32,
    /// Sign nothing: where a tracker changes what peers say to each other, to measure over a path of its own
    #[arg(long, hide = true)]
    unsigned: bool,
}

/// How trackers are reached.
#[derive(Debug, Default, Args)]
pub(crate) struct AccessArgs {
    /// A header sent to trackers, such as "Origin: https://my-app.example"; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Reach trackers through this proxy, http://… or socks5://[USER:PASSWORD@]HOST:PORT; peers are reached without it
    #[arg(long, value_name = "URL", env = PROXY_VARIABLE, hide_env_values = true)]
    proxy: Option<ProxyUrl>,
    /// Trust the certificate authorities and self-signed certificates in this file too, PEM or DER; may be repeated
    #[arg(long = "root-certificate", value_name = "FILE")]
    root_certificates: Vec<PathBuf>,
    /// Follow redirects of trackers within their host
    #[arg(long)]
    follow_redirects: bool,
}

/// Why trackers cannot be reached in the way that was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("header {name:?}: {error}")]
    Header { name: String, error: HeaderError },
    #[error("{}: {error}", .path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{}: {error}", .path.display())]
    Certificate { path: PathBuf, error: CertificateError },
}

impl AccessArgs {
    pub(crate) fn connector(&self) -> Result<Arc<dyn Connector>, AccessError> {
        let mut connector = WebSocketConnector::new();
        for (name, value) in &self.headers {
            connector = connector
                .with_header(name, value)
                .map_err(|error| AccessError::Header { name: name.clone(), error })?;
        }
        connector = self.proxy.iter().cloned().fold(connector, WebSocketConnector::with_proxy);
        for path in &self.root_certificates {
            let bytes = std::fs::read(path).map_err(|error| AccessError::Read { path: path.clone(), error })?;
            connector = connector
                .with_root_certificate(&bytes)
                .map_err(|error| AccessError::Certificate { path: path.clone(), error })?;
        }
        Ok(Arc::new(connector.follow_redirects(self.follow_redirects)))
    }
}

impl NetworkArgs {
    /// Peers on this machine, which meet at one tracker.
    pub(crate) fn on_loopback(tracker: AnnounceUrl) -> Self {
        Self {
            trackers: vec![tracker],
            no_default_trackers: true,
            access: AccessArgs::default(),
            stun: Vec::new(),
            no_default_stun: true,
            turn: Vec::new(),
            turn_user: None,
            turn_password: None,
            relay_only: false,
            loopback: true,
            port: None,
            bind: Vec::new(),
            connections: NonZeroUsize::MIN,
            max_peers: DEFAULT_MAX_PEERS,
            receive_memory: DEFAULT_MEMORY,
            send_memory: DEFAULT_MEMORY,
            unsigned: false,
        }
    }

    /// A peer as configured.
    pub(crate) fn builder(&self) -> Result<Builder, AccessError> {
        let connector = self.access.connector()?;
        let builder = P2pt::builder().trackers(self.tracker_urls()).webrtc(self.webrtc()).connector(connector);
        let [receive, send] = self.memory();
        let builder = builder.receive_memory(receive).send_memory(send).limits(self.limits());
        let builder = if self.unsigned { builder.peer_id(PeerId::random()) } else { builder };
        Ok(builder.connections_per_peer(self.connections.get()).max_peers(self.max_peers))
    }

    /// How trackers are reached.
    pub(crate) fn connector(&self) -> Result<Arc<dyn Connector>, AccessError> {
        self.access.connector()
    }

    /// The trackers, which were checked when the command line was read.
    pub(crate) fn announce_urls(&self) -> Vec<AnnounceUrl> {
        self.tracker_urls().iter().filter_map(|url| url.parse().ok()).collect()
    }

    /// The STUN servers.
    pub(crate) fn stun_urls(&self) -> Vec<String> {
        let no_stun = self.no_default_stun || !self.uses_stun();
        let default_stun: &[&str] = if no_stun { &[] } else { &DEFAULT_STUN_SERVERS };
        default_stun.iter().map(|url| (*url).to_owned()).chain(self.stun.iter().cloned()).collect()
    }

    /// The TURN servers, by URL.
    pub(crate) fn turn_servers(&self) -> Vec<(String, IceServer)> {
        let user = self.turn_user.as_deref().unwrap_or_default();
        let password = self.turn_password.as_deref().unwrap_or_default();
        self.turn.iter().map(|url| (url.clone(), IceServer::turn(url, user, password))).collect()
    }

    /// Bytes that all peers together may make the node hold: what they send, and what is sent to them.
    pub(crate) fn memory(&self) -> [usize; 2] {
        [self.receive_memory, self.send_memory].map(mebibytes)
    }

    /// Peers connected at most in each swarm.
    pub(crate) fn max_peers(&self) -> usize {
        self.max_peers
    }

    /// The library's own limits, where messages of that size fit.
    pub(crate) fn limits(&self) -> Limits {
        let (limits, largest) = (Limits::default(), mebibytes(self.receive_memory.min(self.send_memory)) / 4);
        let largest = limits.max_message_bytes.min(largest);
        limits.max_message_bytes(largest)
    }

    /// The options with which others meet this peer, behind a space; nothing where the default trackers are used. The proxy
    /// is missing, since it is the way from this machine, and so are [headers](Self::has_headers).
    pub(crate) fn for_others(&self) -> String {
        let trackers = self.trackers.iter().map(|url| format!(" --tracker {}", quoted(url.as_str())));
        let roots = self.access.root_certificates.iter();
        let roots = roots.map(|path| format!(" --root-certificate {}", quoted(&path.to_string_lossy())));
        let redirects = self.access.follow_redirects.then(|| " --follow-redirects".to_owned());
        trackers.chain(roots).chain(redirects).chain(self.loopback.then(|| " --loopback".to_owned())).collect()
    }

    /// Whether others need headers too, which are not shown to them: they may be secrets.
    pub(crate) fn has_headers(&self) -> bool {
        !self.access.headers.is_empty()
    }

    /// Whether STUN servers would be used, if there were any.
    pub(crate) fn uses_stun(&self) -> bool {
        // Where only relays may be used, a STUN server would learn an address for nothing.
        !self.loopback && !self.relay_only
    }

    fn tracker_urls(&self) -> Vec<String> {
        if self.trackers.is_empty() && !self.no_default_trackers && !self.loopback {
            DEFAULT_TRACKERS.map(str::to_owned).to_vec()
        } else {
            self.trackers.iter().map(AnnounceUrl::to_string).collect()
        }
    }

    fn webrtc(&self) -> WebRtcConfig {
        let config = if self.loopback { WebRtcConfig::loopback() } else { WebRtcConfig::default() };
        let config = if self.bind.is_empty() { config } else { config.bind_ips(self.bind.iter().copied()) };
        let config = config.port(self.port.unwrap_or_default());
        let stun = self.stun_urls().into_iter().map(IceServer::stun);
        let config = config.ice_servers(stun.chain(self.turn_servers().into_iter().map(|(_, server)| server)));
        let config = if self.turn.is_empty() { config } else { config.gather_timeout(TURN_GATHER_TIMEOUT) };
        if self.relay_only { config.ice_policy(IcePolicy::RelayOnly) } else { config }
    }
}

/// Reads an announce URL, and knows a list of them.
fn tracker(text: &str) -> Result<AnnounceUrl, String> {
    let is_list = text.split(',').skip(1).any(|part| is_tracker_url(part.trim_start()));
    if is_list {
        return Err("these are several URLs: repeat --tracker, once for each".to_owned());
    }
    text.parse().map_err(|error: AnnounceUrlError| error.to_string())
}

fn ice_url(scheme: &str, text: &str) -> Result<String, String> {
    if text.split(',').skip(1).any(|part| part.trim_start().starts_with(scheme)) {
        return Err("these are several URLs: repeat the option, once for each".to_owned());
    }
    match text.strip_prefix(scheme) {
        Some(host) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("it should be {scheme}HOST or {scheme}HOST:PORT")),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn memory() -> impl clap::builder::TypedValueParser<Value = u32> {
    clap::value_parser!(u32).range(LEAST_MEMORY..=MOST_MEMORY)
}

fn mebibytes(count: u32) -> usize {
    count as usize * (1 << 20)
}

fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "a number from 1 on is needed".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        network: NetworkArgs,
    }

    const TURN: [&str; 6] = ["--turn", "turn:relay.example", "--turn-user", "me", "--turn-password", "secret"];

    fn parse(arguments: &[&str]) -> Result<NetworkArgs, clap::Error> {
        Line::try_parse_from(["p2pt"].iter().chain(arguments)).map(|line| line.network)
    }

    fn webrtc(arguments: &[&str]) -> String {
        format!("{:?}", parse(arguments).unwrap().webrtc())
    }

    #[test]
    fn default_trackers_give_way_to_given_ones() {
        assert_eq!(parse(&[]).unwrap().tracker_urls(), DEFAULT_TRACKERS);
        let given = parse(&["--tracker", "ws://127.0.0.1:8000", "--tracker", "wss://example.org/announce"]).unwrap();
        assert_eq!(given.tracker_urls(), ["ws://127.0.0.1:8000", "wss://example.org/announce"]);
        assert!(parse(&["--no-default-trackers"]).unwrap().tracker_urls().is_empty());
        // The public ones are not on this machine.
        assert!(parse(&["--loopback"]).unwrap().tracker_urls().is_empty());
        assert_eq!(parse(&["--loopback", "--tracker", "ws://[::1]"]).unwrap().tracker_urls(), ["ws://[::1]"]);
    }

    #[test]
    fn others_are_told_what_they_need_and_no_secrets() {
        let secrets = ["--header", "Authorization: s3cret", "--proxy", "socks5://me:s3cret@127.0.0.1:9050"];
        let options = ["--tracker", "wss://a.example", "--root-certificate", "my root.pem", "--follow-redirects"];
        let network = parse(&[&secrets[..], &options, &["--loopback"]].concat()).unwrap();
        let told = " --tracker wss://a.example --root-certificate 'my root.pem' --follow-redirects --loopback";
        assert_eq!(network.for_others(), told);
        assert!(network.has_headers());
        let plain = parse(&[]).unwrap();
        assert_eq!((plain.for_others().as_str(), plain.has_headers()), ("", false));
    }

    #[test]
    fn default_trackers_are_announce_urls() {
        for url in DEFAULT_TRACKERS {
            url.parse::<AnnounceUrl>().unwrap();
        }
    }

    #[tokio::test]
    async fn any_memory_holds_the_largest_message_that_goes_with_it() {
        for (arguments, largest) in [
            (&[][..], 64 << 20),
            (&["--receive-memory", "8"], 2 << 20),
            (&["--send-memory", "8", "--receive-memory", "4095", "--max-peers", "1"], 2 << 20),
            (&["--send-memory", "1024", "--receive-memory", "100"], 25 << 20),
        ] {
            let network = parse(&[&["--loopback", "--no-default-trackers"], arguments].concat()).unwrap();
            assert_eq!(network.limits().max_message_bytes, largest, "{arguments:?}");
            let node = network.builder().unwrap().start().await.unwrap();
            node.shutdown().await;
        }
    }

    #[test]
    fn servers_and_policy_are_as_asked_for() {
        for (arguments, stun, turn, relay_only) in [
            (&[][..], 2, 0, false),
            (&["--no-default-stun"], 0, 0, false),
            (&["--stun", "stun:example.org"], 3, 0, false),
            (&["--loopback"], 0, 0, false),
            (&TURN, 2, 1, false),
            (&[&["--relay-only"], &TURN[..]].concat(), 0, 1, true),
            (&[&["--relay-only", "--loopback"], &TURN[..]].concat(), 0, 1, true),
        ] {
            let config = webrtc(arguments);
            let count = |what| config.matches(what).count();
            assert_eq!((count("\"stun:"), count("\"turn:")), (stun, turn), "{arguments:?}: {config}");
            assert_eq!(config.contains("RelayOnly"), relay_only, "{arguments:?}: {config}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (arguments, complaint) in [
            (&["--tracker", "http://example.org"][..], "ws:// or wss://"),
            (&["--tracker", "ws://a.example:1,wss://b.example"], "repeat --tracker"),
            (&["--stun", "stun:a.example,stun:b.example"], "repeat the option"),
            (&["--stun", "example.org"], "stun:HOST"),
            (&["--stun", "stun:"], "stun:HOST"),
            (&["--turn", "stun:example.org"], "turn:HOST"),
            (&["--turn", "turn:example.org"], "--turn-user"),
            (&["--relay-only"], "--turn"),
            (&["--connections", "0"], "from 1 on"),
            (&["--receive-memory", "7"], "8..=4095"),
            (&["--send-memory", "4096"], "8..=4095"),
            (&["--port", "0"], "1..=65528"),
            (&["--port", "65529"], "1..=65528"),
            (&["--bind", "localhost"], "invalid IP address"),
            (&["--bind", "127.0.0.1", "--loopback"], "cannot be used with"),
            (&["--header", "Origin"], "NAME: VALUE"),
            (&["--proxy", "ftp://example.org:21"], "socks5://"),
        ] {
            let error = parse(arguments).unwrap_err().to_string();
            assert!(error.contains(complaint), "{arguments:?}: {error}");
        }
        let access = parse(&["--follow-redirects"]).unwrap().access;
        assert!(access.follow_redirects && access.connector().is_ok());
        let bad_header = parse(&["--header", "Ori gin: x"]).unwrap().access.connector();
        assert_eq!(bad_header.unwrap_err().to_string(), "header \"Ori gin\": not a header name");
        let no_file = parse(&["--root-certificate", "/nowhere.pem"]).unwrap().access.connector();
        assert!(no_file.unwrap_err().to_string().starts_with("/nowhere.pem: "));
    }
}
