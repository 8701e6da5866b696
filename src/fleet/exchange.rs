//! How reports come to the agreement of one process. Local probers publish whole reports through a [`ReportSender`];
//! what remote vantages report comes through [`RemoteReports`]. The [`Exchange`] gives what is new since the last time.
//! No sender waits for a slow reader, and what waits for it is bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::fleet::{Extent, Received, Report, Vantage};
use crate::health::Observation;
use crate::model::Moment;

/// [`Exchange::next`] returns after this time also without a new report, so that stale reports are noticed.
const TICK: Duration = Duration::from_secs(1);
/// The least time from one return of [`Exchange::next`] to the next while only remote vantages report. Judgment: when
/// thousands of endpoints fail, fifty vantages send hundreds of reports a second; a new snapshot for each of them would
/// cost more than the reports do, and a resolver notices no 20 ms.
const REMOTE_PAUSE: Duration = Duration::from_millis(20);
/// Most observations of one vantage that wait for a slow reader. Then its oldest reports are dropped: remote vantages
/// repeat each observation every few seconds. Judgment: ten times the checks of a large fleet.
const MAX_WAITING: usize = 100_000;
/// Most reports of one vantage that wait; the empty ones count too.
const MAX_REPORTS: usize = 1000;

/// Where the reports of a process's vantages and of remote ones come together.
#[derive(Debug)]
pub struct Exchange {
    inbox: Arc<Inbox>,
    board: watch::Sender<Vec<Received>>,
    taken_at: Moment,
}

/// Publishes the reports of one vantage at an exchange.
#[derive(Debug)]
pub struct ReportSender {
    vantage: Vantage,
    inbox: Arc<Inbox>,
    board: watch::Sender<Vec<Received>>,
}

/// Delivers the reports of remote vantages to an exchange.
#[derive(Debug, Clone)]
pub struct RemoteReports(Arc<Inbox>);

/// The reports that nobody took yet.
#[derive(Debug, Default)]
struct Inbox {
    queues: Mutex<Vec<Queue>>,
    any: Notify,
    local: Notify,
}

/// Those of one vantage, in the order of their arrival.
#[derive(Debug)]
struct Queue {
    vantage: Arc<str>,
    reports: VecDeque<Received>,
    observations: usize,
}

impl Default for Exchange {
    fn default() -> Exchange {
        Exchange::new()
    }
}

impl Exchange {
    /// An exchange without vantages.
    pub fn new() -> Exchange {
        Exchange { inbox: Arc::default(), board: watch::channel(Vec::new()).0, taken_at: Moment::START }
    }

    /// The sender of `vantage`'s reports. Two senders of one vantage overwrite each other's reports.
    pub fn sender(&self, vantage: Vantage) -> ReportSender {
        ReportSender { vantage, inbox: self.inbox.clone(), board: self.board.clone() }
    }

    /// The way in for reports of remote vantages.
    pub fn remote(&self) -> RemoteReports {
        RemoteReports(self.inbox.clone())
    }

    /// The latest whole report of each vantage of this process, for another reader that can wait for changes.
    pub fn watch(&self) -> watch::Receiver<Vec<Received>> {
        self.board.subscribe()
    }

    /// The reports that came since the last call; those of a vantage in their order. Returns as soon as there is one,
    /// and after a second in any case. Nothing is lost when this is dropped and called again.
    pub async fn next(&mut self) -> Vec<Received> {
        if self.inbox.lock().is_empty() {
            // After a tick there are no reports, but those before are older.
            let _ = timeout(TICK, self.inbox.any.notified()).await;
        }
        let left = (self.taken_at + REMOTE_PAUSE).since(clock::now());
        tokio::select! {
            biased;
            () = self.inbox.local.notified() => {}
            () = sleep(left) => {}
        }
        self.take()
    }

    /// The same without waiting.
    pub fn take(&mut self) -> Vec<Received> {
        self.taken_at = clock::now();
        let queues = std::mem::take(&mut *self.inbox.lock());
        queues.into_iter().flat_map(|queue| queue.reports).collect()
    }
}

impl ReportSender {
    /// Publishes a whole report of this vantage; `blind` is why it is blind, if it is. Never waits.
    pub fn publish(&self, at: Moment, observations: Vec<Observation>, blind: Option<Arc<str>>) {
        let report = Arc::new(Report { blind, ..Report::whole(self.vantage.clone(), at, observations) });
        let received = Received { report, received_at: at };
        self.inbox.put(received.clone());
        self.inbox.local.notify_one();
        self.board.send_modify(|board| {
            match board.iter_mut().find(|known| known.report.vantage.name == self.vantage.name) {
                Some(known) => *known = received,
                None => board.push(received),
            }
        });
    }
}

impl RemoteReports {
    /// Delivers a report that arrived at `at`. Never waits. Returns how many older reports of this vantage were dropped
    /// because nobody took them.
    pub fn deliver(&self, report: Report, at: Moment) -> usize {
        self.0.put(Received { report: Arc::new(report), received_at: at })
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, received: Received) -> usize {
        let dropped = {
            let mut queues = self.lock();
            let name = &received.report.vantage.name;
            match queues.iter_mut().find(|queue| queue.vantage == *name) {
                Some(queue) => queue.put(received),
                None => {
                    let mut queue = Queue { vantage: name.clone(), reports: VecDeque::new(), observations: 0 };
                    let dropped = queue.put(received);
                    queues.push(queue);
                    dropped
                }
            }
        };
        self.any.notify_one();
        dropped
    }
}

impl Queue {
    /// A whole report takes the place of all before it. Returns how many were dropped because too much waits.
    fn put(&mut self, received: Received) -> usize {
        if received.report.extent == Extent::Whole {
            self.reports.clear();
            self.observations = 0;
        }
        self.observations += received.report.observations.len();
        self.reports.push_back(received);
        let mut dropped = 0;
        while (self.observations > MAX_WAITING || self.reports.len() > MAX_REPORTS)
            && self.reports.len() > 1
            && let Some(oldest) = self.reports.pop_front()
        {
            self.observations -= oldest.report.observations.len();
            dropped += 1;
        }
        dropped
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

        let board = exchange.watch();
        let reader = tokio::spawn(async move { exchange.next().await });
        two.publish(at(1000), Vec::new(), None);
        let reports = reader.await.expect("the reader ends");
        assert_eq!(names_and_times(&reports), [("two", at(1000))], "the other one is not new");
        assert_eq!(names_and_times(&board.borrow()), [("one", at(999)), ("two", at(1000))]);
    }

    #[tokio::test]
    async fn an_exchange_without_reports_ticks_so_that_stale_ones_are_noticed() {
        let mut exchange = Exchange::new();
        exchange.sender(vantage("one")).publish(at(1), Vec::new(), None);
        exchange.next().await;
        assert!(exchange.next().await.is_empty());
    }

    #[tokio::test]
    async fn parts_are_returned_in_their_order_and_a_whole_report_replaces_those_before_it() {
        let mut exchange = Exchange::new();
        let remote = exchange.remote();
        for secs in 0..3 {
            assert_eq!(remote.deliver(Report::part(vantage("far"), at(secs), Vec::new()), at(secs)), 0);
        }
        assert_eq!(names_and_times(&exchange.next().await), [("far", at(0)), ("far", at(1)), ("far", at(2))]);
        remote.deliver(Report::part(vantage("far"), at(3), Vec::new()), at(3));
        remote.deliver(Report::whole(vantage("far"), at(4), Vec::new()), at(4));
        remote.deliver(Report::part(vantage("far"), at(5), Vec::new()), at(5));
        assert_eq!(names_and_times(&exchange.next().await), [("far", at(4)), ("far", at(5))]);
        assert!(exchange.watch().borrow().is_empty(), "the state directory has the vantages of this process");
    }

    #[test]
    fn what_waits_of_one_vantage_is_bounded() {
        let mut exchange = Exchange::new();
        let remote = exchange.remote();
        let deliver = |secs: u64| remote.deliver(Report::part(vantage("far"), at(secs), Vec::new()), at(secs));
        let dropped: usize = (0..5 + MAX_REPORTS as u64).map(deliver).sum();
        let taken = exchange.take();
        assert_eq!((dropped, taken.len(), taken[0].received_at), (5, MAX_REPORTS, at(5)), "the oldest go");
    }

    /// A reader that is interrupted after it was woken loses nothing.
    #[tokio::test]
    async fn an_interrupted_reader_finds_the_reports_the_next_time() {
        let mut exchange = Exchange::new();
        exchange.take();
        let remote = exchange.remote();
        remote.deliver(Report::part(vantage("far"), at(1), Vec::new()), at(1));
        for _ in 0..3 {
            // The first poll takes the notice, and waits for the pause to end.
            tokio::select! {
                biased;
                reports = exchange.next() => return assert_eq!(reports.len(), 1),
                () = std::future::ready(()) => {}
            }
        }
        assert_eq!(names_and_times(&exchange.next().await), [("far", at(1))]);
    }
}
