//! What nothing is wrong with, and a careful operator would still write. `check` prints it; it is no warning, and
//! `serve` says nothing of it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;

use crate::config::manual::ManualSection;
use crate::config::problem::Problems;
use crate::config::source::Place;
use crate::config::{Loaded, Problem};
use crate::model::{CheckId, Model, RegionId};

/// In a world of fewer hosts there is little to lose, and nobody wants to read this (judgment).
const LEAST_HOSTS: usize = 3;
/// Of so many regions most, which is two, may well fail for one reason (judgment).
const FEW_REGIONS: usize = 3;
/// Blindness takes so many regions and hosts at least; see `health::blindness`.
const WORLD: (usize, usize) = (2, 4);

/// Notes on what was loaded from this settings file.
pub fn notes(settings_file: &Path, loaded: &Loaded) -> Vec<Problem> {
    let mut problems = Problems::default();
    problems.about(ManualSection::Settings, |problems| match loaded.settings.control.is_empty() {
        true => note_control(settings_file, &loaded.model, problems),
        false => note_idle_control(settings_file, &loaded.model, problems),
    });
    problems.into_sorted()
}

/// Where a vantage can't tell a cut of its own link from a failure of the world, control targets can.
fn note_control(settings_file: &Path, model: &Model, problems: &mut Problems) {
    let probed = probed(model);
    let hosts = probed.iter().map(|(_, host)| host).collect::<HashSet<_>>().len();
    let regions = probed.iter().map(|(region, _)| region).collect::<HashSet<_>>().len();
    if hosts < LEAST_HOSTS || regions > FEW_REGIONS {
        return;
    }
    let message = if regions < WORLD.0 || hosts < WORLD.1 {
        let where_they_are = if regions == 1 { "in one region".to_owned() } else { format!("in {regions} regions") };
        format!(
            "{hosts} hosts are probed, {where_they_are}: when this node's own link is cut, all of them count as down, as it \
             can't tell that from their failure"
        )
    } else {
        format!(
            "{hosts} hosts are probed, in {regions} regions: when most of these regions fall silent for one reason, this \
             node takes that for a cut of its own link, and goes on answering with them"
        )
    };
    let problem = problems.note(&Place::start_of(settings_file), message);
    problem.hint("list hosts outside that are always there: `[vantage]`, `control = [\"192.0.2.1:443\"]`");
}

/// Control targets are only for what is probed.
fn note_idle_control(settings_file: &Path, model: &Model, problems: &mut Problems) {
    if probed(model).is_empty() {
        let message = "`control` of [vantage] has no effect: no endpoint is probed";
        problems.note(&Place::start_of(settings_file), message).hint("give endpoints a `monitor`, or leave it out");
    }
}

/// The hosts that are probed, and the region of each; those without one are in a region together.
fn probed(model: &Model) -> HashSet<(Option<RegionId>, IpAddr)> {
    let mut found = HashSet::new();
    for endpoint in &model.endpoints {
        let mut checks: Vec<CheckId> = endpoint.answerables.iter().filter_map(|answerable| answerable.check).collect();
        while let Some(check) = checks.pop() {
            let Some(check) = model.checks.get(check.0 as usize) else { continue };
            checks.extend(&check.parts);
            if check.key.monitor.kind.is_probed()
                && let Some(host) = check.key.target.ip()
            {
                found.insert((endpoint.region, host));
            }
        }
    }
    found
}
