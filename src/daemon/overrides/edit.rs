//! A change of overrides: what the operator, the log and the journal get of it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::control::JournalEvent;
use crate::control::command::TargetChange;
use crate::control::overrides::{OverrideError, utc};
use crate::control::target::{Target, endpoints_of};
use crate::daemon::overrides::Resolved;
use crate::fleet::events::{EventKind, OverrideData};
use crate::model::{AdminState, EndpointId, Health, Model, Override, OverrideState, WorldView};
use crate::wire::Name;

/// One target's override before and after a change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OverrideEdit {
    pub(crate) before: Option<Arc<Override>>,
    pub(crate) now: Option<Arc<Override>>,
    /// The operator; `None` if the override ended by itself.
    pub(crate) who: Option<String>,
    /// Whether the override is from another server of the fleet.
    pub(crate) is_relayed: bool,
}

/// An error if every endpoint of the target is disabled by its policy, and the override would force them up: that never
/// has an effect.
pub(super) fn refuse_without_effect(new: &Override, model: &Model) -> Result<(), OverrideError> {
    let found = endpoints_of(&new.target, model);
    let is_disabled = |id: &EndpointId| model.endpoint(*id).state == AdminState::Disabled;
    if new.state != OverrideState::Up || found.is_empty() || !found.iter().all(is_disabled) {
        return Ok(());
    }
    Err(OverrideError::Malformed(format!(
        "`{}` can't be forced up: `state = \"disabled\"` in the policy goes before it; write another `state` there",
        new.target
    )))
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
            relayed: self.is_relayed,
            of_override: self.data(),
            ..JournalEvent::default()
        }
    }

    /// What a follower needs to make the same change.
    fn data(&self) -> Option<Box<OverrideData>> {
        let either = self.now.as_ref().or(self.before.as_ref())?;
        let zones = either.zones.as_ref().map(|zones| zones.iter().map(Name::to_string).collect());
        let data = OverrideData { target: either.target.clone(), zones, ..OverrideData::default() };
        Some(Box::new(match &self.now {
            Some(now) => OverrideData {
                state: now.state.as_str().to_owned(),
                why: now.why.clone(),
                who: Some(now.who.clone()),
                until: now.until,
                // It was confirmed here, where that was needed.
                confirm: true,
                ..data
            },
            None => OverrideData { state: "none".to_owned(), who: self.who.clone(), ..data },
        }))
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
pub(super) fn all_or_nothing(
    edits: Vec<Result<OverrideEdit, OverrideError>>,
) -> Result<Vec<OverrideEdit>, OverrideError> {
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
            relayed: edit.is_some_and(|edit| edit.is_relayed),
            of_override: edit.and_then(OverrideEdit::data),
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
