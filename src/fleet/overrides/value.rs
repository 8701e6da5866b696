//! A change as a value of the bucket: JSON, versioned. What other servers wrote is read within bounds.

use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::fleet::overrides::{FleetOverride, MAX_AGE, MAX_LEFT, OverrideEffect, TimedOverride, millis};
use crate::model::OverrideState;
use crate::printable::is_unprintable;
use crate::wire::Name;

/// The version of the values.
const VERSION: u32 = 1;
/// The longest value that is read, in octets: the longest texts, and the zones of a token.
pub(super) const MAX_VALUE: usize = 64 << 10;
/// The longest target, in octets: a zone with `\DDD` escapes and a name take about 1,300.
const MAX_TARGET: usize = 2048;
/// The longest name of an operator or a node, in octets.
const MAX_NAME: usize = 255;
/// The longest reason, in octets: 256 characters of four octets, as the API accepts.
const MAX_WHY: usize = 1024;
/// Most zones of one override (judgment: far more than a token has).
const MAX_ZONES: usize = 1000;

/// Why a value of the bucket can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnusableOverride {
    /// A server of a later release wrote it, in this version. It is left alone.
    Version(u32),
    /// It is no override, or exceeds a bound: what is wrong with it.
    Malformed(String),
    /// There are too many.
    TooMany,
}

impl std::fmt::Display for UnusableOverride {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UnusableOverride::Version(version) => write!(f, "version {version}; this server reads version {VERSION}"),
            UnusableOverride::Malformed(why) => f.write_str(why),
            UnusableOverride::TooMany => f.write_str("there are too many overrides in the fleet"),
        }
    }
}

/// The key of a target, by its canonical text, in these sorted zones: 128 bits of SHA-256 in hexadecimal. Targets may
/// have any characters and any length, keys may not.
pub fn key_of(canonical: &str, zones: Option<&[Name]>) -> String {
    let mut text = canonical.as_bytes().to_vec();
    for zone in zones.unwrap_or_default() {
        text.push(b'\n');
        text.extend_from_slice(zone.to_string().to_ascii_lowercase().as_bytes());
    }
    if zones.is_some() {
        text.push(b'\n');
    }
    data_encoding::HEXLOWER.encode(&digest(&SHA256, &text).as_ref()[..16])
}

/// The head of a value of any version.
#[derive(Deserialize)]
struct VersionOfValue {
    v: u32,
}

/// The fields of the JSON. Fields that a later release adds are ignored.
#[derive(Serialize, Deserialize)]
struct OverrideJson {
    v: u32,
    id: String,
    target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zones: Option<Vec<String>>,
    /// `drain`, `up`, `down` or `clear`.
    state: String,
    why: String,
    who: String,
    node: String,
    /// How old the change was when this was written.
    age_ms: u64,
    /// How much time was left then; absent: it lasts until it is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_ms: Option<u64>,
}

/// A value as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WrittenOverride {
    pub(super) change: FleetOverride,
    pub(super) age: i64,
    pub(super) left: Option<i64>,
}

/// The name of an effect in values and in the state file.
pub(super) fn effect_name(effect: OverrideEffect) -> &'static str {
    match effect {
        OverrideEffect::Set(state) => state.as_str(),
        OverrideEffect::Clear => "clear",
    }
}

/// The effect of a name.
pub(super) fn effect_of(name: &str) -> Option<OverrideEffect> {
    let states = [OverrideState::Drain, OverrideState::Up, OverrideState::Down].map(OverrideEffect::Set);
    states.into_iter().chain([OverrideEffect::Clear]).find(|effect| effect_name(*effect) == name)
}

/// The JSON of a change at `now`.
pub(super) fn to_json(timed: &TimedOverride, now: i64) -> String {
    let TimedOverride { change, made, end } = timed;
    let span = |of: i64, longest: Duration| of.clamp(0, millis(longest)).unsigned_abs();
    let json = OverrideJson {
        v: VERSION,
        id: format!("{:016x}", change.id),
        target: change.target.clone(),
        zones: change.zones.as_ref().map(|zones| zones.iter().map(Name::to_string).collect()),
        state: effect_name(change.effect).to_owned(),
        why: change.why.clone(),
        who: change.who.clone(),
        node: change.node.clone(),
        age_ms: span(now.saturating_sub(*made), MAX_AGE),
        left_ms: end.map(|end| span(end.saturating_sub(now), MAX_LEFT)),
    };
    // Strings and numbers always have a JSON form.
    serde_json::to_string(&json).unwrap_or_default()
}

/// Reads a value.
pub(super) fn from_json(value: &[u8]) -> Result<WrittenOverride, UnusableOverride> {
    let malformed = |why: String| UnusableOverride::Malformed(why);
    if value.len() > MAX_VALUE {
        return Err(malformed(format!("{} octets, over {MAX_VALUE}", value.len())));
    }
    let of_json = |error: serde_json::Error| malformed(error.to_string());
    let VersionOfValue { v } = serde_json::from_slice(value).map_err(of_json)?;
    if v != VERSION {
        return Err(UnusableOverride::Version(v));
    }
    let json: OverrideJson = serde_json::from_slice(value).map_err(of_json)?;
    let OverrideJson { v: _, id, target, zones, state, why, who, node, age_ms, left_ms } = json;
    for (what, text, longest) in [("target", &target, MAX_TARGET), ("who", &who, MAX_NAME), ("node", &node, MAX_NAME)] {
        if text.is_empty() || text.len() > longest || text.chars().any(is_unprintable) {
            return Err(malformed(format!("`{what}` is empty, too long, or has unprintable characters")));
        }
    }
    if why.len() > MAX_WHY || why.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(malformed("`why` is too long, or not one line".to_owned()));
    }
    let effect = effect_of(&state).ok_or_else(|| malformed("`state` is none of an override".to_owned()))?;
    let id = u64::from_str_radix(&id, 16).map_err(|_| malformed("`id` is no number".to_owned()))?;
    let zones = zones.map(zones_of).transpose()?;
    let age = i64::try_from(age_ms).unwrap_or(i64::MAX).min(millis(MAX_AGE));
    let left = left_ms.map(|left| i64::try_from(left).unwrap_or(i64::MAX));
    if left.is_some_and(|left| left > millis(MAX_LEFT)) {
        return Err(malformed("`left_ms` is over a year".to_owned()));
    }
    let left = if effect == OverrideEffect::Clear { None } else { left };
    Ok(WrittenOverride { change: FleetOverride { id, target, zones, effect, who, why, node }, age, left })
}

fn zones_of(texts: Vec<String>) -> Result<Vec<Name>, UnusableOverride> {
    if texts.len() > MAX_ZONES {
        return Err(UnusableOverride::Malformed(format!("{} zones, over {MAX_ZONES}", texts.len())));
    }
    let parsed: Result<Vec<Name>, _> = texts.iter().map(|text| Name::parse(text)).collect();
    let mut zones = parsed.map_err(|_| UnusableOverride::Malformed("a zone is no name".to_owned()))?;
    zones.sort_unstable();
    zones.dedup();
    Ok(zones)
}
