//! Asking a STUN server for one socket's address, for tools that look at a network.

use std::{io, net::SocketAddr, time::Duration};

use rtc_stun::message::{BINDING_REQUEST, Message, TransactionId};
use tokio::{
    net::UdpSocket,
    time::{Instant, sleep_until},
};

use super::{
    gather::mapped_address,
    transaction::{Step, Transaction},
};

/// The longest response taken; a STUN message is at most this long where paths do not fragment (RFC 8489 section 6.1).
const MAX_RESPONSE_BYTES: usize = 1500;

/// What a STUN server says of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StunAnswer {
    /// The address under which the server saw the socket: that of the outermost address translation between the two, or
    /// the socket's own if there is none.
    pub mapped: SocketAddr,
    /// From the first request to its response, requests that were lost included.
    pub round_trip: Duration,
}

impl StunAnswer {
    /// An answer, for tests of what is made of it.
    pub fn new(mapped: SocketAddr, round_trip: Duration) -> Self {
        Self { mapped, round_trip }
    }
}

/// Asks a STUN server under which address it sees this socket (RFC 8489, a Binding request).
///
/// The request is sent up to four times, at 0, 250, 750 and 1,750 ms, and given up after 3.75 s. Two servers asked from one
/// socket tell how the address translation maps it (RFC 5780): one that reports the same address to both can be
/// traversed, one that does not needs a relay when the other side has such a one too. Nothing else may read from the
/// socket meanwhile; datagrams that are no answer to the request are dropped.
///
/// # Errors
/// [`TimedOut`](io::ErrorKind::TimedOut) when the server does not answer, [`InvalidData`](io::ErrorKind::InvalidData) when it
/// answers with an error or an address that cannot be, and errors of the socket.
pub async fn ask_stun_server(socket: &UdpSocket, server: SocketAddr) -> io::Result<StunAnswer> {
    let mut request = Message::new();
    request.typ = BINDING_REQUEST;
    request.transaction_id = TransactionId(rand::random());
    request.write_header();
    let started = Instant::now();
    let (mut transaction, first) = Transaction::start(started.into_std(), request, socket.local_addr()?, server);
    socket.send_to(&first.data, server).await?;
    let mut buffer = [0; MAX_RESPONSE_BYTES];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let (length, from) = match received {
                    Ok(received) => received,
                    // What an ICMP message about an earlier datagram makes of the next read on some systems.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => continue,
                    Err(error) => return Err(error),
                };
                if from != server {
                    continue;
                }
                if let Some(response) = transaction.response(&buffer[..length]) {
                    let mapped = mapped_address(&response)
                        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the server tells no address"))?;
                    return Ok(StunAnswer { mapped, round_trip: started.elapsed() });
                }
            }
            () = sleep_until(transaction.due().into()) => match transaction.handle_timeout(Instant::now().into_std()) {
                Step::Wait => {}
                Step::Transmit(datagram) => drop(socket.send_to(&datagram.data, server).await?),
                Step::GivenUp => return Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not answer")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn server() -> (UdpSocket, SocketAddr) {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = server.local_addr().expect("bound");
        (server, address)
    }

    /// A Binding response with this address, in the clear as RFC 3489 has it.
    fn response(request: &[u8], port: u16) -> Vec<u8> {
        let mut response = vec![0x01, 0x01, 0, 12];
        response.extend_from_slice(&request[4..20]);
        response.extend_from_slice(&[0, 1, 0, 8, 0, 1]);
        response.extend_from_slice(&port.to_be_bytes());
        response.extend_from_slice(&[192, 0, 2, 7]);
        response
    }

    #[tokio::test]
    async fn the_first_answer_that_fits_is_taken() {
        let (server, address) = server().await;
        let answering = tokio::spawn(async move {
            let mut request = [0; 100];
            // The first request is lost; what is no answer to the second comes before the answer.
            server.recv_from(&mut request).await.expect("a request");
            let (length, from) = server.recv_from(&mut request).await.expect("a request");
            let mut foreign = request;
            foreign[19] ^= 1;
            for datagram in [b"nonsense".to_vec(), response(&foreign, 1), response(&request[..length], 4711)] {
                server.send_to(&datagram, from).await.expect("sent");
            }
        });
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let answer = ask_stun_server(&socket, address).await.expect("an answer");
        assert_eq!(answer.mapped, SocketAddr::from(([192, 0, 2, 7], 4711)));
        answering.await.expect("it answered");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_in_time() {
        let (_server, address) = server().await;
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let started = Instant::now();
        let error = ask_stun_server(&socket, address).await.expect_err("silence");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), Duration::from_millis(3750));
    }
}
