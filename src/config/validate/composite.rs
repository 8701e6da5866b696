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

/// Most monitors that are visited below one, composites too: each of the greatest number of leaves has a way of its own
/// through the greatest depth. Without a bound, composites whose members are unknown would be visited without end,
/// because they have no leaves.
const MAX_VISITED: usize = (MAX_COMPOSITE_CHECKS + 1) * (MAX_COMPOSITE_DEPTH + 1);

/// The monitors that `monitor` combines, or `monitor` itself if it is not a composite. A composite that contains
/// itself ends at the greatest depth, and one that is too large after the bound.
pub(super) fn leaves<'a>(monitor: &'a MonitorSpec, spec: &'a PolicySpec) -> Vec<Leaf<'a>> {
    Gathering::below(monitor, spec).found
}

/// Whether all that `monitor` combines can be visited: see [`MAX_VISITED`].
pub(super) fn is_bounded(monitor: &MonitorSpec, spec: &PolicySpec) -> bool {
    let Gathering { found, visited, .. } = Gathering::below(monitor, spec);
    visited <= MAX_VISITED && found.len() <= MAX_COMPOSITE_CHECKS
}

struct Gathering<'a> {
    spec: &'a PolicySpec,
    found: Vec<Leaf<'a>>,
    visited: usize,
}

impl<'a> Gathering<'a> {
    fn below(monitor: &'a MonitorSpec, spec: &'a PolicySpec) -> Gathering<'a> {
        let mut gathering = Gathering { spec, found: Vec::new(), visited: 0 };
        gathering.gather(Leaf { monitor, is_inverted: false }, MAX_COMPOSITE_DEPTH);
        gathering
    }

    fn gather(&mut self, from: Leaf<'a>, depth_left: usize) {
        let Some(CompositeSpec { rule, members }) = from.monitor.composite() else {
            self.found.push(from);
            return;
        };
        let is_inverted = from.is_inverted || *rule == Rule::Not;
        for member in members {
            if depth_left == 0 || self.found.len() > MAX_COMPOSITE_CHECKS || self.visited > MAX_VISITED {
                return;
            }
            self.visited += 1;
            if let Some(monitor) = self.spec.monitor(&member.value) {
                self.gather(Leaf { monitor, is_inverted }, depth_left - 1);
            }
        }
    }
}

/// Finds composites of unknown monitors, of themselves, and of too many monitors. Members count as used.
pub(super) fn check<'a>(spec: &'a PolicySpec, monitors: &mut Declared<'a, &'a MonitorSpec>, problems: &mut Problems) {
    for member in spec.monitors.iter().filter_map(MonitorSpec::composite).flat_map(|keys| &keys.members) {
        monitors.find(member, problems);
    }
    let mut walk = Walk { monitors, depths: HashMap::new(), path: Vec::new(), has_loop: false, is_cut: false };
    for monitor in &spec.monitors {
        walk.is_cut = false;
        walk.depth(monitor, problems);
        if walk.is_cut {
            too_deep(monitor, problems);
        }
    }
    if walk.has_loop {
        return;
    }
    for monitor in spec.monitors.iter().filter(|monitor| leaves(monitor, spec).len() > MAX_COMPOSITE_CHECKS) {
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
    /// Whether composites below the present one were not visited, because they are too deep.
    is_cut: bool,
}

impl<'a> Walk<'_, 'a> {
    /// How many composites are nested in it, itself included; 0 for other monitors. A loop is one problem. The walk
    /// ends below the greatest depth: a chain of composites may be as long as the file.
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
        if self.path.len() > MAX_COMPOSITE_DEPTH {
            self.is_cut = true;
            return MAX_COMPOSITE_DEPTH + 1;
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
            too_deep(monitor, problems);
        }
        below + 1
    }
}

fn too_deep(monitor: &MonitorSpec, problems: &mut Problems) {
    let message = format!("`{}` is more than {MAX_COMPOSITE_DEPTH} composites deep", monitor.name.value);
    problems.error(&monitor.name.place, message).hint("name what is below in it directly");
}
