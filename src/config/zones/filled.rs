//! Zones with sources: the endpoints that they state are added to the policy before it is validated. A file is valid
//! only if it is so with an invented instance of each source, so what a source states later is no reason to refuse it.

use std::sync::Arc;

use crate::config::spec::PolicySpec;
use crate::config::validate::{self, Builder};
use crate::config::zones::version::ZoneHistory;
use crate::masterfile::MasterFile;
use crate::model::NotAdded;
use crate::source::{Problems, Severity};

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
    let sources = spec.sources().to_vec();
    let own_names = Arc::new(spec.own_names());
    let regions = builder.model.regions.clone();
    let mark = builder.mark();
    for at in 0..sources.len() {
        let sample = validate::sample(&spec.discovers[at]);
        spec.inject(at, &[sample], &regions);
    }
    let mut trial = problems.separate();
    builder.add(&spec, file.clone(), 0, &mut trial);
    spec.eject();
    if trial.errors() > 0 {
        problems.extend(trial);
        return;
    }
    builder.take_back(&mark);
    let first = builder.model.sources.len();
    let mut left_out: Vec<(u32, NotAdded)> = Vec::new();
    for (at, stated) in before.stated(&sources).into_iter().enumerate() {
        let not_added = spec.inject(at, stated, &regions);
        let named: Vec<String> =
            not_added.iter().take(MOST_NAMED).map(|of| format!("`{}`: {}", of.name, of.why)).collect();
        if !named.is_empty() {
            let more = match not_added.len() - named.len() {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            let (count, all) = (not_added.len(), stated.len());
            let why = format!("{count} of {all} endpoints are left out: {}{more}", named.join("; "));
            left_out.push(((first + at) as u32, NotAdded { count, why }));
        }
    }
    let mut found = problems.separate();
    builder.add(&spec, file.clone(), 0, &mut found);
    if found.errors() > 0 {
        // Something that no invented instance has. What the file declares is served, without what is stated.
        let why = found.into_sorted().into_iter().find(|problem| problem.severity == Severity::Error);
        let why = why.map(|problem| problem.message).unwrap_or_default();
        builder.take_back(&mark);
        spec.eject();
        let all = before.stated(&sources).into_iter().enumerate().filter(|(_, stated)| !stated.is_empty());
        let refused = |count: usize| NotAdded { count, why: format!("all endpoints: {why}") };
        left_out = all.map(|(at, stated)| ((first + at) as u32, refused(stated.len()))).collect();
        found = problems.separate();
        builder.add(&spec, file, 0, &mut found);
    }
    // What is warned of at the table of a source is about its instances.
    let is_of_source = |line: u32| spec.discovers.iter().any(|discover| discover.head().name.place.line == line);
    problems.extend(found.without(|problem| problem.severity != Severity::Error && is_of_source(problem.line)));
    builder.model.not_added.extend(left_out);
    builder.model.own_names.extend(sources.first().map(|source| (source.zone.clone(), own_names)));
}
