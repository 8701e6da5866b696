//! `all`, `any` and `not`: combinations of other monitors of the file.

use crate::config::fields::Fields;
use crate::config::keys::{KeyGroup as _, keys, list, name};
use crate::config::monitor::{Body, Definition, Group, PortRule};
use crate::model::monitor::composite::{MAX_COMPOSITE_CHECKS, Rule};
use crate::source::{At, Problems};

const MEMBERS: &str = "[\"web\", \"db\"]";

keys! {
    /// The key of `all` and `any`.
    Members {
        /// the monitors that are combined
        monitors: Vec<At<String>> = list(name(MEMBERS), MEMBERS).sized(1..=MAX_COMPOSITE_CHECKS),
            required &format!("write `monitors = {MEMBERS}`");
    }
}

keys! {
    /// The key of `not`.
    Member {
        /// the monitor whose result is inverted
        monitor: String = name("\"maintenance\""), required "write `monitor = \"maintenance\"`";
    }
}

/// What a composite monitor is made of; names are still only names.
#[derive(Debug, Clone)]
pub(in crate::config) struct CompositeSpec {
    /// How.
    pub(in crate::config) rule: Rule,
    /// Of which monitors: at least one.
    pub(in crate::config) members: Vec<At<String>>,
}

pub(super) const ALL: Definition = Definition {
    groups: &[Group::of::<Members>()],
    port: PortRule::Without,
    can_hold: false,
    read: |fields, problems| several(Rule::All, fields, problems),
    refuse: |key| refuse("all", key, "monitor", "write `monitors = [\"web\", \"db\"]`"),
};

pub(super) const ANY: Definition = Definition {
    read: |fields, problems| several(Rule::Any, fields, problems),
    refuse: |key| refuse("any", key, "monitor", "write `monitors = [\"web\", \"db\"]`"),
    ..ALL
};

pub(super) const NOT: Definition = Definition {
    groups: &[Group::of::<Member>()],
    read: |fields, problems| {
        let member = Member::take(fields, problems).monitor?;
        Some(Body::Composite(CompositeSpec { rule: Rule::Not, members: vec![member] }))
    },
    refuse: |key| refuse("not", key, "monitors", "write `monitor = \"maintenance\"`"),
    ..ALL
};

fn several(rule: Rule, fields: &mut Fields, problems: &mut Problems) -> Option<Body> {
    let At { value: members, place } = Members::take(fields, problems).monitors?;
    if !(1..=MAX_COMPOSITE_CHECKS).contains(&members.len()) {
        let what = fields.head().what();
        let message = format!("{what} is made of 1 to {MAX_COMPOSITE_CHECKS} monitors, not {}", members.len());
        problems.error(&place, message);
        return None;
    }
    for (nth, member) in members.iter().enumerate() {
        if members[..nth].iter().any(|earlier| earlier.value == member.value) {
            problems.error(&member.place, format!("`{}` is listed twice", member.value)).hint("leave one out");
        }
    }
    Some(Body::Composite(CompositeSpec { rule, members }))
}

/// Keys of the monitors below, not of the composite.
const OF_MEMBERS: [&str; 9] = ["port", "interval", "timeout", "fall", "rise", "hold_down", "damping", "hold", "quorum"];

fn refuse(of: &str, key: &str, other: &str, instead: &str) -> Option<(String, String)> {
    if key == other {
        return Some((format!("which `{of}` monitors don't have"), instead.to_owned()));
    }
    let which = "which is for the monitors that it is made of";
    OF_MEMBERS.contains(&key).then(|| (which.to_owned(), "write it there".to_owned()))
}
