//! Notes: improvements that are not necessary. `check` prints them; they are no warnings, and `serve` doesn't log them.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;

use crate::config::Loaded;
use crate::model::{CheckId, Model, RegionId};
use crate::source::{ManualSection, Place, Problem, Problems};

/// With fewer hosts the note is not worth reading (judgment).
const LEAST_HOSTS: usize = 3;
/// With so few regions, most of them can fail for one reason (judgment).
const FEW_REGIONS: usize = 3;
/// A vantage can be blind only with so many regions and hosts; see `health::blindness`.
const WORLD: (usize, usize) = (2, 4);

/// The notes on what was loaded from this settings file.
pub fn notes(settings_file: &Path, loaded: &Loaded) -> Vec<Problem> {
    let mut problems = Problems::default();
    problems.about(ManualSection::Settings, |problems| match loaded.settings.control.is_empty() {
        true => note_control(settings_file, &loaded.model, problems),
        false => note_idle_control(settings_file, &loaded.model, problems),
    });
    problems.into_sorted()
}

/// Control targets distinguish a cut of this vantage's own link from a failure of all endpoints.
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
            "{hosts} hosts are probed, {where_they_are}: when this node's own link is cut, all of them count as down, \
             as it can't tell that from their failure"
        )
    } else {
        format!(
            "{hosts} hosts are probed, in {regions} regions: when most of these regions fall silent for one reason, \
             this node takes that for a cut of its own link, and goes on answering with them"
        )
    };
    let problem = problems.note(&Place::start_of(settings_file), message);
    problem.hint("list hosts outside that are always there: `[vantage]`, `control = [\"192.0.2.1:443\"]`");
}

/// Control targets have no effect when nothing is probed.
fn note_idle_control(settings_file: &Path, model: &Model, problems: &mut Problems) {
    if probed(model).is_empty() {
        let message = "`control` of [vantage] has no effect: no endpoint is probed";
        problems.note(&Place::start_of(settings_file), message).hint("give endpoints a `monitor`, or leave it out");
    }
}

/// The hosts that are probed, each with its region. Those without a region count as one region.
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
