//! `[monitor.NAME.quorum]`: how many vantages and regions must say that something is down, and until when each counts.

use crate::config::fields::{Fields, wrong_type};
use crate::config::node::{Kind, Node};
use crate::config::problem::{Problems, did_you_mean};
use crate::model::quorum::{MAX_NEEDED, MAX_STALE_AFTER, MIN_STALE_AFTER};
use crate::model::{Need, Quorum};

/// Words for how many, beside a number.
pub(in crate::config) const NEEDS: [&str; 3] = ["any", "majority", "all"];

/// The table, where it is written.
pub(super) fn read(fields: &mut Fields, problems: &mut Problems) -> Quorum {
    let usual = Quorum::default();
    let Some(mut table) = fields.inline("quorum", "{ per_region = \"majority\" }", problems) else { return usual };
    let per_region = need(&mut table, "per_region", problems);
    let regions_down = need(&mut table, "regions_down", problems);
    let stale_after = table.duration("stale_after", MIN_STALE_AFTER..=MAX_STALE_AFTER, "\"10s\"", problems);
    table.finish(&[], problems);
    Quorum {
        per_region: per_region.unwrap_or(usual.per_region),
        regions_down: regions_down.unwrap_or(usual.regions_down),
        stale_after: stale_after.map_or(usual.stale_after, |at| at.value),
    }
}

/// One of [`NEEDS`], or a whole number.
fn need(table: &mut Fields, key: &'static str, problems: &mut Problems) -> Option<Need> {
    let Node { place, kind } = table.take(key)?.value;
    let expected = format!("\"any\", \"majority\", \"all\" or a whole number from 1 to {MAX_NEEDED}");
    let found = match kind {
        Kind::Text(word) | Kind::Loose(word) => match word.as_str() {
            "any" => return Some(Need::Any),
            "majority" => return Some(Need::Majority),
            "all" => return Some(Need::All),
            _ => {
                let problem = problems.error(&place, format!("`{key}` must be {expected}, not \"{word}\""));
                problem.hint = match word.parse::<u32>() {
                    Ok(number) => Some(format!("write `{key} = {number}`, without quotes")),
                    Err(_) => did_you_mean(&word, NEEDS),
                };
                return None;
            }
        },
        Kind::Integer(number) => match u32::try_from(number) {
            Ok(number @ 1..=MAX_NEEDED) => return Some(Need::AtLeast(number)),
            Ok(_) | Err(_) => {
                problems.error(&place, format!("`{key}` must be {expected}, not {number}"));
                return None;
            }
        },
        other => other.described(),
    };
    wrong_type(&place, &format!("`{key}`"), &expected, found, problems);
    None
}
