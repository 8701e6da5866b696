//! The operators' overrides in the running server: the book, the override of each endpoint that is served, and the file
//! `overrides.json`. The steering task owns them and applies them to every view; the API reads the book.
//!
//! A timed override lasts as long as it was made for, whatever happens to the wall clock meanwhile: if that is set, all
//! ends move with it ([`Overrides::follow_clock`]).

mod file;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::{self, BootTime};
use crate::control::JournalEvent;
use crate::control::command::{OverrideChange, TargetChange};
use crate::control::overrides::{Book, OverrideError, utc};
use crate::control::target::Target;
use crate::daemon::StartError;
use crate::daemon::clocks::{Now, WallClock};
use crate::daemon::state::{StateDir, WriteOutcome};
use crate::fleet::events::EventKind;
use crate::model::{EndpointId, Health, Model, Override, OverrideState, WorldView, glob};
use crate::source::{Problem, Severity};
use file::file_of;

pub(crate) use file::FILE;

/// The overridden endpoints of a model, each with its override.
pub(crate) type Resolved = Arc<HashMap<EndpointId, Arc<Override>>>;

/// The book, and the override of each endpoint by the book.
pub(crate) struct Overrides {
    book: Arc<ArcSwap<Book>>,
    resolved: Resolved,
    /// The clock of all ends.
    clock: WallClock,
}

/// The overrides as they would be after a change. [`Overrides::apply`] makes the change.
pub(crate) struct Draft {
    at_unix: f64,
    book: Book,
    resolved: Resolved,
    edits: Vec<OverrideEdit>,
}

/// Works out changes of a book.
pub(crate) struct Drafter {
    book: Arc<Book>,
    clock: WallClock,
}

/// A book, and the endpoints of a model that it matches.
#[derive(Debug)]
pub(crate) struct ResolvedBook {
    book: Arc<Book>,
    resolved: Resolved,
    /// The overrides that match nothing.
    unmatched: Vec<Arc<Override>>,
}

/// One target's override before and after a change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OverrideEdit {
    pub(crate) before: Option<Arc<Override>>,
    pub(crate) now: Option<Arc<Override>>,
    /// The operator; `None` if the override ended by itself.
    pub(crate) who: Option<String>,
}

impl Overrides {
    /// Reads the file; [`Overrides::resolve`] applies it to a model. A file that can't be read is an error: a drain
    /// that is forgotten is an outage.
    pub(crate) fn load(state: &StateDir) -> Result<Overrides, StartError> {
        Overrides::load_at(state, Now::read(), clock::boot().as_ref())
    }

    fn load_at(state: &StateDir, now: Now, boot: Option<&BootTime>) -> Result<Overrides, StartError> {
        let book = Arc::new(state.load_or_refuse_as(&FILE, |file| file.into_book(&now, boot))?.unwrap_or_default());
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
        Ok(Overrides { book, resolved: Resolved::default(), clock: WallClock::new(now) })
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
        Drafter { book: self.book.load_full(), clock: self.clock }
    }

    /// Makes the change of a draft. No other change may have been made since the draft.
    pub(crate) fn apply(&mut self, draft: Draft) -> Vec<OverrideEdit> {
        self.resolved = draft.resolved;
        self.book.store(Arc::new(draft.book));
        draft.edits
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
        let file = file_of(&book, &Now { moment: now, unix: self.clock.unix(now) }, clock::boot().as_ref());
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
                    let who = Some(new.who.clone());
                    edits.push(before.map(|before| OverrideEdit { before, who, now: Some(Arc::new(new)) }));
                }
            }
            OverrideChange::Clear { targets, who, zones } => {
                let cleared = |ended| OverrideEdit { before: Some(ended), now: None, who: Some(who.clone()) };
                for target in targets {
                    match book.clear(&target, zones.as_deref(), model) {
                        Ok(ended) => edits.extend(ended.into_iter().map(|ended| Ok(cleared(ended)))),
                        Err(refusal) => edits.push(Err(refusal)),
                    }
                }
            }
        }
        let edits = all_or_nothing(edits)?;
        Ok(Draft { at_unix, resolved: Arc::new(book.resolve(model)), book, edits })
    }

    /// The overrides without those whose time is over. There is no edit if none is.
    pub(crate) fn expiry(&self, model: &Model) -> Draft {
        self.expiry_at(self.clock.unix(clock::now()), model)
    }

    fn expiry_at(&self, at_unix: f64, model: &Model) -> Draft {
        let mut book = Book::clone(&self.book);
        let over = book.expire(at_unix);
        let edits = over.into_iter().map(|ended| OverrideEdit { before: Some(ended), now: None, who: None }).collect();
        Draft { at_unix, resolved: Arc::new(book.resolve(model)), book, edits }
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
        !self.edits.is_empty()
    }

    /// Adds the overrides of the draft to `view`.
    pub(crate) fn over(&self, view: WorldView) -> WorldView {
        WorldView { overrides: self.resolved.clone(), at_unix: Some(self.at_unix), ..view }
    }
}

impl OverrideEdit {
    /// For the reply to the operator: a change of each target. Of several overrides of one target that were cleared it
    /// has the newest.
    pub(crate) fn into_replies(edits: Vec<OverrideEdit>) -> Vec<TargetChange> {
        let mut replies: Vec<TargetChange> = edits.into_iter().map(OverrideEdit::into_reply).collect();
        replies.dedup_by(|next, first| Target::parse(&next.target) == Target::parse(&first.target));
        replies
    }

    fn into_reply(self) -> TargetChange {
        let either = self.now.as_ref().or(self.before.as_ref());
        let target = either.map_or(String::new(), |either| either.target.clone());
        TargetChange { target, before: self.before, now: self.now }
    }

    /// Writes it to the log.
    pub(crate) fn log(&self, generation: u64) {
        let state = |of: &Option<Arc<Override>>| of.as_ref().map_or("none", |of| of.state.as_str());
        let Some(either) = self.now.as_ref().or(self.before.as_ref()) else { return };
        let (from, to) = (state(&self.before), state(&self.now));
        let (who, until) = (self.who.as_deref().unwrap_or("its time is over"), either.until.map(utc));
        tracing::info!(target = either.target, from, to, who, why = either.why, until, generation, "override");
    }

    fn target(&self) -> &str {
        self.now.as_ref().or(self.before.as_ref()).map_or("", |of| &*of.target)
    }

    /// The event of its TARGET.
    fn event(&self, (at, generation): (f64, u64)) -> JournalEvent {
        let state = |of: &Option<Arc<Override>>| of.as_deref().map_or("none", |of| override_text(of.state)).to_owned();
        JournalEvent {
            at,
            kind: EventKind::Override,
            endpoint: self.target().to_owned(),
            from: state(&self.before),
            to: state(&self.now),
            why: self.why(),
            who: self.who.as_deref().map(str::to_owned),
            generation,
            ..JournalEvent::default()
        }
    }

    /// The reason for an event.
    fn why(&self) -> String {
        match (&self.now, &self.before, &self.who) {
            (Some(now), _, _) => {
                let until = now.until.map_or(String::new(), |until| format!(", until {}", utc(until)));
                format!("{} ({}{until})", now.why, now.who)
            }
            (None, before, Some(who)) => format!("cleared by {who}{}", of(before)),
            (None, before, None) => format!("the override's time is over{}", of(before)),
        }
    }
}

/// The reason and the operator of an override that ended.
fn of(before: &Option<Arc<Override>>) -> String {
    before.as_ref().map_or(String::new(), |ended| format!(": {} ({})", ended.why, ended.who))
}

/// All edits; or, if any was refused, the refusals in one error, a line each.
fn all_or_nothing(edits: Vec<Result<OverrideEdit, OverrideError>>) -> Result<Vec<OverrideEdit>, OverrideError> {
    let count = edits.len();
    let (mut taken, mut refusals) = (Vec::with_capacity(count), Vec::new());
    for edit in edits {
        match edit {
            Ok(edit) => taken.push(edit),
            Err(refusal) => refusals.push(refusal),
        }
    }
    let each = || refusals.iter().map(OverrideError::to_string).collect::<Vec<String>>();
    let all = || format!("{}\nnothing was changed", each().join("\n"));
    match &refusals[..] {
        [] => Ok(taken),
        [first] if count == 1 => Err(first.clone()),
        [OverrideError::NoTarget(_), ..] => Err(OverrideError::NoTarget(all())),
        [OverrideError::NotOverridden(_), ..] => Err(OverrideError::NotOverridden(all())),
        [first, ..] => Err(first.clone()),
    }
}

/// The event of each endpoint whose override changed from `before` to `after` by `edits`, and of each edit that changed
/// no endpoint. `at` in Unix seconds.
pub(crate) fn events(
    model: &Model,
    view: &WorldView,
    before: &Resolved,
    after: &Resolved,
    edits: &[OverrideEdit],
    (at, generation): (f64, u64),
) -> Vec<JournalEvent> {
    let either: BTreeSet<EndpointId> = before.keys().chain(after.keys()).copied().collect();
    let changed = either.into_iter().filter(|id| before.get(id) != after.get(id));
    let event = |id: EndpointId| {
        let edit = edit_of(edits, before.get(&id), after.get(&id));
        let endpoint = model.endpoint(id);
        let health = view.endpoint(endpoint);
        JournalEvent {
            id: String::new(),
            at,
            kind: EventKind::Override,
            zone: model.zone(endpoint.zone).apex.to_string(),
            endpoint: endpoint.name.clone(),
            from: state_text(before.get(&id), health).to_owned(),
            to: state_text(after.get(&id), health).to_owned(),
            why: edit.map_or(String::new(), OverrideEdit::why),
            who: edit.and_then(|edit| edit.who.as_deref().map(str::to_owned)),
            generation,
            region: endpoint.region.map(|region| model.region(region).name.clone()),
            monitor: None,
        }
    };
    let changed: Vec<EndpointId> = changed.collect();
    let of_endpoints = changed.iter().filter_map(|id| edit_of(edits, before.get(id), after.get(id)));
    let seen: HashSet<&str> = of_endpoints.map(OverrideEdit::target).collect();
    // A change that no endpoint shows, because a more specific override counts there, is an event of its TARGET.
    let unseen = edits.iter().filter(|edit| !seen.contains(edit.target()));
    let of_targets = unseen.map(|edit| edit.event((at, generation)));
    changed.iter().copied().map(event).chain(of_targets).collect()
}

/// The edit that changed an endpoint's override: the one that made its present override, or else the one that ended the
/// override before.
fn edit_of<'t>(
    edits: &'t [OverrideEdit],
    before: Option<&Arc<Override>>,
    after: Option<&Arc<Override>>,
) -> Option<&'t OverrideEdit> {
    let made = edits.iter().find(|edit| edit.now.is_some() && edit.now.as_ref() == after);
    made.or_else(|| edits.iter().find(|edit| edit.before.is_some() && edit.before.as_ref() == before))
}

/// The state of an endpoint in an event: its override, else its measured health.
fn state_text(of: Option<&Arc<Override>>, health: Health) -> &'static str {
    of.map_or(health.as_str(), |of| override_text(of.state))
}

fn override_text(state: OverrideState) -> &'static str {
    match state {
        OverrideState::Drain => "drained",
        OverrideState::Up => "forced-up",
        OverrideState::Down => "forced-down",
    }
}

#[cfg(test)]
mod tests;
