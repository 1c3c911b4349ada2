//! A backend of one's own: channels over TCP on loopback, and the conformance suite put to it.
//!
//! It shows what a backend has to do and how little of it is about the medium. The answerer listens, its SDP says where;
//! the offerer connects and shows both tokens. One task owns a connection from the first step to the last. TCP gives
//! order; a window of frames gives back-pressure. There is no sign of life, so unlike the backends of this crate this one
//! does not notice a peer that falls silent.
//!
//! ```text
//! cargo run -p p2pt-transport --example tcp_backend --no-default-features --features conformance
//! ```
//!
//! The facade takes it in place of WebRTC, as `tests/tests/other_backend.rs` of the workspace does:
//!
//! ```text
//! P2pt::builder().transport(Arc::new(Tcp::default())).join("my-app").await?
//! ```

mod connection;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use connection::Connection;
use p2pt_transport::{
    Channel, PendingAnswer, PendingOffer, Role, Transport, TransportError,
    conformance::{self, Report, Settings},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The backend.
#[derive(Debug, Default)]
pub(crate) struct Tcp {
    down: CancellationToken,
    tasks: TaskTracker,
}

#[async_trait]
impl Transport for Tcp {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        self.check()?;
        let own = Description { token: rand::random(), address: None };
        Ok(Box::new(Offer { sdp: own.to_string(), own, down: self.down.clone(), tasks: self.tasks.clone() }))
    }

    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        self.check()?;
        let offer = Description::read(offer_sdp)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(backend)?;
        let own = Description { token: rand::random(), address: Some(listener.local_addr().map_err(backend)?) };
        let expected = hello(&offer, &own);
        let connection = Connection::start(&self.down, &self.tasks, async move { accept(&listener, &expected).await });
        Ok(Box::new(Answer { sdp: own.to_string(), label: offer.label(), connection }))
    }

    async fn shutdown(&self) {
        self.down.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Tcp {
    fn check(&self) -> Result<(), TransportError> {
        if self.down.is_cancelled() { Err(TransportError::ShutDown) } else { Ok(()) }
    }
}

fn backend(error: io::Error) -> TransportError {
    TransportError::Backend(error.into())
}

/// What an offer or an answer says. Only an answer has an address.
#[derive(Debug)]
struct Description {
    token: [u8; 16],
    address: Option<SocketAddr>,
}

impl Description {
    fn read(sdp: &str) -> Result<Self, TransportError> {
        let value = |name| sdp.lines().find_map(|line: &str| line.trim().strip_prefix(name));
        let token = value("a=tcp-token:").and_then(|token| u128::from_str_radix(token, 16).ok());
        match token {
            Some(token) if sdp.starts_with("v=0") => Ok(Self {
                token: token.to_be_bytes(),
                address: value("a=tcp-address:").and_then(|address| address.parse().ok()),
            }),
            _ => Err(TransportError::InvalidSdp("it is not of this TCP backend".to_owned())),
        }
    }

    fn label(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.token))
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v=0\r\na=tcp-token:{}\r\n", self.label())?;
        self.address.map_or(Ok(()), |address| write!(f, "a=tcp-address:{address}\r\n"))
    }
}

/// What the offerer says when it connects: proof that it has seen both descriptions.
fn hello(offer: &Description, answer: &Description) -> Vec<u8> {
    [offer.token, answer.token].concat()
}

/// The first connection that says the right thing.
async fn accept(listener: &TcpListener, expected: &[u8]) -> Result<TcpStream, TransportError> {
    loop {
        let (mut stream, _) = listener.accept().await.map_err(backend)?;
        let mut received = vec![0; expected.len()];
        if stream.read_exact(&mut received).await.is_ok() && received == expected {
            stream.write_all(b"!").await.map_err(|_| TransportError::ClosedEarly)?;
            return Ok(stream);
        }
    }
}

async fn connect(address: SocketAddr, hello: &[u8]) -> Result<TcpStream, TransportError> {
    let refused = |_| TransportError::IceFailed { local: "host".to_owned(), remote: "host".to_owned() };
    let mut stream = TcpStream::connect(address).await.map_err(refused)?;
    let shakes_hands = async {
        stream.write_all(hello).await?;
        stream.read_u8().await
    };
    shakes_hands.await.map_err(|_| TransportError::ClosedEarly)?;
    Ok(stream)
}

#[derive(Debug)]
struct Offer {
    sdp: String,
    own: Description,
    down: CancellationToken,
    tasks: TaskTracker,
}

#[async_trait]
impl PendingOffer for Offer {
    fn sdp(&self) -> &str {
        &self.sdp
    }

    async fn open(self: Box<Self>, answer_sdp: &str) -> Result<Channel, TransportError> {
        let answer = Description::read(answer_sdp)?;
        let Some(address) = answer.address else {
            return Err(TransportError::InvalidSdp("no usable address".to_owned()));
        };
        let hello = hello(&self.own, &answer);
        let connection = Connection::start(&self.down, &self.tasks, async move { connect(address, &hello).await });
        connection.open(self.own.label(), Role::Offerer).await
    }
}

#[derive(Debug)]
struct Answer {
    sdp: String,
    label: String,
    connection: Connection,
}

#[async_trait]
impl PendingAnswer for Answer {
    fn sdp(&self) -> &str {
        &self.sdp
    }

    async fn open(self: Box<Self>) -> Result<Channel, TransportError> {
        self.connection.open(self.label, Role::Answerer).await
    }
}

async fn check() -> Report {
    let mut settings = Settings::default();
    settings.patience = Duration::from_millis(50);
    let make = async || (Arc::new(Tcp::default()) as _, Arc::new(Tcp::default()) as _);
    conformance::run_with(make, &settings, |progress| println!("{progress}")).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let report = check().await;
    println!("{report}");
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
#[tokio::test]
async fn conforms() {
    let report = check().await;
    assert!(report.passed(), "{report}");
}
