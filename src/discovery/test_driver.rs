//! A driver that runs in a test, and what it passes on.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::discovery::{Trouble, Update, UpdateReceiver, UpdateSender, updates};

/// The time that a test waits for something (generous: other tests run meanwhile).
pub(crate) const WITHIN: Duration = Duration::from_secs(20);

/// See the comment of this file.
pub(crate) struct DrivenSource {
    updates: UpdateReceiver,
    stop: CancellationToken,
    task: JoinHandle<()>,
    waiting: Vec<Update>,
}

impl DrivenSource {
    /// Starts the driver that `run` makes. A list has at most `max` instances.
    pub(crate) fn start<F>(max: usize, run: impl FnOnce(UpdateSender, CancellationToken) -> F) -> DrivenSource
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let ((sender, updates), stop) = (updates(max), CancellationToken::new());
        let task = tokio::spawn(run(sender, stop.clone()));
        DrivenSource { updates, stop, task, waiting: Vec::new() }
    }

    pub(crate) async fn next(&mut self) -> Update {
        if self.waiting.is_empty() {
            self.waiting = tokio::time::timeout(WITHIN, self.updates.receive()).await.expect("an update");
        }
        self.waiting.remove(0)
    }

    /// The names of the next whole list, and how many it counts.
    pub(crate) async fn list(&mut self) -> (Vec<String>, usize) {
        loop {
            match self.next().await {
                Update::Whole(list) => {
                    return (list.instances().iter().map(|of| of.name.clone()).collect(), list.total());
                }
                Update::Away(trouble) => panic!("{}", trouble.problem),
                Update::Changes(_) | Update::Back => {}
            }
        }
    }

    /// The next trouble of the source.
    pub(crate) async fn trouble(&mut self) -> Trouble {
        loop {
            if let Update::Away(trouble) = self.next().await {
                return trouble;
            }
        }
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(WITHIN, self.task).await.expect("it ends").unwrap();
    }
}
