//! The reports of tasks that run side by side: each task writes its own, and everybody reads all of them. Pure.

use std::sync::{Mutex, PoisonError};

/// A report that has the time of its last change.
pub trait TimedReport: Clone {
    /// What counts as a change of it.
    type Content: PartialEq;

    /// What counts as a change when it differs from before.
    fn content(&self) -> Self::Content;

    /// Sets the time of the last change, in Unix seconds.
    fn set_changed_at(&mut self, at: f64);
}

/// The reports of all tasks, in the order of the settings.
#[derive(Debug)]
pub struct ReportBoard<R> {
    reports: Vec<Mutex<R>>,
}

impl<R: TimedReport> ReportBoard<R> {
    /// A board with these reports.
    pub fn of(reports: impl IntoIterator<Item = R>) -> ReportBoard<R> {
        ReportBoard { reports: reports.into_iter().map(Mutex::new).collect() }
    }

    /// Changes one report at `now`, in Unix seconds.
    pub fn update(&self, at: usize, now: f64, change: impl FnOnce(&mut R)) {
        if let Some(report) = self.reports.get(at) {
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            let before = report.content();
            change(&mut report);
            if report.content() != before {
                report.set_changed_at(now);
            }
        }
    }

    /// The reports, in the order of the settings.
    pub fn reports(&self) -> Vec<R> {
        self.reports.iter().map(|report| report.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }
}
