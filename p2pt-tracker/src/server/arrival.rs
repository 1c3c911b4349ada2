//! Where a socket comes from, and its place among the sockets of that address.

use std::net::IpAddr;

use tokio_tungstenite::tungstenite::http::{HeaderMap, StatusCode};

use super::{
    addresses::Place,
    forwarded::is_trusted,
    http::{Audience, Refusal},
    hub::Hub,
    proxy_protocol::Source,
    refusals::Refused,
};

/// What is known of a socket's client. The place is held for as long as this lives.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    /// The client's address, or that of a proxy until the client's is known; `None` if nothing tells it.
    address: Option<IpAddr>,
    _place: Option<Place>,
    /// Whether the request is to say who the client is: its address is that of a proxy whose word is taken.
    proxied: bool,
    pub(super) audience: Audience,
}

impl Arrival {
    /// A socket that comes from this address. One of a trusted proxy takes a place only for the client it turns out to
    /// be of.
    pub(super) fn new(hub: &Hub, address: Option<IpAddr>) -> Result<Self, Refused> {
        match address {
            Some(proxy) if is_trusted(proxy, &hub.config.trusted_proxies) => {
                Ok(Self { address, proxied: true, ..Self::default() })
            }
            Some(client) => Self::of_client(hub, client),
            None => Ok(Self::default()),
        }
    }

    /// A socket whose PROXY protocol header, from this proxy, says where it comes from.
    ///
    /// A proxy that passes on bytes leaves their HTTP headers as the client wrote them. They are heard only if the
    /// address in the header is a trusted proxy's too.
    pub(super) fn proxied(hub: &Hub, proxy: IpAddr, source: Source) -> Result<Self, Refused> {
        match source {
            Source::Client(client) => {
                note(client);
                Self::new(hub, Some(client))
            }
            Source::Proxy => Self::of_client(hub, proxy),
        }
    }

    /// A socket of which it is known that this is the client's address.
    pub(super) fn of_client(hub: &Hub, client: IpAddr) -> Result<Self, Refused> {
        let place = hub.places.take(client).ok_or(Refused::PerAddress)?;
        Ok(Self { address: Some(client), _place: Some(place), ..Self::default() })
    }

    /// A socket of a port for the operator, whose address counts for nothing.
    pub(super) fn operator() -> Self {
        Self { audience: Audience::Operator, ..Self::default() }
    }

    /// Learns from a request's headers who the client is, if that is not known yet.
    pub(super) fn learn(&mut self, hub: &Hub, headers: &HeaderMap) -> Result<(), (Refused, Refusal)> {
        let Some(proxy) = self.address.filter(|_| self.proxied) else { return Ok(()) };
        let client =
            hub.config.forwarded_header.client(headers, proxy, &hub.config.trusted_proxies).map_err(|error| {
                hub.refusals.complain(proxy, &error);
                (Refused::Proxy, Refusal::new(StatusCode::BAD_REQUEST, error))
            })?;
        note(client);
        *self = Self::of_client(hub, client).map_err(|why| {
            let text = "too many connections come from this address";
            (why, Refusal::new(StatusCode::TOO_MANY_REQUESTS, text))
        })?;
        Ok(())
    }

    /// The client's address, once it is known.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

/// Adds the client that a proxy has named to what is logged of the socket.
fn note(client: IpAddr) {
    tracing::Span::current().record("client", tracing::field::display(client));
}
