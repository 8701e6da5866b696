//! Zones with sources: the endpoints that they state are added to the policy before it is validated. A file is valid
//! only if it is so with an invented instance of each source, so what a source states later is no reason to refuse it.

use std::sync::Arc;

use crate::config::spec::{InjectRule, PolicySpec};
use crate::config::validate::{self, Builder};
use crate::config::zones::version::ZoneHistory;
use crate::masterfile::MasterFile;
use crate::model::{DiscoveredEndpoint, NotAdded, Region};
use crate::source::{Problem, Problems, Severity};

/// Most refusals of a source that are named (judgment: a line of a status).
const MOST_NAMED: usize = 5;

/// Adds a zone with sources to the model.
pub(super) fn add(
    builder: &mut Builder,
    mut spec: Box<PolicySpec>,
    file: MasterFile,
    before: &ZoneHistory,
    problems: &mut Problems,
) {
    let own_names = Arc::new(spec.own_names());
    let regions = builder.model.regions.clone();
    let mark = builder.mark();
    for at in 0..spec.sources().len() {
        let samples = validate::samples(&spec.discovers[at]);
        spec.inject(at, &samples, &regions, &InjectRule::default());
    }
    let mut trial = problems.separate();
    builder.add(&spec, file.clone(), 0, &mut trial);
    let probed_hosts = validate::probed_hosts(&spec);
    spec.eject();
    // What is warned of at the table of a source is about its instances.
    let tables: Vec<u32> = spec.discovers.iter().map(|discover| discover.head().name.place.line).collect();
    let is_of_instance = |problem: &Problem| problem.severity != Severity::Error && tables.contains(&problem.line);
    if trial.errors() > 0 {
        problems.extend(trial.without(is_of_instance));
        return;
    }
    builder.take_back(&mark);
    probed_hosts.into_iter().for_each(|at| spec.set_needs_probe(at));
    let sources = spec.sources().to_vec();
    let stated = before.stated(&sources);
    let mut rule = InjectRule::default();
    let (found, left_out) = loop {
        let left_out = inject(&mut spec, &stated, &regions, &rule);
        let mut found = problems.separate();
        builder.add(&spec, file.clone(), 0, &mut found);
        if found.errors() == 0 {
            break (found, left_out);
        }
        // Something that no invented instance has: a cname that leads back, or what only several instances have.
        let looping = builder.links.take_looping();
        let why = found.into_sorted().into_iter().find(|problem| problem.severity == Severity::Error);
        let why = why.map(|problem| problem.message).unwrap_or_default();
        builder.take_back(&mark);
        spec.eject();
        if rule.without_cnames.is_some() {
            // What the file declares is served, without what is stated.
            let mut found = problems.separate();
            builder.add(&spec, file.clone(), 0, &mut found);
            let refused = |count: usize| NotAdded { count, why: format!("all endpoints: {why}") };
            let stated = stated.iter().enumerate().filter(|(_, stated)| !stated.is_empty());
            break (found, stated.map(|(at, stated)| (at, refused(stated.len()))).collect());
        }
        match rule.looping.is_empty() && !looping.is_empty() {
            true => rule.looping = looping,
            false => rule.without_cnames = Some(why),
        }
    };
    problems.extend(found.without(is_of_instance));
    let first = builder.model.sources.len() - sources.len();
    builder.model.not_added.extend(left_out.into_iter().map(|(at, not_added)| ((first + at) as u32, not_added)));
    builder.model.own_names.extend(sources.first().map(|source| (source.zone.clone(), own_names)));
}

/// Adds what the sources state to the policy. Returns what could not be added, by the index of the source.
fn inject(
    spec: &mut PolicySpec,
    stated: &[&[Arc<DiscoveredEndpoint>]],
    regions: &[Region],
    rule: &InjectRule,
) -> Vec<(usize, NotAdded)> {
    let mut left_out = Vec::new();
    for (at, stated) in stated.iter().enumerate() {
        let not_added = spec.inject(at, stated, regions, rule);
        let named: Vec<String> =
            not_added.iter().take(MOST_NAMED).map(|of| format!("`{}`: {}", of.name, of.why)).collect();
        if !named.is_empty() {
            let more = match not_added.len() - named.len() {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            let (count, all) = (not_added.len(), stated.len());
            let why = format!("{count} of {all} endpoints are left out: {}{more}", named.join("; "));
            left_out.push((at, NotAdded { count, why }));
        }
    }
    left_out
}
