//! Why a name does not give what its policy prefers, in sentences that an operator reads at night:
//! `pg stays on pg-b (failback manual)`. The same sentence for several classes or types is said once.

use std::time::Duration;

use crate::control::explain::Renderer;
use crate::control::names::report::ClassReport;
use crate::model::{EndpointId, Facet, Failback, Model, Moment, PolicyId, Steering};
use crate::steering::preference::endpoints_below;
use crate::steering::{Decision, Given, StageName, Standing};

/// Most endpoints that a sentence names, and most reasons that it gives (judgment: a line or two).
const SHOWN: usize = 3;

/// Sentences under way: what is said, of which classes and of which types.
#[derive(Debug, Default)]
pub(super) struct Sentences {
    said: Vec<Sentence>,
}

#[derive(Debug)]
struct Sentence {
    /// What follows the name and those whom it is about.
    what: String,
    classes: Vec<String>,
    types: Vec<&'static str>,
}

impl Sentences {
    /// Notes why clients of `class` get `served` where the policy prefers `best`.
    pub(super) fn add(
        &mut self,
        model: &Model,
        policy: PolicyId,
        (class, facet): (&str, Facet),
        served: &Decision,
        best: &Decision,
        now: Moment,
    ) {
        let renderer = Renderer { model, policy: model.policy(policy), decision: served };
        let what =
            stays(model, policy, served, now).or_else(|| on_empty(renderer)).unwrap_or_else(|| instead(renderer, best));
        match self.said.iter_mut().find(|said| said.what == what) {
            Some(said) => {
                if !said.classes.iter().any(|known| known == class) {
                    said.classes.push(class.to_owned());
                }
                if !said.types.contains(&facet.as_str()) {
                    said.types.push(facet.as_str());
                }
            }
            None => self.said.push(Sentence { what, classes: vec![class.to_owned()], types: vec![facet.as_str()] }),
        }
    }

    /// All of them, about `name`; `all` is everything that is reported of it.
    pub(super) fn of(self, name: &str, all: &[ClassReport]) -> Vec<String> {
        let has_other = |of: fn(&ClassReport) -> &String, known: &[&str]| {
            all.iter().any(|report| !known.contains(&of(report).as_str()))
        };
        let sentence = |said: Sentence| {
            let classes: Vec<&str> = said.classes.iter().map(String::as_str).collect();
            let mut text = name.to_owned();
            if has_other(|report| &report.rtype, &said.types) {
                text.push_str(&format!(" {}", said.types.join(" and ")));
            }
            if has_other(|report| &report.class, &classes) {
                text.push_str(&format!(" for clients of {}", listed(&classes)));
            }
            text + &said.what
        };
        self.said.into_iter().map(sentence).collect()
    }
}

/// A failover pool stays with another member than the first that is up.
fn stays(model: &Model, policy: PolicyId, served: &Decision, now: Moment) -> Option<String> {
    let given = served.given_first(model)?;
    let answers = |standing: &&Standing| {
        let incumbent = standing.incumbents.first().map(|member| model.endpoints_below(*member)).unwrap_or_default();
        model.pool(standing.pool).steering.has_failback()
            && standing.challenger.is_some()
            && given.iter().all(|endpoint| incumbent.contains(endpoint))
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
    Some(format!(" stays on {} ({back})", given_in_words(model, served)))
}

/// Nothing is eligible.
fn on_empty(served: Renderer<'_>) -> Option<String> {
    let note = served.decision.stage(StageName::OnEmpty)?.note.as_ref()?;
    Some(format!(": {}", served.note(note)))
}

/// Others are given, as those that the policy prefers are out.
fn instead(renderer: Renderer<'_>, best: &Decision) -> String {
    let (model, served) = (renderer.model, renderer.decision);
    let given = served.given_first(model).unwrap_or_default();
    let wanted = best.given_first(model).unwrap_or_default();
    let missing = wanted.iter().filter(|endpoint| !given.contains(endpoint));
    let why = missing.filter_map(|endpoint| {
        let why = renderer.reason(served.why_not(*endpoint)?);
        Some(format!("{} is {why}", model.endpoint(*endpoint).name))
    });
    let why: Vec<String> = why.take(SHOWN).collect();
    let why = if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) };
    format!(" gives {} instead of {}{why}", given_in_words(model, served), given_in_words(model, best))
}

/// What is given, in a few words.
pub(super) fn given_in_words(model: &Model, decision: &Decision) -> String {
    match (&decision.given, decision.given_first(model)) {
        (Given::Static, _) => "the zone file's records".to_owned(),
        (Given::Nodata, _) | (Given::Endpoints(_), None) => "no record".to_owned(),
        (Given::Endpoints(_), Some(given)) => {
            let names = names(model, &given);
            listed(&names.iter().map(String::as_str).collect::<Vec<_>>())
        }
    }
}

/// The first few, and how many more.
fn listed(all: &[&str]) -> String {
    let more = all.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    all.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ") + &more
}

/// The names of endpoints.
pub(super) fn names(model: &Model, endpoints: &[EndpointId]) -> Vec<String> {
    endpoints.iter().map(|id| model.endpoint(*id).name.clone()).collect()
}
