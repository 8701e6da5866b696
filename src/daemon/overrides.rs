//! The operators' overrides in the running server: the book, the override of each endpoint that is served, and the file
//! `overrides.json`. The steering task owns them and applies them to every view; the API reads the book.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock;
use crate::control::JournalEvent;
use crate::control::command::{OverrideChange, TargetChange};
use crate::control::overrides::{Book, OverrideError, utc};
use crate::daemon::StartError;
use crate::daemon::state::{Durability, FileInfo, StateDir, StateFile, WriteOutcome};
use crate::model::{EndpointId, Health, Model, Override, OverrideState, WorldView};
use crate::source::{Problem, Severity};

pub(crate) const FILE: StateFile<Book> = StateFile::new(FileInfo {
    name: "overrides.json",
    version: Book::VERSION,
    content: "the operators' overrides",
    durability: Durability::Machine,
    is_counted: true,
});

/// The overridden endpoints of a model, each with its override.
pub(crate) type Resolved = Arc<HashMap<EndpointId, Arc<Override>>>;

/// The book, and the override of each endpoint by the book.
pub(crate) struct Overrides {
    book: Arc<ArcSwap<Book>>,
    resolved: Resolved,
}

/// The overrides as they would be after a change. [`Overrides::apply`] makes the change.
pub(crate) struct Draft {
    book: Book,
    resolved: Resolved,
    edits: Vec<OverrideEdit>,
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
        let book = state.load_or_refuse(&FILE)?.unwrap_or_default();
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
        Ok(Overrides { book: Arc::new(ArcSwap::from_pointee(book)), resolved: Resolved::default() })
    }

    /// The book, for readers.
    pub(crate) fn book(&self) -> Arc<ArcSwap<Book>> {
        self.book.clone()
    }

    /// Adds the overrides to `view`, which must be of the model of the last [`Overrides::resolve`].
    pub(crate) fn over(&self, view: WorldView) -> WorldView {
        WorldView { overrides: self.resolved.clone(), at_unix: Some(clock::unix_seconds()), ..view }
    }

    /// The override of each endpoint.
    pub(crate) fn resolved(&self) -> Resolved {
        self.resolved.clone()
    }

    /// Finds the endpoints of `model` that the overrides match. Returns a warning for each override that matches none.
    pub(crate) fn resolve(&mut self, model: &Model, state: &StateDir) -> Vec<Problem> {
        let book = self.book.load();
        let file = state.path(FILE.info.name).unwrap_or_else(|| FILE.info.name.into());
        let warning = |unmatched: Arc<Override>| {
            let Override { target, state, who, .. } = &*unmatched;
            let state = state.as_str();
            let message =
                format!("{who}'s override `{state}` of `{target}` matches nothing that is served; it is kept");
            let quote = if target.contains(['*', '?']) { "'" } else { "" };
            let hint = Some(format!("portolan clear {quote}{target}{quote}"));
            Problem { hint, ..Problem::of_file(file.clone(), Severity::Warning, message) }
        };
        let warnings = book.without_endpoints(model).into_iter().map(warning).collect();
        self.resolved = Arc::new(book.resolve(model));
        warnings
    }

    /// The overrides as they would be after `change`; nothing is changed yet. The error says why the change can't be
    /// made.
    pub(crate) fn draft(&self, change: OverrideChange, model: &Model) -> Result<Draft, OverrideError> {
        let mut book = Book::clone(&self.book.load());
        let mut edits: Vec<Result<OverrideEdit, OverrideError>> = Vec::new();
        match change {
            OverrideChange::Put { overrides, confirmed: _ } => {
                for new in overrides {
                    let before = book.put(new.clone(), model);
                    let who = Some(new.who.clone());
                    edits.push(before.map(|before| OverrideEdit { before, who, now: Some(Arc::new(new)) }));
                }
            }
            OverrideChange::Clear { targets, who, zones } => {
                for target in targets {
                    let before = book.clear(&target, zones.as_deref(), model);
                    edits.push(before.map(|before| OverrideEdit {
                        before: Some(before),
                        now: None,
                        who: Some(who.clone()),
                    }));
                }
            }
        }
        let edits = all_or_nothing(edits)?;
        Ok(Draft { resolved: Arc::new(book.resolve(model)), book, edits })
    }

    /// Makes the change of a draft. No other change may have been made since the draft.
    pub(crate) fn apply(&mut self, draft: Draft) -> Vec<OverrideEdit> {
        self.resolved = draft.resolved;
        self.book.store(Arc::new(draft.book));
        draft.edits
    }

    /// Ends the overrides whose time is over at `now`, Unix seconds.
    pub(crate) fn expire(&mut self, now: f64, model: &Model) -> Vec<OverrideEdit> {
        let mut book = Book::clone(&self.book.load());
        let over = book.expire(now);
        if !over.is_empty() {
            self.resolved = Arc::new(book.resolve(model));
            self.book.store(Arc::new(book));
        }
        over.into_iter().map(|ended| OverrideEdit { before: Some(ended), now: None, who: None }).collect()
    }

    /// When the next override ends, Unix seconds.
    pub(crate) fn next_end(&self) -> Option<f64> {
        self.book.load().next_end()
    }

    /// When answers have to be decided again because the end of an override is near (Unix seconds): every second
    /// while it is nearer than `longest`, the longest TTL.
    pub(crate) fn next_countdown(&self, longest: Duration) -> Option<f64> {
        let end = self.next_end()?;
        Some((end - longest.as_secs_f64()).max(clock::unix_seconds() + 1.0))
    }

    /// Writes the book to the state directory, for the next start.
    pub(crate) fn save(&self, state: &StateDir) -> WriteOutcome {
        state.put(&FILE, &self.book.load())
    }
}

impl Draft {
    /// Adds the overrides of the draft to `view`.
    pub(crate) fn over(&self, view: WorldView) -> WorldView {
        WorldView { overrides: self.resolved.clone(), at_unix: Some(clock::unix_seconds()), ..view }
    }
}

impl OverrideEdit {
    /// For the reply to the operator.
    pub(crate) fn into_reply(self) -> TargetChange {
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

    /// The reason for the event of an endpoint.
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

/// The event of each endpoint whose override changed from `before` to `after` by `edits`. `at` in Unix seconds.
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
        let why = edit_of(edits, before.get(&id), after.get(&id)).map_or(String::new(), OverrideEdit::why);
        let endpoint = model.endpoint(id);
        let health = view.endpoint(endpoint);
        JournalEvent {
            id: String::new(),
            at,
            zone: model.zone(endpoint.zone).apex.to_string(),
            endpoint: endpoint.name.clone(),
            from: state_text(before.get(&id), health).to_owned(),
            to: state_text(after.get(&id), health).to_owned(),
            why,
            generation,
            region: endpoint.region.map(|region| model.region(region).name.clone()),
            monitor: None,
        }
    };
    changed.map(event).collect()
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
    match of.map(|of| of.state) {
        None => health.as_str(),
        Some(OverrideState::Drain) => "drained",
        Some(OverrideState::Up) => "forced-up",
        Some(OverrideState::Down) => "forced-down",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::test_world::{model, view};

    fn drain(target: &str, until: Option<f64>) -> OverrideChange {
        let (why, who) = ("rack move".into(), "alice".into());
        let new = Override { target: target.into(), state: OverrideState::Drain, why, who, until, zones: None };
        OverrideChange::Put { overrides: vec![new], confirmed: false }
    }

    fn change(overrides: &mut Overrides, change: OverrideChange) -> Vec<OverrideEdit> {
        let draft = overrides.draft(change, &model()).unwrap();
        overrides.apply(draft)
    }

    fn event_lines(before: &Resolved, overrides: &Overrides, edits: &[OverrideEdit]) -> Vec<String> {
        let events = events(&model(), &view(), before, &overrides.resolved(), edits, (1.0, 2));
        events.into_iter().map(|e| format!("{} {} -> {}: {}", e.endpoint, e.from, e.to, e.why)).collect()
    }

    #[tokio::test]
    async fn an_override_outlives_a_restart_and_ends_at_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::begun(Some(dir.path().into())).unwrap();
        let mut first = Overrides::load(&state).unwrap();
        change(&mut first, drain("fra1", Some(100.0)));
        first.save(&state).await.unwrap().unwrap();
        let mut second = Overrides::load(&state).unwrap();
        assert_eq!(second.resolve(&model(), &state), []);
        assert_eq!((second.resolved(), second.next_end()), (first.resolved(), Some(100.0)));
        let before = second.resolved();
        assert_eq!(second.expire(99.0, &model()), []);
        let edits = second.expire(100.0, &model());
        assert_eq!(
            event_lines(&before, &second, &edits),
            ["fra1 drained -> up: the override's time is over: rack move (alice)"]
        );
        assert!(second.over(view()).overrides.is_empty());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_stops_the_start_and_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE.info.name), "{\"version\":1,").unwrap();
        let state = StateDir::begun(Some(dir.path().into())).unwrap();
        let refused = Overrides::load(&state).err().unwrap().to_string();
        assert!(refused.contains("overrides.json: EOF") && refused.contains("move it away"), "{refused}");
    }

    #[tokio::test]
    async fn every_endpoint_that_a_change_concerns_has_an_event() {
        let mut overrides = Overrides::load(&StateDir::begun(None).unwrap()).unwrap();
        let before = overrides.resolved();
        let edits = change(&mut overrides, drain("region:us-east", None));
        assert_eq!(event_lines(&before, &overrides, &edits), ["nyc down -> drained: rack move (alice)"]);
        let before = overrides.resolved();
        let clear =
            |target: &str| OverrideChange::Clear { targets: vec![target.into()], who: "bob".into(), zones: None };
        let edits = change(&mut overrides, clear("region:us-east"));
        assert_eq!(
            event_lines(&before, &overrides, &edits),
            ["nyc drained -> down: cleared by bob: rack move (alice)"]
        );
        assert_eq!(edits.len(), 1);
    }

    #[tokio::test]
    async fn an_override_of_what_a_reload_took_away_has_a_warning_and_stays() {
        let state = StateDir::begun(None).unwrap();
        let mut overrides = Overrides::load(&state).unwrap();
        change(&mut overrides, drain("plain", None));
        let mut smaller = model();
        smaller.endpoints.pop();
        let [warning] = &overrides.resolve(&smaller, &state)[..] else { panic!("one matches nothing") };
        let expected = "overrides.json:1:1: warning: alice's override `drain` of `plain` matches nothing that is \
                        served; it is kept (hint: portolan clear plain)";
        assert_eq!(warning.to_string(), expected);
        assert_eq!(overrides.resolve(&model(), &state), []);
        assert_eq!(overrides.resolved().len(), 1, "it comes back with its endpoint");
    }

    #[tokio::test]
    async fn several_targets_change_together_or_not_at_all() {
        let mut overrides = Overrides::load(&StateDir::begun(None).unwrap()).unwrap();
        let both = |targets: [&str; 2]| {
            let each = targets.map(|target| match drain(target, Some(100.0)) {
                OverrideChange::Put { overrides, .. } => overrides[0].clone(),
                OverrideChange::Clear { .. } => unreachable!("a drain"),
            });
            OverrideChange::Put { overrides: each.to_vec(), confirmed: false }
        };
        let refused = |targets| overrides.draft(both(targets), &model()).err().unwrap().to_string();
        let fra2 = "no endpoint is called `fra2`; did you mean `fra1`?";
        assert_eq!(refused(["fra1", "fra2"]), format!("{fra2}\nnothing was changed"));
        let nyk = "no endpoint is called `nyk`; did you mean `nyc`?";
        assert_eq!(refused(["fra2", "nyk"]), format!("{fra2}\n{nyk}\nnothing was changed"), "each is named");
        assert!(overrides.resolved().is_empty() && overrides.next_end().is_none(), "nothing was changed");
        let before = overrides.resolved();
        let edits = change(&mut overrides, both(["fra1", "plain"]));
        let expected = ["fra1 up -> drained: rack move (alice, until 1970-01-01 00:01:40 UTC)"];
        assert_eq!(event_lines(&before, &overrides, &edits)[..1], expected);
        assert_eq!(event_lines(&before, &overrides, &edits).len(), 2);
        let before = overrides.resolved();
        let edits = overrides.expire(100.0, &model());
        assert_eq!((edits.len(), event_lines(&before, &overrides, &edits).len()), (2, 2), "each is reported once");
    }
}
