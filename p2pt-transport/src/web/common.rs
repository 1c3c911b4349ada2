//! What all connections of one transport share.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::{Rc, Weak},
    time::Duration,
};

use p2pt_rt::{now, sleep};
use tokio::sync::{OnceCell, watch};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{RtcCertificate, RtcConfiguration, RtcIceServer, RtcIceTransportPolicy, RtcPeerConnection};

use super::{
    WebRtcConfig,
    connection::{Connection, backend_error},
};
use crate::{ChannelClosed, IcePolicy, TransportError};

/// How long the certificate is valid, in milliseconds: as long as browsers make one at most. Without it, it would be 30
/// days, after which a page makes no connections any more.
const CERTIFICATE_MS: f64 = 365.0 * 24.0 * 60.0 * 60.0 * 1000.0;

/// How long is waited for the browser to collect connections that have been closed. Chromium counts them among its 500 until
/// then, and makes no more.
const COLLECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// How long between looks whether it has.
const COLLECTION_PAUSE: Duration = Duration::from_millis(20);

/// So much memory, in bytes, taken and let go at each look makes the browser collect: it would not for the sake of
/// connections, which are small for JavaScript. The pages of it are never touched.
const PRESSURE_BYTES: u32 = 64 << 20;

/// By which limit a connection is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// An offer that waits for its answer.
    Offer,
    /// A connection that opens, or is open.
    Connection,
}

/// A connection that is not closed.
struct Registered {
    number: u64,
    place: Place,
    connection: Weak<Connection>,
}

/// What all connections of one transport share.
pub(super) struct Common {
    pub(super) config: WebRtcConfig,
    certificate: OnceCell<RtcCertificate>,
    connections: RefCell<Vec<Registered>>,
    last_number: Cell<u64>,
    is_shut_down: Cell<bool>,
    /// How many connections are not closed.
    left: watch::Sender<usize>,
}

impl fmt::Debug for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common")
            .field("config", &self.config)
            .field("offers", &self.in_use(Place::Offer))
            .field("connections", &self.in_use(Place::Connection))
            .finish_non_exhaustive()
    }
}

impl Common {
    /// # Errors
    /// When there is no WebRTC here, as in a worker, or when the browser does not take the servers.
    pub(super) fn new(config: WebRtcConfig) -> Result<Rc<Self>, TransportError> {
        let trial = RtcPeerConnection::new_with_configuration(&settings(&config, None));
        trial.map_err(|error| backend_error(&error))?.close();
        Ok(Rc::new(Self {
            config,
            certificate: OnceCell::new(),
            connections: RefCell::default(),
            last_number: Cell::new(0),
            is_shut_down: Cell::new(false),
            left: watch::Sender::new(0),
        }))
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.is_shut_down.get()
    }

    fn in_use(&self, place: Place) -> usize {
        self.connections.borrow().iter().filter(|registered| registered.place == place).count()
    }

    fn check_place(&self, place: Place) -> Result<(), TransportError> {
        if self.is_shut_down() {
            return Err(TransportError::ShutDown);
        }
        let max = match place {
            Place::Offer => self.config.max_offers,
            Place::Connection => self.config.max_connections,
        };
        if self.in_use(place) < max { Ok(()) } else { Err(TransportError::TooManyConnections { max }) }
    }

    /// A new connection.
    ///
    /// # Errors
    /// [`TransportError::ShutDown`], [`TransportError::TooManyConnections`], and what the browser has against it: its own
    /// limit, for one.
    pub(super) async fn connect(self: &Rc<Self>, place: Place) -> Result<Rc<Connection>, TransportError> {
        self.check_place(place)?;
        let certificate =
            self.certificate.get_or_try_init(make_certificate).await.map_err(|error| backend_error(&error))?;
        // Others may have come while it was made.
        self.check_place(place)?;
        let settings = settings(&self.config, Some(certificate));
        let deadline = now() + COLLECTION_TIMEOUT;
        loop {
            match RtcPeerConnection::new_with_configuration(&settings) {
                Ok(pc) => return Ok(Connection::new(self, place, pc)),
                Err(error) if now() >= deadline => return Err(backend_error(&error)),
                Err(_) => {
                    // The settings were good before, so it is the number of connections.
                    drop(js_sys::ArrayBuffer::new(PRESSURE_BYTES));
                    sleep(COLLECTION_PAUSE).await;
                    self.check_place(place)?;
                }
            }
        }
    }

    /// Gives a connection a number.
    pub(super) fn register(&self, place: Place, connection: Weak<Connection>) -> u64 {
        let number = self.last_number.get() + 1;
        self.last_number.set(number);
        self.connections.borrow_mut().push(Registered { number, place, connection });
        self.left.send_modify(|left| *left += 1);
        number
    }

    /// An offer has its answer, and becomes one of the connections.
    pub(super) fn promote(&self, number: u64) -> Result<(), TransportError> {
        self.check_place(Place::Connection)?;
        if let Some(registered) =
            self.connections.borrow_mut().iter_mut().find(|registered| registered.number == number)
        {
            registered.place = Place::Connection;
        }
        Ok(())
    }

    /// A connection is closed.
    pub(super) fn forget(&self, number: u64) {
        let mut connections = self.connections.borrow_mut();
        if let Some(at) = connections.iter().position(|registered| registered.number == number) {
            connections.remove(at);
            self.left.send_modify(|left| *left -= 1);
        }
    }

    /// Closes all connections, those that are open gracefully, and makes no more.
    pub(super) fn shut_down(&self) {
        self.is_shut_down.set(true);
        // Closing one changes the list.
        let all: Vec<_> =
            self.connections.borrow().iter().filter_map(|registered| registered.connection.upgrade()).collect();
        for connection in all {
            connection.close(ChannelClosed::ShutDown);
        }
    }

    /// What tells how many connections are not closed.
    pub(super) fn await_left(&self) -> watch::Receiver<usize> {
        self.left.subscribe()
    }
}

async fn make_certificate() -> Result<RtcCertificate, JsValue> {
    let algorithm = js_sys::Object::new();
    for (key, value) in [
        ("name", JsValue::from_str("ECDSA")),
        ("namedCurve", JsValue::from_str("P-256")),
        ("expires", JsValue::from_f64(CERTIFICATE_MS)),
    ] {
        js_sys::Reflect::set(&algorithm, &JsValue::from_str(key), &value)?;
    }
    let made = JsFuture::from(RtcPeerConnection::generate_certificate_with_object(&algorithm)?).await?;
    Ok(made.unchecked_into())
}

/// The settings as the browser takes them.
fn settings(config: &WebRtcConfig, certificate: Option<&RtcCertificate>) -> RtcConfiguration {
    let settings = RtcConfiguration::new();
    let servers = js_sys::Array::new();
    for server in &config.ice_servers {
        let entry = RtcIceServer::new();
        let urls: js_sys::Array = server.urls.iter().map(|url| JsValue::from_str(url)).collect();
        entry.set_urls(&urls);
        if !server.username.is_empty() {
            entry.set_username(&server.username);
            entry.set_credential(&server.credential);
        }
        servers.push(&entry);
    }
    settings.set_ice_servers(&servers);
    if config.ice_policy == IcePolicy::RelayOnly {
        settings.set_ice_transport_policy(RtcIceTransportPolicy::Relay);
    }
    if let Some(certificate) = certificate {
        settings.set_certificates(&js_sys::Array::of1(certificate));
    }
    settings
}
