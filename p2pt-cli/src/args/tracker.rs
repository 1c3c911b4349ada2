//! What `p2pt tracker` takes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use p2pt::tracker::{ForwardedHeader, Network};

#[derive(Debug, Args)]
pub(crate) struct TrackerArgs {
    /// Address and port to listen on; port 0 takes a free one. May be repeated, for instance for IPv4 and IPv6
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000", value_parser = listen_address)]
    pub(crate) listen: Vec<SocketAddr>,
    /// Certificate file in PEM, the server's own first: serve wss:// instead of ws://. Read anew at SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM, unencrypted
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Address, or network such as 10.0.0.0/8, of a reverse proxy that says who its clients are; may be repeated
    ///
    /// The proxy has to set the header field X-Forwarded-For itself: nginx with
    /// `proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for`, HAProxy with `option forwardfor`, Caddy does so by
    /// itself.
    #[arg(long, value_name = "NETWORK")]
    pub(crate) trusted_proxy: Vec<Network>,
    /// The header field in which trusted proxies name the client
    #[arg(long, value_name = "FIELD", default_value = "x-forwarded-for", requires = "trusted_proxy")]
    pub(crate) forwarded_header: Header,
    /// Expect a header of the PROXY protocol (version 1 or 2) from trusted proxies on each connection, as HAProxy's
    /// `send-proxy` and many load balancers send it; no others can connect then
    #[arg(long, requires = "trusted_proxy")]
    pub(crate) proxy_protocol: bool,
    /// Address and port of a second port, with /metrics for Prometheus; every client that reaches it may read them
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    pub(crate) metrics: Option<SocketAddr>,
    /// How long peers are asked to wait between announces [default: 120]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) interval: Option<u64>,
    /// Connections open at the same time [default: 10000]
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<usize>,
    /// Connections of one address; behind a reverse proxy all share one, unless it is trusted [default: 1000]
    #[arg(long, value_name = "N")]
    pub(crate) max_connections_per_address: Option<usize>,
    /// One address has at most one part in so many of the swarms and of their members; 1 behind a reverse proxy that does
    /// not tell the clients' addresses [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) address_share: Option<u32>,
    /// Swarms with at least one member [default: 100000]
    #[arg(long, value_name = "N")]
    pub(crate) max_swarms: Option<usize>,
    /// Members of one swarm [default: 10000]
    #[arg(long, value_name = "N")]
    pub(crate) max_peers_per_swarm: Option<usize>,
}

impl TrackerArgs {
    /// The files with the certificate and its key.
    pub(crate) fn tls_files(&self) -> Option<(PathBuf, PathBuf)> {
        self.tls_cert.clone().zip(self.tls_key.clone())
    }
}

/// A header field that names the client.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Header {
    /// X-Forwarded-For
    XForwardedFor,
    /// Forwarded, as in RFC 7239
    Forwarded,
}

impl From<Header> for ForwardedHeader {
    fn from(header: Header) -> Self {
        match header {
            Header::XForwardedFor => Self::XForwardedFor,
            Header::Forwarded => Self::Forwarded,
        }
    }
}

pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address and a port are needed, such as 0.0.0.0:8000 or [::1]:8000".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::{Cli, Command};

    use super::*;

    fn parse(arguments: &[&str]) -> Result<TrackerArgs, String> {
        let line = ["p2pt", "tracker"].iter().chain(arguments);
        match Cli::try_parse_from(line).map_err(|error| error.to_string())?.command {
            Some(Command::Tracker(args)) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_tracker_listens_on_addresses_with_ports() {
        let addresses = |arguments: &[&str]| parse(arguments).unwrap().listen.iter().map(ToString::to_string).collect();
        let listen: Vec<String> = addresses(&[]);
        assert_eq!(listen, ["127.0.0.1:8000"]);
        let listen: Vec<String> = addresses(&["--listen", "[::1]:0", "--listen", "0.0.0.0:80"]);
        assert_eq!(listen, ["[::1]:0", "0.0.0.0:80"]);
        for address in ["8000", "localhost:8000", "127.0.0.1"] {
            for option in ["--listen", "--metrics"] {
                assert!(parse(&[option, address]).unwrap_err().contains("such as 0.0.0.0:8000"), "{address}");
            }
        }
    }

    #[test]
    fn what_makes_sense_together_only_is_asked_for_together() {
        for (arguments, missing) in [
            (&["--tls-cert", "cert.pem"][..], "--tls-key"),
            (&["--tls-key", "key.pem"], "--tls-cert"),
            (&["--proxy-protocol"], "--trusted-proxy"),
            (&["--forwarded-header", "forwarded"], "--trusted-proxy"),
            (&["--trusted-proxy", "nginx"], "neither an IP address nor a network"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.contains(missing), "{arguments:?}: {error}");
        }
        let args =
            parse(&["--trusted-proxy", "::1", "--trusted-proxy", "10.0.0.0/8", "--forwarded-header", "forwarded"]);
        let args = args.unwrap();
        assert_eq!(args.trusted_proxy.len(), 2);
        assert_eq!(ForwardedHeader::from(args.forwarded_header), ForwardedHeader::Forwarded);
        assert_eq!(ForwardedHeader::from(parse(&[]).unwrap().forwarded_header), ForwardedHeader::XForwardedFor);
    }
}
