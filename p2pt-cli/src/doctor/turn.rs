//! TURN servers: whether each relays.

use std::time::Duration;

use p2pt::Transport;
use p2pt::transport::webrtc::WebRtc;
use p2pt::{IcePolicy, IceServer, WebRtcConfig};
use tokio::time::{Instant, timeout};

use super::{Finding, millis};

/// How long the transport may take to say what is wrong with the server: as long as one that is silent is asked, 3.75 s,
/// and a little more.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn look(url: String, server: IceServer, deadline: Duration) -> Vec<Finding> {
    let config = WebRtcConfig::default()
        .ice_servers([server])
        .ice_policy(IcePolicy::RelayOnly)
        .gather_timeout(deadline)
        .include_loopback(true);
    let started = Instant::now();
    let transport = match WebRtc::new(config) {
        Ok(transport) => transport,
        Err(error) => return vec![Finding::bad("turn", format!("{url}: {error}"), "check the URL")],
    };
    let finding = match transport.offer().await {
        // Nothing but an address at the server makes an offer here.
        Ok(offer) => {
            let relayed = offer.sdp().lines().find_map(|line| {
                let mut words = line.strip_prefix("a=candidate:")?.split(' ').skip(4);
                Some(format!("{}:{}", words.next()?, words.next()?))
            });
            let found =
                format!("{url} relays from {} after {}", relayed.unwrap_or_default(), millis(started.elapsed()));
            Finding::good("turn", found)
        }
        // What kept the offer from being made is what the server has done, which the transport says by itself.
        Err(error) => match timeout(PATIENCE, transport.warning()).await {
            Ok(warning) => Finding::bad("turn", format!("{url} does not relay: {}", warning.problem), warning.advice()),
            Err(_) => {
                let advice = error.advice().unwrap_or("check that UDP reaches the server");
                Finding::bad("turn", format!("{url} does not relay: {error}"), advice)
            }
        },
    };
    transport.shutdown().await;
    vec![finding]
}
