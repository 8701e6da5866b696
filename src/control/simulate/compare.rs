//! Compares two snapshots: which questions lost their answer, and which share of the answers another endpoint gives.
//! The weights are those of a simulation, so an override reports the same figures as its simulation.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::control::explain::class_name;
use crate::control::simulate::load::{self, ZoneFileRecords, parts, served};
use crate::control::simulate::weights::{NameAt, Weights, queried_facets};
use crate::control::unanswered::{UnansweredName, UnansweredQuestions};
use crate::model::{ClassId, EndpointId, Facet, Model, PolicyId};
use crate::snapshot::{LocalClass, Snapshot};
use crate::steering::{AnswerSource, Decision};
use crate::wire::Name;

/// Most names in the list; more are counted. A person reads the first ones, and a script needs to know only whether
/// there are any.
const MAX_NAMES: usize = 10_000;

/// How the answers of two snapshots differ.
pub(in crate::control) struct AnswerDiff {
    /// The share of all questions that another endpoint answers, 0 to 1.
    pub(in crate::control) moved: f64,
    /// The share of each endpoint before and after, in the order of the files.
    pub(in crate::control) shares: Vec<[f64; 2]>,
    /// The part of that share that is given although the endpoint is down.
    pub(in crate::control) down: Vec<[f64; 2]>,
    /// The share that the records of zone files answer, before and after.
    pub(in crate::control) fixed: [f64; 2],
    /// The questions that lost their answer.
    pub(in crate::control) unanswered: UnansweredQuestions,
}

/// Compares two snapshots of one model. All names and all client classes have the same weight.
pub(in crate::control) fn difference(before: &Snapshot, after: &Snapshot) -> AnswerDiff {
    let weights = Weights::even(after, None);
    let [old, new] = [before, after].map(|snapshot| load::load(snapshot, &weights));
    let both = |old: Vec<f64>, new: Vec<f64>| old.into_iter().zip(new).map(|(old, new)| [old, new]).collect();
    AnswerDiff {
        moved: moved(before, after, &weights),
        shares: both(old.endpoints, new.endpoints),
        down: both(old.down, new.down),
        fixed: [old.fixed, new.fixed],
        unanswered: unanswered(before, after, &weights, &weights),
    }
}

/// The questions that lost their answer between two snapshots of one model. Fast if none did.
pub(crate) fn losses(before: &Snapshot, after: &Snapshot) -> Option<UnansweredQuestions> {
    let is_empty = |decision: &Decision| !matches!(decision.source, AnswerSource::Endpoints(_));
    let loses = |policy: PolicyId| {
        let facets = queried_facets(after.model.policy(policy));
        facets.iter().any(|facet| served(after, policy, *facet).any(|(_, decision)| is_empty(decision)))
    };
    let changed = policies(&after.model).filter(|policy| !after.answers_as(before, *policy));
    if !changed.into_iter().any(loses) {
        return None;
    }
    let weights = Weights::even(after, None);
    Some(unanswered(before, after, &weights, &weights)).filter(|unanswered| !unanswered.is_nobody())
}

fn policies(model: &Model) -> impl Iterator<Item = PolicyId> + use<> {
    (0..model.policies.len() as u32).map(PolicyId)
}

/// The questions, in the unit of the weights, that another endpoint answers in `after`. Both snapshots are of one
/// model.
pub(super) fn moved(before: &Snapshot, after: &Snapshot, weights: &Weights) -> f64 {
    let mut moved = 0.0;
    for policy in policies(&after.model).filter(|policy| !weights.names(*policy).is_empty()) {
        if after.answers_as(before, policy) {
            continue;
        }
        let by_class = weights.of_policy(after, policy);
        let facets = queried_facets(after.model.policy(policy));
        let mut known: HashMap<(*const Decision, *const Decision), f64> = HashMap::new();
        for facet in &facets {
            let old: HashMap<LocalClass, &Decision> = served(before, policy, *facet).collect();
            for (class, new) in served(after, policy, *facet) {
                let Some(old) = old.get(&class) else { continue };
                let pair = (std::ptr::from_ref(*old), std::ptr::from_ref(new));
                let part = *known.entry(pair).or_insert_with(|| changed_part(&after.model, old, new));
                moved += part * by_class[usize::from(class.0)] / facets.len() as f64;
            }
        }
    }
    moved
}

/// Which part of the answers of `old` another endpoint gives in `new`, 0 to 1.
fn changed_part(model: &Model, old: &Decision, new: &Decision) -> f64 {
    let mut differences: BTreeMap<Option<EndpointId>, f64> = BTreeMap::new();
    for (sign, decision) in [(1.0, old), (-1.0, new)] {
        let endpoints = parts(model, decision);
        if endpoints.is_empty() {
            *differences.entry(None).or_default() += sign;
        }
        for (endpoint, part) in endpoints {
            *differences.entry(Some(endpoint)).or_default() += sign * part;
        }
    }
    differences.into_values().filter(|lost| *lost > 0.0).sum()
}

/// The questions that have an answer in `before` and none in `after`. `weights_before` are the weights on the model
/// of `before`. A name that exists only in `after` had no answer.
pub(super) fn unanswered(
    before: &Snapshot,
    after: &Snapshot,
    weights_before: &Weights,
    weights: &Weights,
) -> UnansweredQuestions {
    let model = &*after.model;
    let mut old_answers = OldAnswers::of(before, after, weights_before);
    let mut defaults = ZoneFileRecords::of(model);
    let mut found = UnansweredCollector::default();
    for policy in policies(model).filter(|policy| !weights.names(*policy).is_empty()) {
        if old_answers.is_one_model && after.answers_as(before, policy) {
            continue;
        }
        let facets = queried_facets(model.policy(policy));
        for facet in &facets {
            for (class, decision) in served(after, policy, *facet) {
                let is_static = match decision.source {
                    AnswerSource::Endpoints(_) => continue,
                    AnswerSource::Static => true,
                    AnswerSource::Nodata => false,
                };
                for name in weights.names(policy) {
                    let is_answered = is_static && defaults.has(*name, *facet);
                    if !is_answered && old_answers.had_answer(after, policy, *name, *facet, class) {
                        let weight = weights.of_name(after, policy, *name)[usize::from(class.0)];
                        found.add(*name, *facet, class, weight / facets.len() as f64);
                    }
                }
            }
        }
    }
    found.report(after, weights)
}

/// The answers of the snapshot before.
struct OldAnswers<'a> {
    before: &'a Snapshot,
    /// Whether both snapshots are of one model, and so have the same ids.
    is_one_model: bool,
    defaults: ZoneFileRecords<'a>,
    names: HashMap<(String, &'a Name), (NameAt, PolicyId)>,
    classes: HashMap<String, ClassId>,
}

impl<'a> OldAnswers<'a> {
    fn of(before: &'a Snapshot, after: &Snapshot, weights_before: &Weights) -> OldAnswers<'a> {
        let is_one_model = std::sync::Arc::ptr_eq(&before.model, &after.model);
        let model = &*before.model;
        let (mut names, mut classes) = (HashMap::new(), HashMap::new());
        if !is_one_model {
            for policy in policies(model) {
                for name in weights_before.names(policy) {
                    let zone = model.zone(name.0);
                    names.insert((zone.apex.to_string(), &zone.steered[name.1].owner), (*name, policy));
                }
            }
            for class in (0..model.clients.classes.len() as u16).map(ClassId) {
                classes.entry(class_name(model, class)).or_insert(class);
            }
        }
        OldAnswers { before, is_one_model, defaults: ZoneFileRecords::of(model), names, classes }
    }

    /// Whether clients had an answer for a name. They are in `class` of policy `of_after` in `after`.
    fn had_answer(
        &mut self,
        after: &Snapshot,
        of_after: PolicyId,
        name: NameAt,
        facet: Facet,
        class: LocalClass,
    ) -> bool {
        let (name, policy, class) = if self.is_one_model {
            (name, of_after, class)
        } else {
            let zone = after.model.zone(name.0);
            let key = (zone.apex.to_string(), &zone.steered[name.1].owner);
            let Some((name, policy)) = self.names.get(&key).copied() else { return false };
            let clients = class_name(&after.model, after.first_class(of_after, class));
            let class = self.classes.get(&clients).copied().unwrap_or(ClassId(0));
            (name, policy, self.before.local(policy, class))
        };
        match self.before.cell(policy, class, facet).map(|cell| &cell.decision().source) {
            None | Some(AnswerSource::Nodata) => false,
            Some(AnswerSource::Endpoints(_)) => true,
            Some(AnswerSource::Static) => self.defaults.has(name, facet),
        }
    }
}

/// Collects the questions that lost their answer.
#[derive(Default)]
struct UnansweredCollector {
    names: BTreeMap<NameAt, BTreeMap<LocalClass, Vec<Facet>>>,
    left_out: HashSet<NameAt>,
    weight: f64,
}

impl UnansweredCollector {
    fn add(&mut self, name: NameAt, facet: Facet, class: LocalClass, weight: f64) {
        self.weight += weight;
        if self.names.len() >= MAX_NAMES && !self.names.contains_key(&name) {
            self.left_out.insert(name);
            return;
        }
        self.names.entry(name).or_default().entry(class).or_default().push(facet);
    }

    fn report(self, after: &Snapshot, weights: &Weights) -> UnansweredQuestions {
        let share = if weights.total > 0.0 { self.weight / weights.total } else { 0.0 };
        let names = self.names.into_iter().flat_map(|(name, classes)| entries_of(after, name, classes));
        UnansweredQuestions { share: load::rounded(share), names: names.collect(), left_out: self.left_out.len() }
    }
}

/// One entry for each set of types for which clients of a name lost their answer.
fn entries_of(after: &Snapshot, name: NameAt, lost: BTreeMap<LocalClass, Vec<Facet>>) -> Vec<UnansweredName> {
    let model = &*after.model;
    let zone = model.zone(name.0);
    let steered = &zone.steered[name.1];
    let types = queried_facets(model.policy(steered.policy)).len();
    let mut by_types: BTreeMap<Vec<Facet>, BTreeSet<LocalClass>> = BTreeMap::new();
    for (class, facets) in lost {
        by_types.entry(facets).or_default().insert(class);
    }
    let all: Vec<ClassId> = (0..model.clients.classes.len() as u16).map(ClassId).collect();
    let entry = |(facets, locals): (Vec<Facet>, BTreeSet<LocalClass>)| {
        let (affected, others): (Vec<ClassId>, Vec<ClassId>) =
            all.iter().partition(|class| locals.contains(&after.local(steered.policy, **class)));
        let class_names = |classes: &[ClassId]| -> BTreeSet<String> {
            classes.iter().map(|class| class_name(model, *class)).collect()
        };
        let (classes, still) = (class_names(&affected), class_names(&others));
        UnansweredName {
            name: steered.label.clone(),
            zone: zone.apex.to_string(),
            partly: classes.intersection(&still).cloned().collect(),
            classes: classes.into_iter().collect(),
            all_clients: others.is_empty(),
            types: facets.iter().map(|facet| facet.as_str().to_owned()).collect(),
            all_types: facets.len() == types,
        }
    };
    by_types.into_iter().map(entry).collect()
}
