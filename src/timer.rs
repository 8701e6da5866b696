//! Waits that may have no end, for the arms of a `select!`.

use std::time::Duration;

use crate::clock;
use crate::model::Moment;

/// Waits for this time; without one for ever.
pub(crate) async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Waits until this moment; without one for ever.
pub(crate) async fn until(moment: Option<Moment>) {
    after(moment.map(|moment| moment.since(clock::now()))).await;
}
