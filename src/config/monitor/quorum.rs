//! `[monitor.NAME.quorum]`: how many vantages and regions must report that something is down, and until when each
//! counts.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::fields::wrong_type;
use crate::config::keys::{Inline, KeyKind as _, Table, custom, duration, inline, keys};
use crate::config::node::{Kind, Node};
use crate::model::quorum::{MAX_NEEDED, MAX_STALE_AFTER, MIN_STALE_AFTER};
use crate::model::{Need, Quorum};
use crate::source::{At, Problems, did_you_mean};

/// The words for how many.
const NEEDS: [(&str, Need); 3] = [("any", Need::Any), ("majority", Need::Majority), ("all", Need::All)];

keys! {
    /// The keys of a quorum.
    QuorumKeys {
        /// how many vantages of a region must see the endpoint as down, so that the region votes for down: `"any"`
        /// (one) · `"majority"` (more than half; a tie means up) · `"all"` · a number, 1 to 100
        per_region: Need = custom(need, need_schema).shown_as(need_json), default Quorum::default().per_region;
        /// how many regions must vote for down, so that the endpoint is down; the same values
        regions_down: Need = custom(need, need_schema).shown_as(need_json), default Quorum::default().regions_down;
        /// a vantage whose last report is older than this has no vote; a vantage reports every second. Health from
        /// before a restart is used for [the same time](#what-outlives-a-restart). 2 s to 1 h
        stale_after: Duration = duration(MIN_STALE_AFTER..=MAX_STALE_AFTER, "\"10s\""),
            default Quorum::default().stale_after;
    }
}

impl Table for QuorumKeys {
    fn check(&mut self, is_clean: bool, problems: &mut Problems) -> bool {
        if is_clean {
            let message = "`quorum` has no effect while this node is the only vantage";
            let problem = problems.note(&self.name.place, message);
            problem.hint("leave it out, or keep it for a fleet of several vantages");
        }
        true
    }
}

/// The key `quorum` of a type of monitor.
pub(super) fn kind() -> Inline<QuorumKeys> {
    inline("{ per_region = \"majority\" }")
}

/// As the model has it.
pub(super) fn rule(keys: Option<At<QuorumKeys>>) -> Quorum {
    keys.map_or_else(Quorum::default, |At { value: keys, .. }| Quorum {
        per_region: *keys.per_region,
        regions_down: *keys.regions_down,
        stale_after: *keys.stale_after,
    })
}

fn need_json(need: &Need) -> Json {
    NEEDS.iter().find(|(_, known)| known == need).map_or(Json::Null, |(word, _)| json!(word))
}

fn need_schema() -> Json {
    let named = NEEDS.map(|(name, _)| name);
    let number = json!({ "type": "integer", "minimum": 1, "maximum": MAX_NEEDED });
    json!({ "anyOf": [{ "type": "string", "enum": named }, number] })
}

/// One of [`NEEDS`], or a whole number.
fn need(key: &At<String>, Node { place, kind }: Node, problems: &mut Problems) -> Option<Need> {
    let (key, mut hint) = (&key.value, None);
    let found = match kind {
        Kind::Text(word) | Kind::Loose(word) => {
            if let Some((_, need)) = NEEDS.iter().find(|(known, _)| *known == word) {
                return Some(*need);
            }
            hint = match word.parse::<u32>() {
                Ok(number) => Some(format!("write `{key} = {number}`, without quotes")),
                Err(_) => did_you_mean(&word, NEEDS.map(|(word, _)| word)),
            };
            format!("\"{word}\"")
        }
        Kind::Integer(number) => match u32::try_from(number) {
            Ok(number @ 1..=MAX_NEEDED) => return Some(Need::AtLeast(number)),
            Ok(_) | Err(_) => number.to_string(),
        },
        other => other.described().to_owned(),
    };
    let expected = format!("\"any\", \"majority\", \"all\" or a whole number from 1 to {MAX_NEEDED}");
    wrong_type(&place, &format!("`{key}`"), &expected, &found, problems).hint = hint;
    None
}
