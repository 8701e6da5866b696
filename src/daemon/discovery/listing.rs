//! The log and the events of a source: what it lists, and its state. The first change of each kind is reported at once.
//! What repeats is counted and summed up, so that a source that changes all the time fills neither.

use crate::clock;
use crate::control::{Journal, JournalEvent};
use crate::daemon::discovery::HubParts;
use crate::discovery::SourceState;
use crate::fleet::events::EventKind;
use crate::model::{DiscoveredPool, Moment};
use crate::repeats::{RepeatSummary, Repeats};

/// Endpoints that come or go at once and are named one by one; of more there is one line (judgment: a page of a log).
const MOST_NAMED: usize = 20;
/// Most endpoints of a source that are reported within a window (judgment: a deployment of some hundred instances, one
/// by one).
const MOST_SUBJECTS: usize = 512;

/// What changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// The state of the source.
    State,
    /// Its problem, without its state.
    Problem,
    /// Many endpoints at once.
    Many,
    /// One endpoint.
    Endpoint(String),
}

/// Which source it is, and where its events go.
pub(super) struct NoticePlace<'a> {
    spec: &'a DiscoveredPool,
    journal: &'a Journal,
    /// What is served.
    generation: u64,
}

/// What was reported of one source.
pub(super) struct SourceNotices {
    repeats: Repeats<Subject, &'static str>,
    /// Its last state and problem, and how many endpoints it had; `None`: there was no reply yet.
    last: Option<(SourceState, Option<String>, usize)>,
}

impl Default for SourceNotices {
    fn default() -> SourceNotices {
        SourceNotices { repeats: Repeats::new(1, MOST_SUBJECTS), last: None }
    }
}

impl<'a> NoticePlace<'a> {
    pub(super) fn of(spec: &'a DiscoveredPool, parts: &'a HubParts) -> NoticePlace<'a> {
        NoticePlace { spec, journal: &parts.journal, generation: parts.links.snapshots.load().generation }
    }

    fn append(&self, kind: EventKind, endpoint: &str, (from, to): (&str, &str), why: String) {
        self.journal.append(JournalEvent {
            at: clock::unix_seconds(),
            kind,
            zone: self.spec.zone.to_string(),
            endpoint: endpoint.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            why,
            who: Some(format!("{} ({})", self.spec.shown(), self.spec.source.as_str())),
            generation: self.generation,
            ..JournalEvent::default()
        });
    }

    fn name_one(&self, name: &str, (from, to): (&str, &str), more: &str) {
        let (source, zone) = (self.spec.shown(), self.spec.zone.to_string());
        tracing::info!(source, zone, endpoint = name, to, "an endpoint of a source changed");
        let why = match to {
            "gone" => format!("{source} no longer lists it{more}"),
            "listed" => format!("{source} lists it{more}"),
            _ => format!("{source} states that it is {to}{more}"),
        };
        self.append(EventKind::Discovery, name, (from, to), why);
    }

    fn count_many(&self, names: &[&str], (from, to): (&str, &str)) {
        let (source, zone, count) = (self.spec.shown(), self.spec.zone.to_string(), names.len());
        let first = names.first().copied().unwrap_or_default();
        tracing::info!(source, zone, count, first, to, "endpoints of a source changed");
        let why = format!("{count} endpoints, {first} the first");
        self.append(EventKind::Discovery, self.spec.pool.as_deref().unwrap_or_default(), (from, to), why);
    }
}

impl SourceNotices {
    /// Endpoints came, went, or have another health by the source.
    pub(super) fn listed(
        &mut self,
        place: &NoticePlace<'_>,
        mut names: Vec<&str>,
        states: (&str, &'static str),
        now: Moment,
    ) {
        names.sort_unstable();
        let to = states.1;
        if names.len() > MOST_NAMED {
            if self.repeats.note(Subject::Many, to, now) {
                place.count_many(&names, states);
            }
            return;
        }
        for name in names {
            if self.repeats.note(Subject::Endpoint(name.to_owned()), to, now) {
                place.name_one(name, states, "");
            }
        }
    }

    /// The source is in this state, with this problem and so many endpoints.
    pub(super) fn is_in(&mut self, place: &NoticePlace<'_>, is: (SourceState, Option<String>, usize), now: Moment) {
        let before = self.last.replace(is);
        let Some((state, problem, endpoints)) = &self.last else { return };
        let is_same_state = before.as_ref().is_some_and(|(before, ..)| before == state);
        if is_same_state && before.as_ref().is_some_and(|(_, before, _)| before == problem) {
            return;
        }
        let (subject, value) = if is_same_state { (Subject::Problem, "") } else { (Subject::State, state.as_str()) };
        // An answer at the start is no change: otherwise the first recovery would count as a repeat.
        let is_begin = before.is_none() && *state == SourceState::Ok;
        if !is_begin && !self.repeats.note(subject, value, now) {
            return;
        }
        let (source, zone, word) = (place.spec.shown(), place.spec.zone.to_string(), state.as_str());
        match problem {
            Some(problem) => tracing::warn!(source, zone, state = word, endpoints, problem, "a source"),
            None => tracing::info!(source, zone, state = word, endpoints, "a source is followed"),
        }
        // Before its first state a source counts as `ok`, so its first answer is no event.
        let from = before.map_or(SourceState::Ok, |(before, ..)| before);
        if from != *state {
            let why = problem.clone().unwrap_or_else(|| format!("it lists {endpoints} endpoints"));
            place.append(EventKind::Source, &source, (from.as_str(), word), why);
        }
    }

    /// When to call [`SourceNotices::sum_up`].
    pub(super) fn next(&self) -> Option<Moment> {
        self.repeats.next()
    }

    /// Reports what repeated: how often, and how it is now.
    pub(super) fn sum_up(&mut self, place: &NoticePlace<'_>, now: Moment) {
        let Some(RepeatSummary { within, subjects, others }) = self.repeats.sum_up(now) else { return };
        let within = humantime::format_duration(within);
        let (mut of_state, mut of_problem, mut of_endpoints, mut named) = (0, 0, others, 0);
        let (state, problem, endpoints) = self.last.clone().unwrap_or((SourceState::Ok, None, 0));
        let mut from = state.as_str();
        for repeated in &subjects {
            match &repeated.subject {
                Subject::State => {
                    of_state = repeated.count;
                    from = repeated.reported;
                }
                Subject::Problem => of_problem = repeated.count,
                Subject::Many => of_endpoints += repeated.count,
                Subject::Endpoint(name) => {
                    of_endpoints += repeated.count;
                    // Who follows the events must know how it ended.
                    if repeated.reported != repeated.now && named < MOST_NAMED {
                        named += 1;
                        let more = format!(", after {} changes within {within}", repeated.count);
                        place.name_one(name, (repeated.reported, repeated.now), &more);
                    }
                }
            }
        }
        let (source, zone, state) = (place.spec.shown(), place.spec.zone.to_string(), state.as_str());
        let problem = problem.unwrap_or_default();
        tracing::warn!(
            source, zone, state, endpoints, %within, of_state, of_problem, of_endpoints, problem,
            "a source keeps changing"
        );
        let as_it_is = if problem.is_empty() { format!("it lists {endpoints} endpoints now") } else { problem };
        let why = format!(
            "it keeps changing: within {within}, {of_state} more changes of its state and {of_endpoints} of endpoints; \
             {as_it_is}"
        );
        place.append(EventKind::Source, &source, (from, state), why);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::from_start(Duration::from_secs(1000 + secs))
    }

    /// What the journal has: kind, endpoint, from, to and why of each event.
    fn events(journal: &Journal) -> Vec<(String, String, String)> {
        let event = |event: std::sync::Arc<JournalEvent>| {
            let what = format!("{} {}: {} -> {}", event.kind.as_str(), event.endpoint, event.from, event.to);
            (what, event.why.clone(), event.who.clone().unwrap_or_default())
        };
        journal.visible(0, 1000).into_iter().map(event).collect()
    }

    fn shown(journal: &Journal) -> Vec<String> {
        events(journal).into_iter().map(|(what, ..)| what).collect()
    }

    #[test]
    fn a_source_that_answers_every_second_time_is_two_events_and_a_summary() {
        let (spec, journal) = (DiscoveredPool::web(), Journal::new("ns1", 4, 0));
        let (place, mut notices) =
            (NoticePlace { spec: &spec, journal: &journal, generation: 7 }, SourceNotices::default());
        let is = |is_ok: bool| match is_ok {
            true => (SourceState::Ok, None, 2),
            false => (SourceState::Bad, Some("status 500".to_owned()), 2),
        };
        notices.is_in(&place, is(true), at(0));
        assert_eq!(shown(&journal), [""; 0], "that it answers is no event");
        (1..60).for_each(|second| notices.is_in(&place, is(second % 2 == 0), at(second)));
        assert_eq!(shown(&journal), ["source discover.web: ok -> bad", "source discover.web: bad -> ok"]);
        assert_eq!(notices.next(), Some(at(61)));
        notices.sum_up(&place, at(61));
        let (what, why, who) = events(&journal).pop().unwrap();
        assert_eq!((&*what, &*who), ("source discover.web: ok -> bad", "discover.web (dns)"));
        assert_eq!(why, "it keeps changing: within 1m, 57 more changes of its state and 0 of endpoints; status 500");
        assert!(journal.visible(0, 9).iter().all(|event| event.generation == 7));
    }

    #[test]
    fn endpoints_that_come_and_go_all_the_time_are_reported_once_and_then_as_they_are() {
        let (spec, journal) = (DiscoveredPool::web(), Journal::new("ns1", 4, 0));
        let (place, mut notices) =
            (NoticePlace { spec: &spec, journal: &journal, generation: 1 }, SourceNotices::default());
        for second in 0..59 {
            let [went, came] = if second % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
            notices.listed(&place, vec![came], ("gone", "listed"), at(second));
            notices.listed(&place, vec![went], ("listed", "gone"), at(second));
        }
        let first = ["b: gone -> listed", "a: listed -> gone", "a: gone -> listed", "b: listed -> gone"];
        assert_eq!(shown(&journal), first.map(|what| format!("discovery {what}")));
        notices.sum_up(&place, at(60));
        let after: Vec<_> = shown(&journal).split_off(4);
        assert_eq!(
            after,
            ["discovery a: listed -> gone", "discovery b: gone -> listed", "source discover.web: ok -> ok"]
        );
        let why = events(&journal).pop().unwrap().1;
        assert!(why.contains("0 more changes of its state and 114 of endpoints"), "{why}");
    }

    #[test]
    fn many_at_once_are_one_event_and_names_that_are_always_new_are_counted() {
        let (spec, journal) = (DiscoveredPool::web(), Journal::new("ns1", 4, 0));
        let (place, mut notices) =
            (NoticePlace { spec: &spec, journal: &journal, generation: 1 }, SourceNotices::default());
        let names: Vec<String> = (0..30).map(|n| format!("e{n}")).collect();
        notices.listed(&place, names.iter().map(String::as_str).collect(), ("gone", "listed"), at(0));
        assert_eq!(shown(&journal), ["discovery web: gone -> listed"]);
        for n in 0..2000 {
            notices.listed(&place, vec![&format!("new{n}")], ("gone", "listed"), at(1));
        }
        assert!(journal.last() <= MOST_SUBJECTS as u64, "{}", journal.last());
        notices.sum_up(&place, at(60));
        assert!(events(&journal).pop().unwrap().1.contains("of endpoints; it lists 0 endpoints now"));
    }
}
