//! The operators' overrides in the running server: the book, the override of each endpoint that is served, and the file
//! `overrides.json`. The steering task owns them and applies them to every view; the API reads the book.
//!
//! A timed override lasts as long as it was made for, whatever happens to the wall clock meanwhile: if that is set, all
//! ends move with it ([`Overrides::follow_clock`]).
//!
//! A server of a fleet shares them with the others: see [`sharing`].

mod edit;
mod file;
mod follow;
mod sharing;
mod spread;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::{self, BootTime};
use crate::control::command::{OverrideChange, SharedOutcome};
use crate::control::overrides::{Book, OverrideError, utc};
use crate::daemon::StartError;
use crate::daemon::clocks::{Now, WallClock};
use crate::daemon::state::{StateDir, WriteOutcome};
use crate::fleet::overrides::OverrideMerge;
use crate::model::{EndpointId, Model, Override, WorldView, glob};
use crate::source::{Problem, Severity};
use edit::{all_or_nothing, refuse_without_effect};
use file::file_of;
use follow::BookIds;

pub(crate) use edit::{OverrideEdit, events};
pub(crate) use file::FILE;
pub(crate) use sharing::{BucketState, Sharing};

/// The overridden endpoints of a model, each with its override.
pub(crate) type Resolved = Arc<HashMap<EndpointId, Arc<Override>>>;

/// The book, and the override of each endpoint by the book.
pub(crate) struct Overrides {
    book: Arc<ArcSwap<Book>>,
    resolved: Resolved,
    /// The clock of all ends.
    clock: WallClock,
    /// What the file has that a fleet shares.
    restored: Option<OverrideMerge>,
    /// `None`: this server is in no fleet.
    sharing: Option<Arc<Sharing>>,
    /// The changes of the fleet that the book has.
    ids: BookIds,
}

/// The overrides as they would be after a change. [`Overrides::apply`] makes the change.
pub(crate) struct Draft {
    at_unix: f64,
    book: Book,
    resolved: Resolved,
    edits: Vec<OverrideEdit>,
    cause: DraftCause,
}

/// What a draft follows.
enum DraftCause {
    /// A command at this server.
    Operator,
    /// The time of overrides is over.
    Expiry,
    /// The changes of the fleet up to this revision.
    Fleet { ids: BookIds, highest: u64, is_reordered: bool },
}

/// Works out changes of a book.
pub(crate) struct Drafter {
    book: Arc<Book>,
    clock: WallClock,
    sharing: Option<Arc<Sharing>>,
    ids: BookIds,
}

/// A book, and the endpoints of a model that it matches.
#[derive(Debug)]
pub(crate) struct ResolvedBook {
    book: Arc<Book>,
    resolved: Resolved,
    /// The overrides that match nothing.
    unmatched: Vec<Arc<Override>>,
}

impl Overrides {
    /// Reads the file; [`Overrides::resolve`] applies it to a model. A file that can't be read is an error: a drain
    /// that is forgotten is an outage.
    pub(crate) fn load(state: &StateDir) -> Result<Overrides, StartError> {
        Overrides::load_at(state, Now::read(), clock::boot().as_ref())
    }

    fn load_at(state: &StateDir, now: Now, boot: Option<&BootTime>) -> Result<Overrides, StartError> {
        let parts = |mut file: file::OverridesFile| {
            let saved = file.take_fleet(&now, boot);
            let restored = saved.map(|(saved, since)| follow::restored(saved, since, now.moment)).transpose()?;
            Ok((file.into_book(&now, boot)?, restored))
        };
        let (book, restored) = state.load_or_refuse_as(&FILE, parts)?.unwrap_or_default();
        let book = Arc::new(book);
        state.disk().book_written(book.clone());
        for entry in book.all() {
            let until = entry.until.map(utc);
            let Override { target, state, why, who, .. } = &*entry;
            tracing::info!(
                target,
                state = state.as_str(),
                who,
                why,
                until,
                "an override from before the start is in force"
            );
        }
        let book = Arc::new(ArcSwap::new(book));
        let clock = WallClock::new(now);
        Ok(Overrides { book, resolved: Resolved::default(), clock, restored, sharing: None, ids: BookIds::default() })
    }

    /// The Unix time by the clock of all ends.
    pub(crate) fn unix_now(&self) -> f64 {
        self.clock.unix(clock::now())
    }

    /// The clock of all ends, as it is now.
    pub(crate) fn clock(&self) -> WallClock {
        self.clock
    }

    /// Follows the wall clock. If it was set, all ends move with it, so that each override has as much time left as
    /// before; returns by how many seconds it was set. The caller publishes and saves the overrides.
    pub(crate) fn follow_clock(&mut self, now: Now) -> Option<f64> {
        let by = self.clock.follow(now)?;
        let before = self.book.load_full();
        let mut book = Book::clone(&before);
        book.shift(by);
        // Each endpoint has the same override as before, with another end.
        let moved: HashMap<*const Override, &Arc<Override>> =
            before.entries().iter().map(Arc::as_ptr).zip(book.entries()).collect();
        let resolved = self.resolved.iter().filter_map(|(id, of)| Some((*id, (*moved.get(&Arc::as_ptr(of))?).clone())));
        self.resolved = Arc::new(resolved.collect());
        self.book.store(Arc::new(book));
        Some(by)
    }

    /// The book, for readers.
    pub(crate) fn book(&self) -> Arc<ArcSwap<Book>> {
        self.book.clone()
    }

    /// Adds the overrides to `view`, which must be of the model of the last [`Overrides::resolve`].
    pub(crate) fn over(&self, view: WorldView) -> WorldView {
        WorldView { overrides: self.resolved.clone(), at_unix: Some(self.unix_now()), ..view }
    }

    /// The override of each endpoint.
    pub(crate) fn resolved(&self) -> Resolved {
        self.resolved.clone()
    }

    /// Finds the endpoints of `model` that the overrides match. Returns a warning for each override that matches none.
    pub(crate) fn resolve(&mut self, model: &Model, state: &StateDir) -> Vec<Problem> {
        let found = ResolvedBook::of(self.book.load_full(), model);
        self.adopt(found, model, state)
    }

    /// The same with what another thread has found. If the book has changed since then, it is done again.
    pub(crate) fn adopt(&mut self, found: ResolvedBook, model: &Model, state: &StateDir) -> Vec<Problem> {
        let book = self.book.load_full();
        let found = match Arc::ptr_eq(&found.book, &book) {
            true => found,
            false => ResolvedBook::of(book, model),
        };
        self.resolved = found.resolved;
        let file = state.path(FILE.info.name).unwrap_or_else(|| FILE.info.name.into());
        let warning = |unmatched: Arc<Override>| {
            let Override { target, state, who, .. } = &*unmatched;
            let state = state.as_str();
            let message =
                format!("{who}'s override `{state}` of `{target}` matches nothing that is served; it is kept");
            let quote = if glob::is_pattern(target) { "'" } else { "" };
            let hint = Some(format!("portolan clear {quote}{target}{quote}"));
            Problem { hint, ..Problem::of_file(file.clone(), Severity::Warning, message) }
        };
        found.unmatched.into_iter().map(warning).collect()
    }

    /// Works out changes of the present book, on any thread.
    pub(crate) fn drafter(&self) -> Drafter {
        let (sharing, ids) = (self.sharing.clone(), self.ids.clone());
        Drafter { book: self.book.load_full(), clock: self.clock, sharing, ids }
    }

    /// Makes the change of a draft. No other change may have been made since the draft. In a fleet a command has a
    /// receiver for whether the fleet has the change.
    pub(crate) fn apply(&mut self, draft: Draft) -> (Vec<OverrideEdit>, Option<SharedOutcome>) {
        let Draft { at_unix: _, book, resolved, edits, cause } = draft;
        self.resolved = resolved;
        self.book.store(Arc::new(book));
        let outcome = self.share_edits(&edits, cause);
        (edits, outcome)
    }

    /// When the next override ends, Unix seconds.
    pub(crate) fn next_end(&self) -> Option<f64> {
        self.book.load().next_end()
    }

    /// When answers have to be decided again because the end of an override is near (Unix seconds): every second
    /// while it is nearer than `longest`, the longest TTL.
    pub(crate) fn next_countdown(&self, longest: Duration) -> Option<f64> {
        let end = self.next_end()?;
        Some((end - longest.as_secs_f64()).max(self.unix_now() + 1.0))
    }

    /// Writes the book to the state directory, for the next start.
    pub(crate) fn save(&self, state: &StateDir) -> WriteOutcome {
        let (book, now) = (self.book.load_full(), clock::now());
        let fleet = self.sharing.as_ref().map(|sharing| sharing.saved(now));
        let file = file_of(&book, fleet, &Now { moment: now, unix: self.clock.unix(now) }, clock::boot().as_ref());
        let disk = state.disk();
        state.put_with(&FILE, &file, move || disk.book_written(book))
    }
}

impl Drafter {
    /// The book.
    pub(crate) fn book(&self) -> &Arc<Book> {
        &self.book
    }

    /// The overrides as they would be after `change`; nothing is changed yet. The error says why the change can't be
    /// made.
    pub(crate) fn draft(&self, change: OverrideChange, model: &Model) -> Result<Draft, OverrideError> {
        let mut book = Book::clone(&self.book);
        let mut edits: Vec<Result<OverrideEdit, OverrideError>> = Vec::new();
        let at_unix = self.clock.unix(clock::now());
        match change {
            OverrideChange::Put { overrides, lasting, confirmed: _ } => {
                let until = lasting.map(|time| at_unix + time.as_secs_f64());
                for new in overrides {
                    let new = Override { until: until.or(new.until), ..new };
                    let before = book.put(new.clone(), model);
                    let before = before.and_then(|before| refuse_without_effect(&new, model).map(|()| before));
                    let who = Some(new.who.clone());
                    let edit = |before| OverrideEdit { before, who, now: Some(Arc::new(new)), is_relayed: false };
                    edits.push(before.map(edit));
                }
            }
            OverrideChange::Clear { targets, who, zones } => {
                let cleared = |ended| {
                    let (before, who) = (Some(ended), Some(who.clone()));
                    OverrideEdit { before, now: None, who, is_relayed: false }
                };
                for target in targets {
                    match book.clear(&target, zones.as_deref(), model) {
                        Ok(ended) => edits.extend(ended.into_iter().map(|ended| Ok(cleared(ended)))),
                        Err(refusal) => edits.push(Err(refusal)),
                    }
                }
            }
            OverrideChange::State { who, zone, wanted, unmade } => {
                let edit = |(before, now)| OverrideEdit { before, now, who: Some(who.clone()), is_relayed: false };
                let (changed, refused) = book.state(&who, &zone, &wanted);
                edits.extend(changed.into_iter().map(edit).map(Ok));
                unmade.set(refused);
            }
            OverrideChange::Followed { who, changes, confirmed: _, refused } => {
                let edit = |(before, now)| OverrideEdit { before, now, who: Some(who.clone()), is_relayed: false };
                let (changed, unmade) = book.follow(&who, &changes, model);
                edits.extend(changed.into_iter().map(edit).map(Ok));
                refused.set(unmade.into_iter().map(|(at, error)| (at, error.to_string())).collect());
            }
        }
        let edits = all_or_nothing(edits)?;
        let cause = DraftCause::Operator;
        Ok(Draft { at_unix, resolved: Arc::new(book.resolve(model)), book, edits, cause })
    }

    /// The overrides without those whose time is over. There is no edit if none is.
    pub(crate) fn expiry(&self, model: &Model) -> Draft {
        self.expiry_at(self.clock.unix(clock::now()), model)
    }

    fn expiry_at(&self, at_unix: f64, model: &Model) -> Draft {
        let mut book = Book::clone(&self.book);
        let over = book.expire(at_unix);
        let are_relayed: Vec<bool> = match &self.sharing {
            Some(sharing) => sharing.keys_of(&over).iter().map(|key| sharing.is_of_other(key)).collect(),
            None => vec![false; over.len()],
        };
        let edit = |(ended, is_relayed)| OverrideEdit { before: Some(ended), now: None, who: None, is_relayed };
        let edits = over.into_iter().zip(are_relayed).map(edit).collect();
        let cause = DraftCause::Expiry;
        Draft { at_unix, resolved: Arc::new(book.resolve(model)), book, edits, cause }
    }
}

impl ResolvedBook {
    /// The endpoints of `model` that the overrides of a book match. Takes long with many globs and endpoints.
    pub(crate) fn of(book: Arc<Book>, model: &Model) -> ResolvedBook {
        let (resolved, unmatched) = (Arc::new(book.resolve(model)), book.without_endpoints(model));
        ResolvedBook { book, resolved, unmatched }
    }

    /// The book.
    pub(crate) fn book(&self) -> &Arc<Book> {
        &self.book
    }

    /// The override of each endpoint.
    pub(crate) fn resolved(&self) -> Resolved {
        self.resolved.clone()
    }
}

impl Draft {
    /// Whether it changes anything.
    pub(crate) fn is_change(&self) -> bool {
        !self.edits.is_empty() || matches!(self.cause, DraftCause::Fleet { is_reordered: true, .. })
    }

    /// Adds the overrides of the draft to `view`.
    pub(crate) fn over(&self, view: WorldView) -> WorldView {
        WorldView { overrides: self.resolved.clone(), at_unix: Some(self.at_unix), ..view }
    }
}

#[cfg(test)]
mod fleet_tests;
#[cfg(test)]
mod tests;
