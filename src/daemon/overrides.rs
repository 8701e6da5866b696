//! The operators' word in the running server: the book, what it makes of the endpoints that are served, and its file in
//! the state directory. The steering task owns it and asks it at every change; the HTTP side reads the book.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::config::{Problem, Severity};
use crate::control::Event;
use crate::control::command::Change;
use crate::control::overrides::{Book, Refusal, utc};
use crate::daemon::StartError;
use crate::daemon::store::{KeptFile, Store};
use crate::model::{EndpointId, Health, Model, Override, OverrideState, WorldView};

/// The file in the state directory.
const FILE: KeptFile =
    KeptFile { name: "overrides.json", version: Book::VERSION, holds: "what operators said of endpoints" };

/// What is said of each endpoint of a model.
pub(crate) type Resolved = Arc<HashMap<EndpointId, Arc<Override>>>;

/// The book and what follows from it.
pub(crate) struct Overrides {
    book: Arc<ArcSwap<Book>>,
    resolved: Resolved,
}

/// One target's override before and after a change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Turn {
    pub(crate) before: Option<Arc<Override>>,
    pub(crate) now: Option<Arc<Override>>,
    /// Who turned it; `None`: its time was over.
    pub(crate) who: Option<String>,
}

impl Overrides {
    /// Reads what was kept; nothing is made of it before [`Overrides::resolve`]. A file that can't be read is an error: an operator's
    /// drain that is forgotten is an outage.
    pub(crate) fn load(store: &Store) -> Result<Overrides, StartError> {
        let book: Book =
            store.load(&FILE).map_err(|unreadable| StartError::State(unreadable.to_string()))?.unwrap_or_default();
        for said in book.all() {
            let until = said.until.map(utc);
            let Override { target, state, why, who, .. } = &**said;
            tracing::info!(target, state = state.as_str(), who, why, until, "an override holds from before the start");
        }
        Ok(Overrides { book: Arc::new(ArcSwap::from_pointee(book)), resolved: Resolved::default() })
    }

    /// The book, for readers.
    pub(crate) fn book(&self) -> Arc<ArcSwap<Book>> {
        self.book.clone()
    }

    /// The view with what operators said; `view` and the last [`Overrides::resolve`] are of one model.
    pub(crate) fn over(&self, view: WorldView) -> WorldView {
        WorldView { overrides: self.resolved.clone(), ..view }
    }

    /// What is said of each endpoint.
    pub(crate) fn resolved(&self) -> Resolved {
        self.resolved.clone()
    }

    /// Makes of the book what it is for `model`; gives a warning for each override that matches nothing there.
    pub(crate) fn resolve(&mut self, model: &Model, store: &Store) -> Vec<Problem> {
        let book = self.book.load();
        let file = store.path(FILE.name).unwrap_or_else(|| FILE.name.into());
        let warning = |said: Arc<Override>| {
            let Override { target, state, who, .. } = &*said;
            let state = state.as_str();
            let message =
                format!("{who}'s override `{state}` of `{target}` matches nothing that is served; it is kept");
            let hint = Some(format!("portolan clear {target}"));
            Problem { hint, ..Problem::of_file(file.clone(), Severity::Warning, message) }
        };
        let warnings = book.without_target(model).into_iter().map(warning).collect();
        self.resolved = Arc::new(book.resolve(model));
        warnings
    }

    /// Makes a change, if it can be made.
    pub(crate) fn change(&mut self, change: Change, model: &Model) -> Result<Turn, Refusal> {
        let mut book = Book::clone(&self.book.load());
        let turn = match change {
            Change::Put(said) => {
                let before = book.put(said.clone(), model)?;
                Turn { before, who: Some(said.who.clone()), now: Some(Arc::new(said)) }
            }
            Change::Clear { target, who } => {
                Turn { before: Some(book.clear(&target, model)?), now: None, who: Some(who) }
            }
        };
        self.turn_to(book, model);
        Ok(turn)
    }

    /// Ends what is over at `now`, Unix seconds.
    pub(crate) fn expire(&mut self, now: f64, model: &Model) -> Vec<Turn> {
        let mut book = Book::clone(&self.book.load());
        let over = book.expire(now);
        if !over.is_empty() {
            self.turn_to(book, model);
        }
        over.into_iter().map(|said| Turn { before: Some(said), now: None, who: None }).collect()
    }

    /// When the next override ends, Unix seconds.
    pub(crate) fn next_end(&self) -> Option<f64> {
        self.book.load().next_end()
    }

    /// Keeps the book for the next start; what comes back tells once how that went.
    pub(crate) fn keep(&self, store: &Store) -> oneshot::Receiver<Result<(), String>> {
        store.keep(&FILE, &**self.book.load())
    }

    fn turn_to(&mut self, book: Book, model: &Model) {
        self.resolved = Arc::new(book.resolve(model));
        self.book.store(Arc::new(book));
    }
}

impl Turn {
    /// Tells the log.
    pub(crate) fn log(&self, generation: u64) {
        let word = |said: &Option<Arc<Override>>| said.as_ref().map_or("none", |said| said.state.as_str());
        let Some(said) = self.now.as_ref().or(self.before.as_ref()) else { return };
        let (from, to) = (word(&self.before), word(&self.now));
        let (who, until) = (self.who.as_deref().unwrap_or("its time is over"), said.until.map(utc));
        tracing::info!(target = said.target, from, to, who, why = said.why, until, generation, "override");
    }

    /// Why an endpoint stands as it does since.
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

/// Whose override it was, for one that is over.
fn of(before: &Option<Arc<Override>>) -> String {
    before.as_ref().map_or(String::new(), |said| format!(": {} ({})", said.why, said.who))
}

/// What to tell of each endpoint whose override changed from `before` to `after`. `at` in Unix seconds.
pub(crate) fn events(
    model: &Model,
    view: &WorldView,
    before: &Resolved,
    after: &Resolved,
    turn: &Turn,
    (at, generation): (f64, u64),
) -> Vec<Event> {
    let either: BTreeSet<EndpointId> = before.keys().chain(after.keys()).copied().collect();
    let changed = either.into_iter().filter(|id| before.get(id) != after.get(id));
    let event = |id: EndpointId| {
        let endpoint = model.endpoint(id);
        let health = view.endpoint(endpoint);
        Event {
            at,
            endpoint: endpoint.name.clone(),
            from: standing(before.get(&id), health).to_owned(),
            to: standing(after.get(&id), health).to_owned(),
            why: turn.why(),
            generation,
            region: endpoint.region.map(|region| model.region(region).name.clone()),
        }
    };
    changed.map(event).collect()
}

/// How an endpoint stands: as the operator says, else as it is measured.
fn standing(said: Option<&Arc<Override>>, health: Health) -> &'static str {
    match said.map(|said| said.state) {
        None => health.as_str(),
        Some(OverrideState::Drain) => "drained",
        Some(OverrideState::Up) => "forced-up",
        Some(OverrideState::Down) => "forced-down",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixture::{model, view};

    fn drain(target: &str, until: Option<f64>) -> Change {
        let (why, who) = ("rack move".into(), "alice".into());
        Change::Put(Override { target: target.into(), state: OverrideState::Drain, why, who, until })
    }

    fn told(before: &Resolved, overrides: &Overrides, turn: &Turn) -> Vec<String> {
        let events = events(&model(), &view(), before, &overrides.resolved(), turn, (1.0, 2));
        events.into_iter().map(|e| format!("{} {} -> {}: {}", e.endpoint, e.from, e.to, e.why)).collect()
    }

    #[tokio::test]
    async fn an_override_outlives_a_restart_and_ends_at_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Some(dir.path().into()));
        let mut first = Overrides::load(&store).unwrap();
        first.change(drain("fra1", Some(100.0)), &model()).unwrap();
        first.keep(&store).await.unwrap().unwrap();
        let mut second = Overrides::load(&store).unwrap();
        assert_eq!(second.resolve(&model(), &store), []);
        assert_eq!((second.resolved(), second.next_end()), (first.resolved(), Some(100.0)));
        let before = second.resolved();
        assert_eq!(second.expire(99.0, &model()), []);
        let [turn] = &second.expire(100.0, &model())[..] else { panic!("one is over") };
        assert_eq!(
            told(&before, &second, turn),
            ["fra1 drained -> up: the override's time is over: rack move (alice)"]
        );
        assert!(second.over(view()).overrides.is_empty());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_stops_the_start_and_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE.name), "{\"version\":1,").unwrap();
        let store = Store::open(Some(dir.path().into()));
        let refused = Overrides::load(&store).err().unwrap().to_string();
        assert!(refused.contains("overrides.json: EOF") && refused.contains("move it away"), "{refused}");
    }

    #[tokio::test]
    async fn every_endpoint_that_a_change_concerns_is_told_of() {
        let mut overrides = Overrides::load(&Store::open(None)).unwrap();
        let before = overrides.resolved();
        let turn = overrides.change(drain("region:us-east", None), &model()).unwrap();
        assert_eq!(told(&before, &overrides, &turn), ["nyc down -> drained: rack move (alice)"]);
        let before = overrides.resolved();
        let clear = Change::Clear { target: "region:us-east".into(), who: "bob".into() };
        let turn = overrides.change(clear, &model()).unwrap();
        assert_eq!(told(&before, &overrides, &turn), ["nyc drained -> down: cleared by bob: rack move (alice)"]);
    }

    #[tokio::test]
    async fn an_override_of_what_a_reload_took_away_is_warned_of_and_kept() {
        let store = Store::open(None);
        let mut overrides = Overrides::load(&store).unwrap();
        overrides.change(drain("plain", None), &model()).unwrap();
        let mut smaller = model();
        smaller.endpoints.pop();
        let [warning] = &overrides.resolve(&smaller, &store)[..] else { panic!("one matches nothing") };
        let expected = "overrides.json:1:1: warning: alice's override `drain` of `plain` matches nothing that is served; \
                        it is kept (hint: portolan clear plain)";
        assert_eq!(warning.to_string(), expected);
        assert_eq!(overrides.resolve(&model(), &store), []);
        assert_eq!(overrides.resolved().len(), 1, "it comes back with its endpoint");
    }
}
