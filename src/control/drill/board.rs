//! What the API and the steering task share of drills: the status of the last one, and the signs of life of its client.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::drill::DrillStatus;
use crate::model::Moment;

/// Reads how many queries the server has answered since its start.
type ReadQueries = Box<dyn Fn() -> u64 + Send + Sync>;

/// The drills of this process.
#[derive(Default)]
pub struct DrillBoard {
    status: ArcSwapOption<DrillStatus>,
    /// The number of a drill, and when its client last renewed it.
    renewed: Mutex<Option<(u64, Moment)>>,
    /// Who ends the drill that runs.
    stopper: Mutex<Option<Arc<str>>>,
    stopped: Notify,
    /// The drills whose loss has not begun yet: their number here, and what ends each, with who does.
    coming: Mutex<ComingDrills>,
    server: OnceLock<(Vec<SocketAddr>, ReadQueries)>,
    restored: AtomicU64,
    failed: AtomicU64,
    aborted: AtomicU64,
}

#[derive(Default)]
struct ComingDrills {
    last: u64,
    all: Vec<(u64, Arc<ComingDrill>)>,
}

/// A drill whose loss has not begun yet.
#[derive(Debug, Default)]
pub(super) struct ComingDrill {
    /// Cancelled when somebody ends it.
    pub(super) ended: CancellationToken,
    who: OnceLock<Arc<str>>,
}

impl ComingDrill {
    /// Who has ended it before its loss.
    pub(super) fn stopper(&self) -> Option<Arc<str>> {
        self.who.get().cloned()
    }
}

/// A place in the list of the coming drills, until it is dropped.
pub(super) struct Announced {
    board: Arc<DrillBoard>,
    number: u64,
    pub(super) drill: Arc<ComingDrill>,
}

impl Drop for Announced {
    fn drop(&mut self) {
        let mut coming = self.board.coming.lock().unwrap_or_else(PoisonError::into_inner);
        coming.all.retain(|(number, _)| *number != self.number);
    }
}

/// How many drills ended, by result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DrillCounts {
    /// Those that lasted their time.
    pub restored: u64,
    /// Those that lasted their time, after which something was not as before.
    pub failed: u64,
    /// Those that ended early.
    pub aborted: u64,
}

impl std::fmt::Debug for DrillBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DrillBoard").field("status", &self.status).finish_non_exhaustive()
    }
}

impl DrillBoard {
    /// The addresses where the server answers DNS, and how many queries it has answered. Called once.
    pub fn serve(&self, dns: Vec<SocketAddr>, queries: impl Fn() -> u64 + Send + Sync + 'static) {
        // The first call counts.
        let _ = self.server.set((dns, Box::new(queries)));
    }

    /// Where the server answers DNS.
    pub(super) fn dns(&self) -> Vec<SocketAddr> {
        self.server.get().map_or(Vec::new(), |(dns, _)| dns.clone())
    }

    /// How many queries it has answered; `None` in a node that answers none.
    pub(super) fn queries(&self) -> Option<u64> {
        self.server.get().map(|(_, queries)| queries())
    }

    /// The drill that runs, or the last one.
    pub fn status(&self) -> Option<Arc<DrillStatus>> {
        self.status.load_full()
    }

    /// The drill that runs.
    pub fn running(&self) -> Option<Arc<DrillStatus>> {
        self.status().filter(|status| !status.is_over())
    }

    /// Why no other drill can begin, while one runs.
    pub fn busy(&self) -> Option<String> {
        self.running().map(|other| format!("{} of {} runs already", other.drill.as_str(), other.who))
    }

    /// Replaces the status. The end of a drill is counted.
    pub fn show(&self, status: DrillStatus) {
        if status.is_over() {
            let count = match (&status.aborted, status.left.is_empty()) {
                (Some(_), _) => &self.aborted,
                (None, true) => &self.restored,
                (None, false) => &self.failed,
            };
            count.fetch_add(1, Relaxed);
        }
        self.status.store(Some(Arc::new(status)));
    }

    /// How many drills of this server ended.
    pub fn counts(&self) -> DrillCounts {
        DrillCounts {
            restored: self.restored.load(Relaxed),
            failed: self.failed.load(Relaxed),
            aborted: self.aborted.load(Relaxed),
        }
    }

    /// The client of drill `id` is there. False if this drill does not run.
    pub fn renew(&self, id: u64, now: Moment) -> bool {
        let runs = self.running().is_some_and(|status| status.id == id);
        if runs {
            *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, now));
        }
        runs
    }

    /// When the client of drill `id` last renewed it.
    pub fn renewed(&self, id: u64) -> Option<Moment> {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        renewed.filter(|(of, _)| *of == id).map(|(_, at)| at)
    }

    /// A drill is planned and begins soon. Who ends drills meanwhile ends it too.
    pub(super) fn announce(self: &Arc<Self>) -> Announced {
        let drill = Arc::new(ComingDrill::default());
        let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        coming.last += 1;
        let number = coming.last;
        coming.all.push((number, drill.clone()));
        Announced { board: self.clone(), number, drill }
    }

    /// Ends the drill that runs, and those that begin soon. False if there is none.
    pub fn stop(&self, who: &Arc<str>) -> bool {
        let coming = std::mem::take(&mut self.coming.lock().unwrap_or_else(PoisonError::into_inner).all);
        for (_, drill) in &coming {
            // Who ends it first counts.
            let _ = drill.who.set(who.clone());
            drill.ended.cancel();
        }
        let runs = self.running().is_some_and(|status| status.phase == DrillStatus::LOST);
        if runs {
            *self.stopper.lock().unwrap_or_else(PoisonError::into_inner) = Some(who.clone());
            self.stopped.notify_one();
        }
        runs || !coming.is_empty()
    }

    /// Forgets who wanted to end an earlier drill.
    pub fn begin(&self) {
        self.stopper.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Waits until somebody ends the drill that runs; returns who. Nothing is lost when this is dropped and called
    /// again.
    pub async fn stopped(&self) -> Arc<str> {
        loop {
            if let Some(who) = self.stopper.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return who;
            }
            self.stopped.notified().await;
        }
    }
}
