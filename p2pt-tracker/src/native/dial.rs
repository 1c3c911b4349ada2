//! From a host name to a TCP connection.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};

use crate::{ConnectError, Family, Route};

/// How long one address is tried before the next is tried beside it (RFC 8305).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// More addresses of one name are not tried.
const MAX_ADDRESSES: usize = 8;

/// Connects to a host over one family, or whichever works.
pub(crate) async fn dial(host: &str, port: u16, family: Option<Family>) -> Result<(TcpStream, Route), ConnectError> {
    let found = lookup_host((host, port)).await.map_err(|error| unknown(host, &error))?;
    dial_one_of(&found.collect::<Vec<_>>(), family).await
}

/// A name without an address, in the words of the system where it has any.
fn unknown(host: &str, error: &io::Error) -> ConnectError {
    let error = error.to_string();
    // The standard library's words before those of the system, which are said already.
    let reason = error.strip_prefix("failed to lookup address information: ").unwrap_or(&error);
    ConnectError::Lookup(format!("{host} has no known address ({reason})"))
}

/// Connects to a host that has these addresses.
async fn dial_one_of(found: &[SocketAddr], family: Option<Family>) -> Result<(TcpStream, Route), ConnectError> {
    let addresses = in_order(found, family);
    if addresses.is_empty() {
        let kind = family.map(|family| format!("{family} ")).unwrap_or_default();
        return Err(ConnectError::Lookup(format!("the host has no {kind}address")));
    }
    let stream = race(addresses, TcpStream::connect).await?;
    // An announce is one small write that nothing follows: Nagle's algorithm would only hold it back.
    stream.set_nodelay(true)?;
    let used = Family::from(stream.peer_addr()?.ip());
    let has_other = found.iter().any(|address| Family::from(address.ip()) != used && is_routed(*address));
    Ok((stream, Route::new(used, has_other)))
}

/// Alternates between the families, beginning with the one that the system prefers.
fn in_order(found: &[SocketAddr], family: Option<Family>) -> Vec<SocketAddr> {
    let Some(first) = found.first() else { return Vec::new() };
    let (preferred, others): (Vec<_>, Vec<_>) = found
        .iter()
        .filter(|address| family.is_none_or(|family| family == Family::from(address.ip())))
        .partition(|address| address.is_ipv4() == first.is_ipv4());
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut order: Vec<SocketAddr> = Vec::new();
    loop {
        let pair = [preferred.next(), others.next()];
        if pair == [None, None] {
            return order;
        }
        for address in pair.into_iter().flatten() {
            if order.len() < MAX_ADDRESSES && !order.contains(address) {
                order.push(*address);
            }
        }
    }
}

/// Whether this host has any way to an address; asks the routing table and sends nothing.
fn is_routed(address: SocketAddr) -> bool {
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    UdpSocket::bind(any).and_then(|socket| socket.connect(address)).is_ok()
}

/// Tries the addresses one after the other: the next one as soon as the one before has failed, and beside it when it
/// takes long, for broken IPv6 is common and takes minutes to say so.
async fn race<S, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<S>
where
    F: Future<Output = io::Result<S>>,
{
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut last_error = io::Error::from(io::ErrorKind::NotFound);
    loop {
        attempts.extend(waiting.next().map(&connect));
        if attempts.is_empty() {
            return Err(last_error);
        }
        let next_one = async {
            match waiting.len() {
                0 => std::future::pending().await,
                _ => tokio::time::sleep(NEXT_ADDRESS_AFTER).await,
            }
        };
        tokio::select! {
            Some(ended) = attempts.next() => match ended {
                Ok(stream) => return Ok(stream),
                Err(error) => last_error = error,
            },
            () = next_one => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::sync::Mutex;

    use tokio::net::TcpListener;
    use tokio::time::{Instant, sleep};

    use super::*;

    fn v4(n: u8) -> SocketAddr {
        ([192, 0, 2, n], 80).into()
    }

    fn v6(n: u16) -> SocketAddr {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 80).into()
    }

    #[test]
    fn families_take_turns_beginning_with_the_preferred_one() {
        assert_eq!(in_order(&[v6(1), v6(2), v6(3), v4(1), v4(1)], None), [v6(1), v4(1), v6(2), v6(3)]);
        assert_eq!(in_order(&[v4(1), v6(1)], None), [v4(1), v6(1)]);
        assert_eq!(in_order(&[v4(1), v6(1)], Some(Family::V6)), [v6(1)]);
        assert_eq!(in_order(&[v4(1)], Some(Family::V6)), []);
        assert_eq!(in_order(&[], None), []);
        let many: Vec<_> = (0..100).map(v4).chain((0..100).map(v6)).collect();
        assert_eq!(in_order(&many, None)[..3], [v4(0), v6(0), v4(1)]);
        assert_eq!(in_order(&many, None).len(), MAX_ADDRESSES);
    }

    #[tokio::test]
    async fn over_real_sockets_each_family_is_reached_and_the_other_one_noticed() {
        let listen = |address: IpAddr| TcpListener::bind((address, 0));
        let v4 = listen(Ipv4Addr::LOCALHOST.into()).await.unwrap();
        let v4 = v4.local_addr().unwrap();
        // A machine without IPv6 has nothing to notice.
        let v6 = listen(Ipv6Addr::LOCALHOST.into()).await;
        let Ok(v6) = v6.as_ref().map(|v6| v6.local_addr().unwrap()) else {
            let (_, route) = dial_one_of(&[(Ipv6Addr::LOCALHOST, 1).into(), v4], None).await.unwrap();
            return assert_eq!(route, Route::new(Family::V4, false));
        };
        let dial = async |family| dial_one_of(&[v6, v4], family).await.map(|(_, route)| route);
        assert_eq!(dial(None).await, Ok(Route::new(Family::V6, true)));
        assert_eq!(dial(Some(Family::V4)).await, Ok(Route::new(Family::V4, true)));
        assert_eq!(dial(Some(Family::V6)).await, Ok(Route::new(Family::V6, true)));
        let (_, route) = dial_one_of(&[v4], None).await.unwrap();
        assert_eq!(route, Route::new(Family::V4, false));
        assert!(matches!(dial_one_of(&[v4], Some(Family::V6)).await, Err(ConnectError::Lookup(_))));
    }

    /// Races addresses of which some refuse, some are silent and some connect, all at once or after a time; says which
    /// one won, after how long, and when each was tried.
    async fn run(behaviours: &[(Option<bool>, u64)]) -> (io::Result<u8>, u128, Vec<u128>) {
        let (start, tried) = (Instant::now(), Mutex::new(Vec::new()));
        let addresses = (0..behaviours.len()).map(|n| v4(n as u8)).collect();
        let won = race(addresses, |address| {
            tried.lock().unwrap().push(start.elapsed().as_millis());
            let SocketAddr::V4(address) = address else { unreachable!() };
            let n = address.ip().octets()[3];
            let (outcome, after) = behaviours[usize::from(n)];
            async move {
                sleep(Duration::from_millis(after)).await;
                match outcome {
                    Some(true) => Ok(n),
                    Some(false) => Err(io::ErrorKind::ConnectionRefused.into()),
                    None => std::future::pending().await,
                }
            }
        });
        let won = won.await;
        (won, start.elapsed().as_millis(), tried.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_address_is_tried_at_once_after_a_refusal_and_soon_beside_silence() {
        let (refused, silent, connects) = ((Some(false), 0), (None, 0), (Some(true), 0));
        let (won, after, tried) = run(&[refused, refused, refused, connects]).await;
        assert_eq!((won.unwrap(), after), (3, 0));
        assert_eq!(tried.len(), 4);
        let (won, after, tried) = run(&[silent, silent, (Some(true), 100), connects]).await;
        assert_eq!((won.unwrap(), after, tried), (2, 600, vec![0, 250, 500]));
        let (won, after, _) = run(&[(Some(true), 300), silent]).await;
        assert_eq!((won.unwrap(), after), (0, 300), "the first is not given up");
        let (won, after, tried) = run(&[silent, (Some(false), 50), connects]).await;
        assert_eq!((won.unwrap(), after, tried), (2, 300, vec![0, 250, 300]));
        let (won, after, _) = run(&[refused, (Some(false), 400)]).await;
        assert_eq!((won.unwrap_err().kind(), after), (io::ErrorKind::ConnectionRefused, 400));
    }
}
