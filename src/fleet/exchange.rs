//! How the reports of one process come together. Each vantage publishes its reports through a [`ReportSender`]; the
//! [`Exchange`] gives the latest report of each vantage whenever one is new. Only the newest report of each is
//! stored, so that no vantage waits for a slow reader.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::fleet::{Received, Report, Vantage};
use crate::health::Observation;
use crate::model::Moment;

/// [`Exchange::next`] returns after this time also without a new report, so that stale reports are noticed.
const TICK: Duration = Duration::from_secs(1);

/// The latest reports of a process's vantages.
#[derive(Debug)]
pub struct Exchange {
    board: watch::Sender<Vec<Received>>,
    reader: watch::Receiver<Vec<Received>>,
}

/// Publishes the reports of one vantage at an exchange.
#[derive(Debug)]
pub struct ReportSender {
    vantage: Vantage,
    board: watch::Sender<Vec<Received>>,
}

impl Default for Exchange {
    fn default() -> Exchange {
        Exchange::new()
    }
}

impl Exchange {
    /// An exchange without vantages.
    pub fn new() -> Exchange {
        let (board, reader) = watch::channel(Vec::new());
        Exchange { board, reader }
    }

    /// The sender of `vantage`'s reports. Two senders of one vantage overwrite each other's reports.
    pub fn sender(&self, vantage: Vantage) -> ReportSender {
        ReportSender { vantage, board: self.board.clone() }
    }

    /// The latest reports, for another reader that can wait for changes.
    pub fn watch(&self) -> watch::Receiver<Vec<Received>> {
        self.board.subscribe()
    }

    /// The latest report of each vantage that ever reported, in the order of their first reports. Returns as soon as
    /// one of them is new, and after a second in any case.
    pub async fn next(&mut self) -> Vec<Received> {
        // The channel can't close: this exchange has a sender. After a tick the reports are the same, but older.
        let _ = tokio::time::timeout(TICK, self.reader.changed()).await;
        self.latest()
    }

    /// The same without waiting. These reports are not new any more for [`Exchange::next`].
    pub fn latest(&mut self) -> Vec<Received> {
        self.reader.borrow_and_update().clone()
    }
}

impl ReportSender {
    /// Replaces this vantage's report; `blind` is why it is blind, if it is. Never waits.
    pub fn publish(&self, at: Moment, observations: Vec<Observation>, blind: Option<Arc<str>>) {
        let report = Arc::new(Report { blind, ..Report::whole(self.vantage.clone(), at, observations) });
        let received = Received { report, received_at: at };
        self.board.send_modify(|board| {
            match board.iter_mut().find(|known| known.report.vantage.name == self.vantage.name) {
                Some(known) => *known = received,
                None => board.push(received),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vantage(name: &str) -> Vantage {
        Vantage { name: name.into(), region: "eu-west".into() }
    }

    fn at(secs: u64) -> Moment {
        Moment::from_start(Duration::from_secs(secs))
    }

    fn names_and_times(reports: &[Received]) -> Vec<(&str, Moment)> {
        reports.iter().map(|received| (&*received.report.vantage.name, received.received_at)).collect()
    }

    #[tokio::test]
    async fn the_newest_report_of_each_vantage_is_returned_once_one_is_new() {
        let mut exchange = Exchange::new();
        let (one, two) = (exchange.sender(vantage("one")), exchange.sender(vantage("two")));
        // Nobody reads meanwhile, and nobody waits.
        for secs in 0..1000 {
            one.publish(at(secs), Vec::new(), None);
        }
        two.publish(at(7), Vec::new(), None);
        assert_eq!(names_and_times(&exchange.next().await), [("one", at(999)), ("two", at(7))]);

        let reader = tokio::spawn(async move { exchange.next().await });
        two.publish(at(1000), Vec::new(), None);
        let reports = reader.await.expect("the reader ends");
        assert_eq!(names_and_times(&reports), [("one", at(999)), ("two", at(1000))]);
    }

    #[tokio::test]
    async fn an_exchange_without_reports_ticks_so_that_stale_ones_are_noticed() {
        let mut exchange = Exchange::new();
        exchange.sender(vantage("one")).publish(at(1), Vec::new(), None);
        exchange.next().await;
        assert_eq!(names_and_times(&exchange.next().await), [("one", at(1))], "the same, later");
    }
}
