//! Calls that block, one at a time for each sink: a resolver or a file that does not answer takes one thread for ever,
//! and not those of other sinks.

use std::sync::Arc;

use tokio::sync::Mutex;

/// Shared by the tries of one sink.
#[derive(Debug, Clone, Default)]
pub(super) struct OneCall(Arc<Mutex<()>>);

impl OneCall {
    /// Makes a call on a thread that may block, after the calls before it. An error is that of the call, or a panic.
    pub(super) async fn make<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let turn = self.0.clone().lock_owned().await;
        let made = move || {
            // Passed on when the call ends, also if nobody waits for it any more.
            let _turn = turn;
            call()
        };
        tokio::task::spawn_blocking(made).await.map_err(|error| error.to_string())?
    }
}
