//! `[defaults]` and `[ecs]`: how the names of a zone are answered.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::fields::wrong_type;
use crate::config::keys::{KeyKind, NAME, Table, boolean, custom, duration, inline, integer, keys, list, text, texts};
use crate::config::node::{Kind, Node};
use crate::model::{Ecs, MAX_ANSWERS, ON_EMPTY_WORDS, Ttl};
use crate::source::{At, Problems};

/// Longest TTL (RFC 2181, 8).
const MAX_TTL: Duration = Duration::from_secs(i32::MAX as u64);
/// Most entries of `on_empty`. Judgment: nobody has so many levels of last resort.
const MAX_ON_EMPTY: usize = 8;

keys! {
    /// How a name is answered: its own keys, or those of `[defaults]`.
    Answering in Defaults {
        /// the TTL of a reply is the time until the answer can change next, but not less than `min` and not more than
        /// `max`. `ttl = "5s"` sets both. Whole seconds
        ttl: Ttl = custom(ttl, ttl_schema), inherits ttl_json();
        /// the most records in a reply, 1 to 64. Without this key, a pool that steers `all` gives every member that is
        /// up
        answers: usize = integer(1..=MAX_ANSWERS as i64), inherits json!(1);
        /// what is answered when nothing is up, see below
        on_empty: Vec<At<String>> = custom(on_empty, on_empty_schema), inherits json!("last_good");
    }
}

keys! {
    /// `ttl = { max = "20s", min = "5s" }`.
    TtlBounds {
        /// the longest TTL
        max: Duration = custom(seconds, seconds_schema), inherits ttl_json()["max"].clone();
        /// the shortest TTL
        min: Duration = custom(seconds, seconds_schema), inherits ttl_json()["min"].clone();
    }
}

impl Table for TtlBounds {}

keys! {
    /// `[ecs]`.
    EcsKeys in Ecs {
        /// `false`: the resolver's own address is the client
        "use" enabled: bool = boolean(), default Ecs::default().enabled;
        /// at most this many bits of the client's subnet are used for a decision
        v4: u8 = integer(0..=32), default Ecs::default().v4;
        /// at most this many bits of the client's subnet are used for a decision
        v6: u8 = integer(0..=128), default Ecs::default().v6;
    }
}

impl EcsKeys {
    /// As the model has it.
    pub(in crate::config) fn rule(&self) -> Ecs {
        Ecs { enabled: *self.enabled, v4: *self.v4, v6: *self.v6 }
    }
}

fn ttl_json() -> Json {
    let Ttl { max, min } = Ttl::default();
    let [max, min] = [max, min].map(|bound| humantime::format_duration(bound).to_string());
    json!({ "max": max, "min": min })
}

fn ttl_schema() -> Json {
    json!({ "anyOf": [seconds_schema(), TtlBounds::schema()] })
}

fn ttl(key: &At<String>, node: Node, problems: &mut Problems) -> Option<Ttl> {
    let place = node.place.clone();
    match node.kind {
        Kind::Text(_) | Kind::Loose(_) => seconds(key, node, problems).map(|ttl| Ttl { max: ttl, min: ttl }),
        Kind::Table(_) => {
            let bounds = inline::<TtlBounds>("").read(key, node, problems)?;
            let [max, min] = [bounds.max, bounds.min].map(|bound| bound.map(|at| at.value));
            let usual = Ttl::default();
            // A single bound moves the other one, so that they don't contradict each other.
            let max = max.unwrap_or_else(|| usual.max.max(min.unwrap_or_default()));
            let min = min.unwrap_or_else(|| usual.min.min(max));
            if min > max {
                let [min, max] = [min, max].map(humantime::format_duration);
                let problem = problems.error(&place, format!("`ttl.min` ({min}) is over `ttl.max` ({max})"));
                problem.hint("write the smaller one as `min`");
                return None;
            }
            Some(Ttl { max, min })
        }
        other => {
            let wrong = wrong_type(&place, "`ttl`", "a length of time or a table", other.described(), problems);
            wrong.hint("write `ttl = \"20s\"` or `ttl = { max = \"20s\", min = \"5s\" }`");
            None
        }
    }
}

fn seconds_schema() -> Json {
    duration(Duration::ZERO..=MAX_TTL, "").schema()
}

/// A length of time in whole seconds, as DNS counts.
fn seconds(key: &At<String>, node: Node, problems: &mut Problems) -> Option<Duration> {
    let place = node.place.clone();
    let found = duration(Duration::ZERO..=MAX_TTL, "\"20s\"").read(key, node, problems)?;
    if found.subsec_nanos() == 0 {
        return Some(found);
    }
    let (key, shown) = (&key.value, humantime::format_duration(found));
    let problem = problems.error(&place, format!("`{key}` must be whole seconds, not {shown}"));
    problem.hint(format!("DNS counts in seconds: write `{key} = \"{}s\"`", found.as_secs() + 1));
    None
}

fn on_empty_schema() -> Json {
    let entry =
        json!({ "anyOf": [{ "type": "string", "enum": ON_EMPTY_WORDS }, { "type": "string", "pattern": NAME }] });
    let mut entries = list(text(""), "").sized(1..=MAX_ON_EMPTY).schema();
    entries["items"] = entry.clone();
    entries["uniqueItems"] = json!(true);
    json!({ "anyOf": [entry["anyOf"][0], entry["anyOf"][1], entries] })
}

/// `on_empty = "all"` or `on_empty = ["sorry", "nodata"]`.
fn on_empty(key: &At<String>, node: Node, problems: &mut Problems) -> Option<Vec<At<String>>> {
    let (place, example) = (node.place.clone(), "\"last_good\"");
    let Kind::List(items) = &node.kind else {
        return text(example).read(key, node, problems).map(|value| vec![At { value, place }]);
    };
    let written = items.len();
    if !(1..=MAX_ON_EMPTY).contains(&written) {
        let problem = problems.error(&place, format!("`on_empty` must have 1 to {MAX_ON_EMPTY} entries"));
        let rule = "the first one that is up is answered, the last one in any case";
        problem.hint(format!("write `on_empty = [\"sorry\", \"nodata\"]`: {rule}"));
        return None;
    }
    texts(example).read(key, node, problems).filter(|entries| entries.len() == written)
}
