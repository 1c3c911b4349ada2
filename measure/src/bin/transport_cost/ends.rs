//! Both ends of connections in one process.

use std::time::Duration;

use p2pt_transport::{Channel, Transport, TransportError};
use tokio::time::timeout;

/// How long anything may take. A guard.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// One connection, with the offerer's end first.
pub(crate) async fn open(offerer: &dyn Transport, answerer: &dyn Transport) -> (Channel, Channel) {
    try_open(offerer, answerer).await.expect("the two connect")
}

/// As [`open`], where that may fail.
pub(crate) async fn try_open(
    offerer: &dyn Transport,
    answerer: &dyn Transport,
) -> Result<(Channel, Channel), TransportError> {
    let offer = within(offerer.offer()).await?;
    let answer = within(answerer.answer(offer.sdp())).await?;
    let answer_sdp = answer.sdp().to_owned();
    within(async { tokio::try_join!(offer.open(&answer_sdp), answer.open()) }).await
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// The value in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    f64::midpoint(values[values.len() / 2], values[(values.len() - 1) / 2])
}
