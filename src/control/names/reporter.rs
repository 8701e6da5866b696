//! One steered name as plain data, from the decisions that are being served.

use std::sync::{Arc, OnceLock};

use crate::control::explain::SteeredQuestion;
use crate::control::history::SplitWindow;
use crate::control::names::cache::{self, ClassPreference, NameState};
use crate::control::names::report::{ClassReport, MeasuredEndpoint, MeasuredSplit, NameReport};
use crate::control::names::sentence::{Sentences, names};
use crate::model::{Moment, SteeredName, WorldView, ZoneId};
use crate::snapshot::{Cell, Snapshot, TallyRun};
use crate::steering::AnswerSource;
use crate::steering::preference;

/// Makes reports from one snapshot.
pub(crate) struct Reporter {
    snapshot: Arc<Snapshot>,
    /// The states, by policy.
    states: Vec<NameState>,
    /// A world in which every endpoint is up. Computed when the first name needs it.
    ideal: OnceLock<WorldView>,
    now: Moment,
    split: SplitWindow,
}

impl Reporter {
    /// A reporter on a snapshot. `states` are the states of its policies.
    pub(crate) fn new(snapshot: Arc<Snapshot>, states: Vec<NameState>, now: Moment) -> Reporter {
        Reporter { snapshot, states, ideal: OnceLock::new(), now, split: SplitWindow::default() }
    }

    /// The same with what was counted in the last minutes.
    pub(crate) fn with_split(self, split: SplitWindow) -> Reporter {
        Reporter { split, ..self }
    }

    /// The position of each steered name, in the order of the files: its zone, and its index in the zone.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (ZoneId, usize)> + '_ {
        let zones = (0..).map(ZoneId).zip(&self.snapshot.model.zones);
        zones.flat_map(|(id, zone)| (0..zone.steered.len()).map(move |at| (id, at)))
    }

    /// The name at a position.
    pub(crate) fn name(&self, (zone, at): (ZoneId, usize)) -> &SteeredName {
        &self.snapshot.model.zone(zone).steered[at]
    }

    /// The name of a zone, with its final dot.
    pub(crate) fn zone(&self, zone: ZoneId) -> String {
        self.snapshot.model.zone(zone).apex.to_string()
    }

    /// The state of the name at a position.
    pub(crate) fn state(&self, position: (ZoneId, usize)) -> NameState {
        let unknown = NameState { eligible: 0, on_empty: false, preferred: true };
        self.states.get(self.name(position).policy.0 as usize).copied().unwrap_or(unknown)
    }

    /// The whole report on the name at a position.
    pub(crate) fn report(&self, position: (ZoneId, usize)) -> NameReport {
        let (zone, steered) = (position.0, self.name(position));
        let NameState { eligible, on_empty, preferred } = self.state(position);
        let mut classes = Vec::new();
        let mut sentences = Sentences::default();
        for (class, cell) in self.snapshot.cells_of(steered.policy).into_iter().flat_map(|cells| cache::answers(cells))
        {
            let ideal = || self.ideal.get_or_init(|| preference::ideal(&self.snapshot.view));
            let mut preferences = cache::preferences(&self.snapshot, &ideal, steered.policy, class, cell);
            if class.is_none() && preferences.iter().all(|preference| preference.better.is_none()) {
                preferences = vec![ClassPreference { class, better: None }];
            }
            for preference in preferences {
                classes.push(self.class(zone, steered, preference, cell, &mut sentences));
            }
        }
        let notes = sentences.of(&steered.label, &classes);
        let (zone, name, measured) = (self.zone(zone), steered.label.clone(), self.measured(zone, steered));
        NameReport { zone, name, eligible, on_empty, preferred, classes, notes, measured }
    }

    fn measured(&self, zone: ZoneId, steered: &SteeredName) -> Option<MeasuredSplit> {
        let (model, time) = (&*self.snapshot.model, self.split.time()?);
        let ids = &model.policy(steered.policy).endpoints;
        let endpoints: Vec<Arc<str>> = ids.iter().map(|id| model.endpoint(*id).name.as_str().into()).collect();
        let run = TallyRun { zone: self.zone(zone).into(), name: steered.label.as_str().into(), endpoints };
        let counts = self.split.counted(self.snapshot.tallies.find(&run)?, run.endpoints.len());
        let answers = run.endpoints.iter().zip(counts).filter(|(_, count)| *count > 0);
        let answers = answers.map(|(endpoint, count)| MeasuredEndpoint { endpoint: endpoint.to_string(), count });
        Some(MeasuredSplit { over_s: time.as_secs(), answers: answers.collect() })
    }

    fn class(
        &self,
        zone: ZoneId,
        steered: &SteeredName,
        ClassPreference { class, better: best }: ClassPreference,
        cell: &Cell,
        sentences: &mut Sentences,
    ) -> ClassReport {
        let (model, view, served) = (&*self.snapshot.model, &*self.snapshot.view, cell.decision());
        let name = class.map_or("any".to_owned(), |class| class_name(self.snapshot.label_of(steered.policy, class)));
        if let Some(best) = &best {
            sentences.add(model, steered.policy, (&name, served.facet), served, best, (view, self.now));
        }
        let question = SteeredQuestion { snapshot: &self.snapshot, zone, name: steered, facet: served.facet };
        let answers = question.answers(cell);
        ClassReport {
            class: name,
            rtype: served.facet.as_str().to_owned(),
            gives: match served.source {
                AnswerSource::Endpoints(_) => "endpoints",
                AnswerSource::Static => "static",
                AnswerSource::Nodata => "nodata",
            }
            .to_owned(),
            from: if served.is_on_empty() { "on_empty" } else { model.member_name(model.policy(steered.policy).root) }
                .to_owned(),
            ttl: question.ttl_secs(served, answers.is_empty()),
            answers,
            on_empty: served.is_on_empty(),
            preferred: best.is_none(),
            prefers: best.and_then(|best| Some(names(model, &best.given_first(model)?))).unwrap_or_default(),
        }
    }
}

/// A class as text: `eu-west`, `countries=DE`, `eu-west, countries=DE`, `others`.
fn class_name(text: &str) -> String {
    let parts = text.split_whitespace().filter_map(|word| match word.strip_prefix("region") {
        Some("") => Some("unknown"),
        Some(region) => region.strip_prefix('='),
        None => word.strip_prefix('+'),
    });
    let parts: Vec<&str> = parts.collect();
    match (parts.is_empty(), text.is_empty()) {
        (true, true) => "any".to_owned(),
        (true, false) => "others".to_owned(),
        (false, _) => parts.join(", "),
    }
}
