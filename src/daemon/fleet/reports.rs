//! The tasks of reports: one sends those of this node's vantage, the other one receives those of all others.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::daemon::fleet::board::Board;
use crate::fleet::exchange::RemoteReports;
use crate::fleet::message::CheckHash;
use crate::fleet::nats::{Nats, NatsFeed};
use crate::fleet::{
    Ask, Extent, FloodChange, FloodGuard, Received, RefusedBurst, Report, ReportSubjects, Vantage, VantageReporter,
};
use crate::model::CheckKey;
use crate::printable::escaped;

/// The checks that this node's vantage probes, each with what identifies it in messages.
pub(crate) type ProbedChecks = Arc<[(CheckHash, Arc<CheckKey>)]>;

/// How often requests are sent and refusals are logged.
const TICK: Duration = Duration::from_millis(250);

/// Sends the reports of this node's vantage.
pub(super) struct SendTask {
    pub(super) nats: Nats,
    pub(super) vantage: Vantage,
    /// The latest reports of the vantages of this process.
    pub(super) local: watch::Receiver<Vec<Received>>,
    pub(super) probed: watch::Receiver<ProbedChecks>,
    pub(super) reporter: VantageReporter,
    pub(super) board: Arc<Board>,
}

impl SendTask {
    /// Runs until `stop`, or until `goodbye`, which makes the vantage say that it stops.
    pub(super) async fn run(mut self, stop: CancellationToken, goodbye: CancellationToken) {
        let Some(mut asks) = self.nats.subscribe(self.nats.subjects().ask(&self.vantage.name)).await else { return };
        let subject = self.nats.subjects().report(&self.vantage);
        // What is there already counts as new.
        self.local.mark_changed();
        self.probed.mark_changed();
        loop {
            let due = self.reporter.next_due();
            tokio::select! {
                () = stop.cancelled() => return,
                () = goodbye.cancelled() => break,
                changed = self.probed.changed() => match changed {
                    Ok(()) => {
                        let probed = Arc::clone(&self.probed.borrow_and_update());
                        self.reporter.adopt(&probed);
                        // The observations of checks that are new to the reporter are there already.
                        self.local.mark_changed();
                    }
                    Err(_) => break,
                },
                changed = self.local.changed() => match changed {
                    Ok(()) => self.observe(),
                    Err(_) => break,
                },
                message = asks.next() => match message {
                    Some(message) => if let Ok(ask) = Ask::decode(&message.payload) {
                        self.reporter.receive(ask);
                    },
                    None => return,
                },
                () = tokio::time::sleep(due.since(clock::now())) => {}
            }
            for message in self.reporter.advance(clock::now()) {
                if self.nats.publish(subject.clone(), message.into()) {
                    self.board.count_sent();
                }
            }
        }
        // Nothing more is reported: the probers have ended, or the goodbye is due.
        tokio::select! {
            () = stop.cancelled() => {}
            () = goodbye.cancelled() => self.say_goodbye(subject).await,
        }
    }

    async fn say_goodbye(&mut self, subject: String) {
        let message = self.reporter.goodbye(clock::now());
        if message.is_some_and(|message| self.nats.publish(subject, message.into())) {
            self.board.count_sent();
            self.nats.flush().await;
        }
    }

    fn observe(&mut self) {
        let own = {
            let all = self.local.borrow_and_update();
            all.iter().find(|received| received.report.vantage.name == self.vantage.name).cloned()
        };
        if let Some(Received { report, .. }) = own {
            self.reporter.observe(&report.observations, report.blind.as_ref(), clock::now());
        }
    }
}

/// Receives the reports of all other vantages, in a server.
pub(super) struct ReceiveTask {
    pub(super) nats: Nats,
    /// The connection for the reports alone.
    pub(super) feed: Nats,
    pub(super) probed: watch::Receiver<ProbedChecks>,
    /// Where the reports go.
    pub(super) reports: RemoteReports,
    pub(super) board: Arc<Board>,
}

impl ReceiveTask {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut messages = NatsFeed::new(self.feed.clone());
        let Some(()) = messages.subscribe(vec![self.nats.subjects().reports()]).await else { return };
        let mut guard = FloodGuard::default();
        self.probed.mark_changed();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.probed.changed() => match changed {
                    Ok(()) => {
                        let probed = Arc::clone(&self.probed.borrow_and_update());
                        if let Some(mut collector) = self.board.collector() {
                            collector.adopt(probed.to_vec(), clock::now());
                        }
                    }
                    Err(_) => return,
                },
                message = messages.next() => match message {
                    Some(message) => {
                        let report = self.received(&message.subject, &message.payload);
                        guard.count(&message.subject, message.payload.len(), report.is_some(), clock::now());
                        if let Some(report) = report {
                            let dropped = self.reports.deliver(report, clock::now());
                            self.board.overtaken.fetch_add(dropped as u64, Ordering::Relaxed);
                        }
                    }
                    None => return,
                },
                _ = tick.tick() => {
                    self.attend();
                    if self.guard_against_floods(&mut guard, &mut messages).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// The report of a message. The vantage is the one of the subject, which the permissions of NATS guard.
    fn received(&self, subject: &str, payload: &[u8]) -> Option<Report> {
        let vantage = self.nats.subjects().sender(subject)?;
        let mut collector = self.board.collector()?;
        // A refusal is counted there, and logged by `attend`.
        let report = collector.receive(&vantage, payload, clock::now()).ok().flatten();
        if report.as_ref().is_some_and(|report| report.extent == Extent::End) {
            let (name, region) = (escaped(&vantage.name), escaped(&vantage.region));
            tracing::info!(vantage = %name, %region, "a vantage has stopped: it has no vote any more");
        }
        report
    }

    /// Reads what a flood leaves to read. `None` after the end of the connection.
    async fn guard_against_floods(&self, guard: &mut FloodGuard, messages: &mut NatsFeed) -> Option<()> {
        let now = clock::now();
        let changes = guard.advance(self.feed.status().missed, now);
        if changes.is_empty() {
            return Some(());
        }
        let has_begun = changes.iter().any(|change| matches!(change, FloodChange::Began(..)));
        for change in changes {
            let (subject, lasting) = match change {
                FloodChange::Began(subject, time) => (subject, Some(time)),
                FloodChange::Ended(subject) => (subject, None),
            };
            let sender = subject.as_deref().map_or("unknown vantages".into(), |subject| escaped(subject).to_string());
            match lasting {
                Some(time) => tracing::warn!(
                    sender,
                    seconds = time.as_secs(),
                    "a flood of reports: this sender is not read for these seconds, new vantages neither"
                ),
                None => tracing::info!(sender, "reports are read again after a flood"),
            }
        }
        messages
            .subscribe(match guard.subjects(now) {
                ReportSubjects::All => vec![self.nats.subjects().reports()],
                ReportSubjects::Only(subjects) => subjects,
            })
            .await?;
        // What the NATS server still has for this connection is mostly the flood, up to 64 MiB: reading it would delay
        // the reports of the others for as long as it takes.
        if has_begun {
            self.feed.reconnect().await;
        }
        Some(())
    }

    /// Asks for what is missing, and logs what was refused.
    fn attend(&self) {
        let now = clock::now();
        let Some(mut collector) = self.board.collector() else { return };
        let (asks, refusals) = (collector.asks(now), collector.refusals(now));
        collector.forget(now);
        drop(collector);
        for (vantage, ask) in asks {
            self.nats.publish(self.nats.subjects().ask(&vantage.name), ask.encode().into());
        }
        for refusal in refusals {
            let RefusedBurst { vantage, why, count } = refusal;
            let (name, region) = (escaped(&vantage.name), escaped(&vantage.region));
            tracing::warn!(vantage = %name, %region, count, why = why.why(), "reports are refused");
        }
    }
}
