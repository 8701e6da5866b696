//! The keys of composite monitors: `all`, `any` and `not` over others of the file. Nothing is sent for themselves, so
//! they have no key but those.

use crate::config::fields::{Fields, text};
use crate::config::problem::Problems;
use crate::config::source::{At, Place};
use crate::config::spec::KindSpec;
use crate::model::composite::{MAX_COMPOSITE_CHECKS, Rule};

/// What a composite monitor is made of; names are still only names.
#[derive(Debug, Clone)]
pub(in crate::config) struct CompositeKeys {
    /// How.
    pub(in crate::config) rule: Rule,
    /// Of which monitors: one at least.
    pub(in crate::config) members: Vec<At<String>>,
}

/// Keys of the monitors below, not of the composite.
const OF_MEMBERS: [&str; 9] = ["port", "interval", "timeout", "fall", "rise", "hold_down", "damping", "hold", "quorum"];

/// What is written of members, and of what a composite has none of.
pub(super) struct Written {
    monitors: Option<At<Vec<At<String>>>>,
    monitor: Option<At<String>>,
    of_members: Vec<(&'static str, Place)>,
    has: [bool; 2],
    places: [Option<Place>; 2],
}

/// To be called before the keys of probes are read.
pub(super) fn read(fields: &mut Fields, problems: &mut Problems) -> Written {
    let of_members = OF_MEMBERS.into_iter().filter_map(|key| Some((key, fields.place_of(key)?))).collect();
    let has = ["monitors", "monitor"].map(|key| fields.has(key));
    let places = ["monitors", "monitor"].map(|key| fields.place_of(key));
    let example = "[\"web\", \"db\"]";
    let monitors = fields.list("monitors", example, problems).map(|list| {
        let names = list.value.into_iter().filter_map(|node| text(node, "monitors", "\"web\"", problems));
        At { value: names.collect(), place: list.place }
    });
    let monitor = fields.text("monitor", "\"maintenance\"", problems);
    Written { monitors, monitor, of_members, has, places }
}

impl Written {
    /// For a composite monitor called `what`, declared at `place`.
    pub(super) fn of_composite(
        &self,
        rule: Rule,
        what: &str,
        place: &Place,
        problems: &mut Problems,
    ) -> Option<KindSpec> {
        for (key, place) in &self.of_members {
            let problem =
                problems.error(place, format!("{what} has `{key}`, which is for the monitors that it is made of"));
            problem.hint("write it there");
        }
        let (wanted, other, example) = match rule {
            Rule::All | Rule::Any => (0, 1, "`monitors = [\"web\", \"db\"]`"),
            Rule::Not => (1, 0, "`monitor = \"maintenance\"`"),
        };
        let word = rule.as_str();
        if let Some(place) = &self.places[other] {
            let key = ["monitors", "monitor"][other];
            problems
                .error(place, format!("{what} has `{key}`, which `{word}` monitors don't have"))
                .hint(format!("write {example}"));
        } else if !self.has[wanted] {
            let key = ["monitors", "monitor"][wanted];
            problems.error(place, format!("{what} has no `{key}`")).hint(format!("write {example}"));
        }
        let members: Vec<At<String>> = match rule {
            Rule::All | Rule::Any => {
                let list = self.monitors.as_ref()?;
                if list.value.is_empty() || list.value.len() > MAX_COMPOSITE_CHECKS {
                    let message =
                        format!("{what} is made of 1 to {MAX_COMPOSITE_CHECKS} monitors, not {}", list.value.len());
                    problems.error(&list.place, message);
                    return None;
                }
                list.value.clone()
            }
            Rule::Not => vec![self.monitor.clone()?],
        };
        for (nth, member) in members.iter().enumerate() {
            if members[..nth].iter().any(|earlier| earlier.value == member.value) {
                problems.error(&member.place, format!("`{}` is listed twice", member.value)).hint("leave one out");
            }
        }
        Some(KindSpec::Composite(CompositeKeys { rule, members }))
    }

    /// For a monitor of another type.
    pub(super) fn of_other(&self, what: &str, problems: &mut Problems) {
        for (key, place) in ["monitors", "monitor"].into_iter().zip(&self.places) {
            if let Some(place) = place {
                let whose = if key == "monitor" { "not monitors have" } else { "all and any monitors have" };
                problems.error(place, format!("{what} has `{key}`, which only {whose}"));
            }
        }
    }
}
