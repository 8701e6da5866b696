//! The override that an event is about, with all that another server needs to make the same one: the vocabulary of the
//! API. Pure.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An override that was made, or has ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct OverrideData {
    /// The TARGET, as it was written.
    pub target: String,
    /// `drain`, `up` or `down`; `none`: it has ended.
    pub state: String,
    /// The reason that the operator gave.
    #[serde(default)]
    pub why: String,
    /// The operator, or the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// When it ends by itself, in Unix seconds; absent: when it is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<f64>,
    /// In place of `until`: for how long after the time of the event, such as `2h`. Only other programs write it.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lasting: Option<String>,
    /// The zones in which it counts; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<Vec<String>>,
    /// Whether it was confirmed that some clients may get no answer any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirm: bool,
}

impl OverrideData {
    /// The names of all fields.
    pub const FIELDS: [&str; 8] = ["target", "state", "why", "who", "until", "for", "zones", "confirm"];

    /// All of its texts, to change them.
    pub fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let OverrideData { target, state, why, who, until: _, lasting, zones, confirm: _ } = self;
        [target, state, why].into_iter().chain(who).chain(lasting).chain(zones.iter_mut().flatten())
    }

    /// All of its texts.
    pub fn texts(&self) -> impl Iterator<Item = &String> {
        let OverrideData { target, state, why, who, until: _, lasting, zones, confirm: _ } = self;
        [target, state, why].into_iter().chain(who).chain(lasting).chain(zones.iter().flatten())
    }
}
