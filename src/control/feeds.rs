//! Feeds: sources of endpoints, sinks of events and streams that are followed, as one list for people. Each has its
//! state, its counts, its last change, and what is wrong with it. The page and `portolan top` show the list. Pure.

use std::time::Duration;

use crate::control::follow::{FollowReport, FollowState};
use crate::control::overrides::utc;
use crate::control::sources::SourceReport;
use crate::control::status::Status;
use crate::sinks::{SinkReport, SinkState};

/// How well a feed works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FeedLevel {
    /// Somebody must do something.
    Bad,
    /// It may recover by itself, or it works and something of it does not.
    Note,
    /// Nothing is known of it yet.
    Unknown,
    /// It works.
    Good,
}

/// One feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedRow {
    /// `discover.NAME`, `sink.NAME` or `follow.NAME`.
    pub name: String,
    /// The `type` of its table.
    pub kind: String,
    /// The zone of a source, where a sink sends, what is followed.
    pub place: String,
    /// The word of the state: `live` if it works, otherwise that of the API.
    pub state: String,
    /// How well it works.
    pub level: FeedLevel,
    /// Whether its state is that of a feed that works.
    pub is_live: bool,
    /// How old the list of a source is, where that is not 0.
    pub age: Option<Duration>,
    /// How many endpoints it has, or how many events.
    pub counts: String,
    /// When it changed last, in Unix seconds; `None`: not since the start.
    pub changed_at: Option<f64>,
    /// What is wrong, and what to do.
    pub problem: Option<String>,
}

impl FeedRow {
    /// The state with its age; `span` writes a time.
    pub fn state_text(&self, span: impl Fn(Duration) -> String) -> String {
        match (self.age, self.is_live) {
            (None, _) => self.state.clone(),
            (Some(age), true) => format!("{}, read {} ago", self.state, span(age)),
            (Some(age), false) => format!("{}, its list is {} old", self.state, span(age)),
        }
    }

    /// When it changed last.
    pub fn changed_text(&self) -> String {
        self.changed_at.map_or_else(|| "none since the start".to_owned(), utc)
    }

    /// The state, for a sentence.
    fn words(&self) -> &str {
        match self.state.as_str() {
            "kept" => "kept, because too much disappeared at once",
            "bad" => "bad, so its last list stays",
            "away" if self.name.starts_with("follow.") => "away, so what it has set stays",
            "away" => "away, so its last list stays",
            "retrying" => "away, so its events wait",
            "waiting" => "waiting with the events of some endpoints",
            "gap" => "followed again, and events before were missed",
            "off" => "off until a restart",
            other => other,
        }
    }

    /// The sentence for the list of problems; `None` if nothing is wrong.
    pub fn sentence(&self) -> Option<String> {
        let problem = self.problem.as_ref().map(|problem| format!(": {problem}"));
        match (self.is_live, problem) {
            (true, None) => None,
            // It works, and something of it does not.
            (true, Some(problem)) => Some(format!("{}{problem}", self.name)),
            (false, problem) => Some(format!("{} is {}{}", self.name, self.words(), problem.unwrap_or_default())),
        }
    }
}

/// All feeds, in the order of the files: sources, sinks, streams.
pub fn feeds(status: &Status) -> Vec<FeedRow> {
    let sources = status.sources.iter().map(of_source);
    sources.chain(status.sinks.iter().map(of_sink)).chain(status.follows.iter().map(of_follow)).collect()
}

/// The level of a feed by that of its state: one that works and says that something is wrong is a note.
fn level_of(state: FeedLevel, problem: Option<&String>) -> FeedLevel {
    match (state, problem) {
        (FeedLevel::Good, Some(_)) => FeedLevel::Note,
        (level, _) => level,
    }
}

fn of_source(source: &SourceReport) -> FeedRow {
    let SourceReport { name, zone, of, state, age_ms, endpoints, left_out, changed_at, problem } = source;
    let level = match state.as_str() {
        "ok" => FeedLevel::Good,
        "away" => FeedLevel::Note,
        _ => FeedLevel::Bad,
    };
    let is_live = level == FeedLevel::Good;
    let left_out = if *left_out > 0 { format!(", {left_out} left out") } else { String::new() };
    FeedRow {
        name: name.clone(),
        kind: of.clone(),
        place: zone.clone(),
        state: if is_live { "live".to_owned() } else { state.clone() },
        level: level_of(level, problem.as_ref()),
        is_live,
        age: age_ms.filter(|age| *age > 0).map(Duration::from_millis),
        counts: format!("{}{left_out}", counted(*endpoints as u64, "endpoint")),
        changed_at: *changed_at,
        problem: problem.clone(),
    }
}

fn of_sink(sink: &SinkReport) -> FeedRow {
    let SinkReport { name, kind, to, state, behind, delivered, dead_letters, lost, .. } = sink;
    let last_error = || sink.last_error.as_ref().map(|error| format!("{} ({})", error.why, error.hint));
    let (level, problem) = match state {
        SinkState::Ok => (FeedLevel::Good, None),
        SinkState::Waiting => {
            (FeedLevel::Note, sink.waiting.first().map(|first| format!("{} ({})", first.why, first.hint)))
        }
        SinkState::Retrying => (FeedLevel::Note, last_error()),
        SinkState::Off => (FeedLevel::Bad, last_error()),
    };
    let is_live = level == FeedLevel::Good;
    FeedRow {
        name: format!("sink.{name}"),
        kind: kind.clone(),
        place: to.clone(),
        state: if is_live { "live" } else { state.as_str() }.to_owned(),
        level: level_of(level, problem.as_ref()),
        is_live,
        age: None,
        counts: format!(
            "{} delivered, {behind} behind, {dead_letters} refused, {lost} lost",
            counted(*delivered, "event")
        ),
        changed_at: sink.changed_at,
        problem,
    }
}

fn of_follow(follow: &FollowReport) -> FeedRow {
    let FollowReport { name, kind, from, state, behind, applied, refused, missed, .. } = follow;
    let (level, word) = match state {
        FollowState::Ok => (FeedLevel::Good, "live"),
        // It was not read yet: the first read says what is wrong.
        FollowState::Waiting => (FeedLevel::Unknown, "not read yet"),
        FollowState::Away | FollowState::Gap => (FeedLevel::Note, state.as_str()),
    };
    let is_live = matches!(level, FeedLevel::Good | FeedLevel::Unknown);
    FeedRow {
        name: format!("follow.{name}"),
        kind: kind.clone(),
        place: from.clone(),
        state: word.to_owned(),
        level: level_of(level, follow.problem.as_ref()),
        is_live,
        age: None,
        counts: format!("{}, {behind} behind, {refused} refused, {missed} missed", counted(*applied, "change")),
        changed_at: follow.changed_at,
        problem: follow.problem.clone(),
    }
}

/// `1 endpoint`, `2 endpoints`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::{SinkError, WaitingEvents};

    fn source(state: &str, age_ms: Option<u64>, problem: Option<&str>) -> FeedRow {
        of_source(&SourceReport {
            name: "discover.web".into(),
            zone: "svc.example.".into(),
            of: "http".into(),
            state: state.into(),
            age_ms,
            endpoints: 1,
            left_out: 2,
            changed_at: Some(7.0),
            problem: problem.map(str::to_owned),
        })
    }

    fn shown(row: &FeedRow) -> (String, FeedLevel, Option<String>) {
        (row.state_text(|span| format!("{} s", span.as_secs())), row.level, row.sentence())
    }

    #[test]
    fn a_source_is_live_or_has_the_age_of_its_list_and_a_sentence() {
        use FeedLevel::{Bad, Good, Note};
        let row = source("ok", Some(0), None);
        assert_eq!((&*row.counts, row.changed_at), ("1 endpoint, 2 left out", Some(7.0)));
        assert_eq!(shown(&row), ("live".into(), Good, None));
        assert_eq!(shown(&source("ok", Some(4000), None)), ("live, read 4 s ago".into(), Good, None));
        let away = source("away", Some(12_000), Some("connection refused; start it"));
        let sentence = "discover.web is away, so its last list stays: connection refused; start it";
        assert_eq!(shown(&away), ("away, its list is 12 s old".into(), Note, Some(sentence.into())));
        assert_eq!(shown(&source("away", None, None)).0, "away");
        let held = shown(&source("kept", Some(0), Some("3 of 4 are gone")));
        assert_eq!((&*held.0, held.1), ("kept", Bad));
        let left_out = shown(&source("ok", Some(0), Some("b: no region is called x")));
        assert_eq!((left_out.1, left_out.2), (Note, Some("discover.web: b: no region is called x".into())));
    }

    #[test]
    fn a_sink_and_a_stream_say_what_is_wrong() {
        let error = SinkError { at: 1.0, why: "status 503".into(), hint: "read its log".into() };
        let sink = SinkReport { name: "audit".into(), delivered: 1, last_error: Some(error), ..SinkReport::default() };
        let well = of_sink(&sink);
        assert_eq!((&*well.state, &*well.counts), ("live", "1 event delivered, 0 behind, 0 refused, 0 lost"));
        assert_eq!(well.sentence(), None, "what went wrong before is no problem now");
        let sentence = |state, waiting: &[WaitingEvents]| {
            of_sink(&SinkReport { state, waiting: waiting.to_vec(), ..sink.clone() }).sentence().unwrap_or_default()
        };
        assert_eq!(
            sentence(SinkState::Retrying, &[]),
            "sink.audit is away, so its events wait: status 503 (read its log)"
        );
        assert_eq!(sentence(SinkState::Off, &[]), "sink.audit is off until a restart: status 503 (read its log)");
        let waiting =
            WaitingEvents { why: "status 404".into(), hint: "compare url".into(), ..WaitingEvents::default() };
        assert_eq!(
            sentence(SinkState::Waiting, &[waiting]),
            "sink.audit is waiting with the events of some endpoints: status 404 (compare url)"
        );
        let follow = |state, problem: Option<&str>| {
            let problem = problem.map(str::to_owned);
            of_follow(&FollowReport { name: "primary".into(), state, problem, ..FollowReport::default() })
        };
        let waiting = follow(FollowState::Waiting, None);
        assert_eq!((waiting.level, waiting.sentence()), (FeedLevel::Unknown, None));
        assert_eq!(follow(FollowState::Ok, Some("x")).level, FeedLevel::Note);
        assert_eq!(
            follow(FollowState::Away, Some("no server")).sentence().as_deref(),
            Some("follow.primary is away, so what it has set stays: no server")
        );
        assert_eq!(follow(FollowState::Gap, None).level, FeedLevel::Note);
    }
}
