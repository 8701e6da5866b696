//! Why a name does not give what its policy prefers, in sentences for an operator: `pg stays on pg-b (failback
//! manual)`. Classes and types with the same sentence share it.

use std::time::Duration;

use crate::control::explain::Renderer;
use crate::control::names::report::ClassReport;
use crate::model::{EndpointId, Facet, Failback, Model, Moment, PolicyId, WorldView};
use crate::steering::{AnswerSource, Decision, Reason, StageName, Standing, Why};

/// Most endpoints and most reasons in a sentence (judgment: a line or two).
const SHOWN: usize = 3;

/// Collects the sentences about one name.
#[derive(Debug, Default)]
pub(super) struct Sentences {
    all: Vec<Sentence>,
}

#[derive(Debug)]
struct Sentence {
    /// The part after the name and its clients.
    what: String,
    classes: Vec<String>,
    types: Vec<&'static str>,
}

impl Sentences {
    /// Adds the reason why clients of `class` get `served` while the policy prefers `best`.
    pub(super) fn add(
        &mut self,
        model: &Model,
        policy: PolicyId,
        (class, facet): (&str, Facet),
        served: &Decision,
        best: &Decision,
        (view, now): (&WorldView, Moment),
    ) {
        let renderer = Renderer::new(model, model.policy(policy), view, served);
        let what =
            stays(model, policy, served, now).or_else(|| on_empty(renderer)).unwrap_or_else(|| instead(renderer, best));
        match self.all.iter_mut().find(|known| known.what == what) {
            Some(known) => {
                if !known.classes.iter().any(|other| other == class) {
                    known.classes.push(class.to_owned());
                }
                if !known.types.contains(&facet.as_str()) {
                    known.types.push(facet.as_str());
                }
            }
            None => self.all.push(Sentence { what, classes: vec![class.to_owned()], types: vec![facet.as_str()] }),
        }
    }

    /// All sentences about `name`. `all` is the whole report on it.
    pub(super) fn of(self, name: &str, all: &[ClassReport]) -> Vec<String> {
        let has_other = |of: fn(&ClassReport) -> &String, known: &[&str]| {
            all.iter().any(|report| !known.contains(&of(report).as_str()))
        };
        let sentence = |known: Sentence| {
            let classes: Vec<&str> = known.classes.iter().map(String::as_str).collect();
            let mut text = name.to_owned();
            if has_other(|report| &report.rtype, &known.types) {
                text.push_str(&format!(" {}", known.types.join(" and ")));
            }
            if has_other(|report| &report.class, &classes) {
                text.push_str(&format!(" for clients of {}", listed(&classes)));
            }
            text + &known.what
        };
        self.all.into_iter().map(sentence).collect()
    }
}

/// The sentence for a failover pool that stays on another member than the first that is up.
fn stays(model: &Model, policy: PolicyId, served: &Decision, now: Moment) -> Option<String> {
    let current = served.given_first(model)?;
    let answers = |standing: &&Standing| {
        let incumbent = standing.incumbents.first().map(|member| model.endpoints_below(*member)).unwrap_or_default();
        model.pool(standing.pool).steering.has_failback()
            && standing.challenger.is_some()
            && current.iter().all(|endpoint| incumbent.contains(endpoint))
    };
    let standing = served.standings.iter().find(answers)?;
    let due = standing.challenger.as_ref().and_then(|challenger| challenger.due);
    let back = match (model.policy(policy).failback, due) {
        (Failback::After(time), Some(due)) => {
            let left = Duration::from_secs(due.since(now).as_secs());
            let (time, left) = (humantime::format_duration(time), humantime::format_duration(left));
            format!("failback after {time}, in {left}")
        }
        (Failback::Auto | Failback::Manual | Failback::After(_), _) => "failback manual".to_owned(),
    };
    Some(format!(" stays on {} ({back})", answer_text(model, served)))
}

/// The sentence for a name for which nothing is eligible.
fn on_empty(served: Renderer<'_>) -> Option<String> {
    let note = served.decision.stage(StageName::OnEmpty)?.note.as_ref()?;
    Some(format!(": {}", served.note(note)))
}

/// The sentence for other endpoints in place of the preferred ones.
fn instead(renderer: Renderer<'_>, best: &Decision) -> String {
    let (model, served) = (renderer.model, renderer.decision);
    let current = served.given_first(model).unwrap_or_default();
    let wanted = best.given_first(model).unwrap_or_default();
    let missing = wanted.iter().filter(|endpoint| !current.contains(endpoint));
    let why = missing.filter_map(|endpoint| {
        let why = renderer.reason(served.why_not(*endpoint)?);
        Some(format!("{} is {why}", model.endpoint(*endpoint).name))
    });
    let why: Vec<String> = why.take(SHOWN).collect();
    if why.is_empty() && wanted == current {
        return format!(" gives {}{}", answer_text(model, served), all_the_same(renderer, &current));
    }
    format!(" gives {} instead of {}{}", answer_text(model, served), answer_text(model, best), because(&why))
}

/// Reasons at the end of a sentence: `: one; another`.
fn because(why: &[String]) -> String {
    if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) }
}

/// Why endpoints are given that are out of service: `: fra1 is drained by alice; given because nothing better is left`.
fn all_the_same(renderer: Renderer<'_>, given: &[EndpointId]) -> String {
    let Some(state) = renderer.decision.stage(StageName::State) else { return String::new() };
    let spared = state.passed.iter().filter(|reason| given.contains(&reason.endpoint));
    let spared = spared.filter(|reason| matches!(reason.why, Why::OutOfServiceButGiven(_)));
    let name = |reason: &Reason| &renderer.model.endpoint(reason.endpoint).name;
    let why = spared.map(|reason| format!("{} is {}", name(reason), renderer.reason(reason)));
    because(&why.take(SHOWN).collect::<Vec<_>>())
}

/// The endpoints or records of a decision, as text.
pub(super) fn answer_text(model: &Model, decision: &Decision) -> String {
    match (&decision.source, decision.given_first(model)) {
        (AnswerSource::Static, _) => "the zone file's records".to_owned(),
        (AnswerSource::Nodata, _) | (AnswerSource::Endpoints(_), None) => "no record".to_owned(),
        (AnswerSource::Endpoints(_), Some(endpoints)) => {
            let names = names(model, &endpoints);
            listed(&names.iter().map(String::as_str).collect::<Vec<_>>())
        }
    }
}

/// The first few, and how many more there are.
fn listed(all: &[&str]) -> String {
    let more = all.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    all.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ") + &more
}

/// The names of endpoints.
pub(super) fn names(model: &Model, endpoints: &[EndpointId]) -> Vec<String> {
    endpoints.iter().map(|id| model.endpoint(*id).name.clone()).collect()
}
