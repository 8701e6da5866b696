//! Composite monitors of one policy file: the monitors that each combines, and whether it contains itself.

use std::collections::HashMap;

use crate::config::monitor::{CompositeSpec, MonitorSpec};
use crate::config::spec::PolicySpec;
use crate::config::validate::declared::Declared;
use crate::model::monitor::composite::{MAX_COMPOSITE_CHECKS, MAX_COMPOSITE_DEPTH, Rule};
use crate::source::Problems;

/// A monitor below a composite that is not a composite itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf<'a> {
    /// The monitor.
    pub(super) monitor: &'a MonitorSpec,
    /// Whether there is a `not` above it.
    pub(super) is_inverted: bool,
}

/// The monitors that `monitor` combines, or `monitor` itself if it is not a composite. A composite that contains
/// itself ends at the greatest depth.
pub(super) fn leaves<'a>(monitor: &'a MonitorSpec, monitors: &'a [MonitorSpec]) -> Vec<Leaf<'a>> {
    let mut found = Vec::new();
    gather(Leaf { monitor, is_inverted: false }, monitors, MAX_COMPOSITE_DEPTH, &mut found);
    found
}

fn gather<'a>(from: Leaf<'a>, monitors: &'a [MonitorSpec], depth_left: usize, found: &mut Vec<Leaf<'a>>) {
    let Some(CompositeSpec { rule, members }) = from.monitor.composite() else {
        found.push(from);
        return;
    };
    let is_inverted = from.is_inverted || *rule == Rule::Not;
    for member in members {
        if depth_left == 0 || found.len() > MAX_COMPOSITE_CHECKS {
            return;
        }
        if let Some(monitor) = monitors.iter().find(|monitor| monitor.name.value == member.value) {
            gather(Leaf { monitor, is_inverted }, monitors, depth_left - 1, found);
        }
    }
}

/// Finds composites of unknown monitors, of themselves, and of too many monitors. Members count as used.
pub(super) fn check<'a>(spec: &'a PolicySpec, monitors: &mut Declared<'a, &'a MonitorSpec>, problems: &mut Problems) {
    for member in spec.monitors.iter().filter_map(MonitorSpec::composite).flat_map(|keys| &keys.members) {
        monitors.find(member, problems);
    }
    let mut walk = Walk { monitors, depths: HashMap::new(), path: Vec::new(), has_loop: false };
    for monitor in &spec.monitors {
        walk.depth(monitor, problems);
    }
    if walk.has_loop {
        return;
    }
    for monitor in spec.monitors.iter().filter(|monitor| leaves(monitor, &spec.monitors).len() > MAX_COMPOSITE_CHECKS) {
        let name = &monitor.name.value;
        let message = format!(
            "`{name}` is made of more than {MAX_COMPOSITE_CHECKS} monitors, each counted as often as it is named"
        );
        problems.error(&monitor.name.place, message);
    }
}

struct Walk<'w, 'a> {
    monitors: &'w Declared<'a, &'a MonitorSpec>,
    /// The depth of each composite that was visited.
    depths: HashMap<&'a str, usize>,
    path: Vec<&'a str>,
    has_loop: bool,
}

impl<'a> Walk<'_, 'a> {
    /// How many composites are nested in it, itself included; 0 for other monitors. A loop is one problem.
    fn depth(&mut self, monitor: &'a MonitorSpec, problems: &mut Problems) -> usize {
        let name = monitor.name.value.as_str();
        let Some(keys) = monitor.composite() else { return 0 };
        if let Some(depth) = self.depths.get(name) {
            return *depth;
        }
        if let Some(at) = self.path.iter().position(|above| *above == name) {
            self.has_loop = true;
            let round: Vec<&str> = self.path[at..].iter().copied().chain([name]).collect();
            let message = format!("a monitor can't be made of itself: {}", round.join(" -> "));
            problems.error(&monitor.name.place, message).hint("leave one of them out of another");
            return 0;
        }
        self.path.push(name);
        let mut below = 0;
        for member in &keys.members {
            if let Some(member) = self.monitors.get(&member.value).copied() {
                below = below.max(self.depth(member, problems));
            }
        }
        self.path.pop();
        self.depths.insert(name, below + 1);
        if below == MAX_COMPOSITE_DEPTH {
            let message = format!("`{name}` is more than {MAX_COMPOSITE_DEPTH} composites deep");
            problems.error(&monitor.name.place, message).hint("name what is below in it directly");
        }
        below + 1
    }
}
