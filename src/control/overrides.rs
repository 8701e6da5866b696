//! The book of overrides: which targets are overridden, until when, and which override counts for each endpoint of a
//! model. Plain values. The daemon's steering task owns the book and writes it to the state directory.

mod followed;
mod stated;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::target::{Index, Rank, Target, endpoints_of, no_target};
use crate::control::unanswered::UnansweredQuestions;
use crate::model::{EndpointId, Model, Override, OverrideState};
use crate::printable::is_unprintable;
use crate::source::did_you_mean;
use crate::wire::Name;

/// Most overrides at a time. Judgment: a larger change is a new policy and belongs in the files.
pub const MAX_OVERRIDES: usize = 10_000;

/// Most overrides that count only in zones of one token, and of all tokens with zones together. Judgment: a team drains
/// less, and the rest stays for the operators of all zones.
const MAX_OF_ZONES: usize = 1000;
const MAX_WITH_ZONES: usize = 5000;

/// With more overrides there is no hint that names others: finding them would take long.
const MOST_FOR_HINT: usize = 100;

/// Longest `why` in characters: one line in a log or a table.
pub const MAX_WHY: usize = 256;

/// Longest duration of an override. Without a duration it lasts until it is cleared.
pub const MAX_FOR: Duration = Duration::from_secs(366 * 86_400);

/// The end of the year 9999. Later years have five digits, which RFC 3339 can't write.
const LAST_TIME: u64 = 253_402_300_799;

/// Every override that has not ended, the oldest first: one for each target and the zones in which it counts. Overrides
/// of one target that count in different zones exist together, so that a token for a zone replaces nothing that counts
/// elsewhere, also while the other zones are not served.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Book {
    entries: Vec<Arc<Override>>,
}

/// Why a change of the overrides is refused.
#[derive(Debug, Clone, PartialEq)]
pub enum OverrideError {
    /// The target matches no endpoint. The text suggests a similar one.
    NoTarget(String),
    /// The target has no override to clear. The text names overrides of the same endpoints.
    NotOverridden(String),
    /// The override is malformed. The text describes a correct one.
    Malformed(String),
    /// The target matches endpoints outside the zones of the token. The text names them.
    OutsideZones(String),
    /// Some clients would get no answer any more, and the operator did not confirm that.
    Unconfirmed(Box<UnansweredQuestions>),
    /// The book is full.
    Full,
    /// Tokens with zones have as many overrides as they may.
    FullForZones,
}

impl std::fmt::Display for OverrideError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OverrideError::NoTarget(why)
            | OverrideError::NotOverridden(why)
            | OverrideError::Malformed(why)
            | OverrideError::OutsideZones(why) => f.write_str(why),
            OverrideError::Unconfirmed(unanswered) => write!(
                f,
                "{}; nothing was changed: if you mean it, confirm it with --yes (in the API: \"confirm\": true)",
                unanswered.sentence("would get")
            ),
            OverrideError::Full => write!(f, "there are {MAX_OVERRIDES} overrides, which is the most: clear some"),
            OverrideError::FullForZones => write!(
                f,
                "there are too many overrides of tokens with zones: at most {MAX_OF_ZONES} for the same zones, and \
                 {MAX_WITH_ZONES} in all: clear some, or use a glob, a pool, a region or a zone"
            ),
        }
    }
}

impl Book {
    /// A book with these overrides, the oldest first. Of two with one target and the same zones the later one counts.
    /// An error if there are too many.
    pub fn of(all: Vec<Override>) -> Result<Book, String> {
        if all.len() > MAX_OVERRIDES {
            return Err(format!("there are {} overrides in it, over {MAX_OVERRIDES}", all.len()));
        }
        let mut known = HashSet::new();
        let mut entries: Vec<&Override> =
            all.iter().rev().filter(|entry| known.insert(OverrideKey::of(entry))).collect();
        entries.reverse();
        Ok(Book { entries: entries.into_iter().cloned().map(Arc::new).collect() })
    }

    /// All overrides, the oldest first.
    pub fn entries(&self) -> &[Arc<Override>] {
        &self.entries
    }

    /// Moves the ends of all overrides by `by` seconds: the clock that they are written in was set.
    pub fn shift(&mut self, by: f64) {
        for entry in &mut self.entries {
            if let Some(until) = entry.until {
                *entry = Arc::new(Override { until: Some(until + by), ..Override::clone(entry) });
            }
        }
    }

    /// Adds an override. Its target must match an endpoint of `model`, and none outside its zones. Returns the override
    /// that it replaces: that of the same target and zones.
    pub fn put(&mut self, entry: Override, model: &Model) -> Result<Option<Arc<Override>>, OverrideError> {
        let found = matching(&entry, model)?;
        check_zones(&entry.target, &found, entry.zones.as_deref(), model)?;
        self.insert(entry)
    }

    /// The override of the same target that counts in the same zones.
    fn position_of(&self, entry: &Override) -> Option<usize> {
        let OverrideKey { target, zones } = OverrideKey::of(entry);
        let has_same_zones = |known: &Override| zone_set(known.zones.as_deref()) == zones;
        self.entries.iter().position(|known| target.is_written(&known.target) && has_same_zones(known))
    }

    /// Removes the overrides of a target and returns them, the newest first. With `zones`, those that count in no other
    /// zone; `None`: all.
    pub fn clear(
        &mut self,
        target: &str,
        zones: Option<&[Name]>,
        model: &Model,
    ) -> Result<Vec<Arc<Override>>, OverrideError> {
        let parsed = Target::parse(target);
        let is_of_target = |entry: &Override| parsed.is_written(&entry.target);
        let may_clear = |entry: &Override| zones.is_none_or(|zones| counts_only_in(entry, &parsed, zones));
        let (mut cleared, others): (Vec<_>, Vec<_>) =
            self.entries.iter().cloned().partition(|entry| is_of_target(entry) && may_clear(entry));
        if cleared.is_empty() {
            return Err(self.why_not_cleared(target, zones, model));
        }
        self.entries = others;
        cleared.reverse();
        Ok(cleared)
    }

    fn why_not_cleared(&self, target: &str, zones: Option<&[Name]>, model: &Model) -> OverrideError {
        let parsed = Target::parse(target);
        let found = endpoints_of(target, model);
        if let Err(outside) = check_zones(target, &found, zones, model) {
            return outside;
        }
        let of_target = self.entries.iter().find(|entry| parsed.is_written(&entry.target));
        if let (Some(entry), Some(zones)) = (of_target, zones) {
            let counts_in = entry.zones.as_deref().map_or("all zones".to_owned(), names_of);
            let whose = format!("{}, and {}'s override of `{target}`", of_zones(zones), entry.who);
            return OverrideError::OutsideZones(format!("{whose} counts in {counts_in}"));
        }
        OverrideError::NotOverridden(match found.is_empty() {
            true => no_target(target, model),
            false => {
                let others = self.other_overrides(target, model);
                format!("there is no override of `{target}` to clear{others}")
            }
        })
    }

    /// Removes the overrides that end at `now` (Unix seconds) or earlier, and returns them.
    pub fn expire(&mut self, now: f64) -> Vec<Arc<Override>> {
        let has_ended = |entry: &Override| entry.until.is_some_and(|until| until <= now);
        let ended: Vec<Arc<Override>> = self.all().into_iter().filter(|entry| has_ended(entry)).collect();
        self.entries.retain(|entry| !has_ended(entry));
        ended
    }

    /// When the next override ends by itself, in Unix seconds.
    pub fn next_end(&self) -> Option<f64> {
        self.entries.iter().filter_map(|entry| entry.until).min_by(f64::total_cmp)
    }

    /// The override of each endpoint of `model`. If several targets match an endpoint, the narrowest counts; if two
    /// are equally narrow, the newer counts.
    pub fn resolve(&self, model: &Model) -> HashMap<EndpointId, Arc<Override>> {
        if self.entries.is_empty() {
            return HashMap::new();
        }
        let index = Index::of(model);
        let mut by_rank: Vec<(Rank, Target, &Arc<Override>)> = self
            .entries
            .iter()
            .map(|entry| (Target::parse(&entry.target), entry))
            .map(|(target, entry)| (target.rank(), target, entry))
            .collect();
        // The sort is stable: a newer override stays after an older one of the same rank, and replaces it below.
        by_rank.sort_by_key(|(rank, _, _)| *rank);
        let mut resolved = HashMap::new();
        for (_, target, entry) in by_rank {
            let found = index.endpoints(&target).into_iter().filter(|id| is_inside(entry, *id, model));
            resolved.extend(found.map(|id| (id, entry.clone())));
        }
        resolved
    }

    /// The overrides whose target matches no endpoint of `model`. They stay in the book, because the endpoint may
    /// come back.
    pub fn without_endpoints(&self, model: &Model) -> Vec<Arc<Override>> {
        let index = Index::of(model);
        let has_no_endpoint = |entry: &Arc<Override>| {
            !index.endpoints(&Target::parse(&entry.target)).into_iter().any(|id| is_inside(entry, id, model))
        };
        self.all().into_iter().filter(has_no_endpoint).collect()
    }

    /// All overrides, in the order of the targets.
    pub fn all(&self) -> Vec<Arc<Override>> {
        let mut all = self.entries.clone();
        all.sort_by(|a, b| a.target.cmp(&b.target));
        all
    }

    /// A hint that names the overrides of other targets that count for the same endpoints.
    fn other_overrides(&self, target: &str, model: &Model) -> String {
        if self.entries.len() > MOST_FOR_HINT {
            return String::new();
        }
        let resolved = self.resolve(model);
        let mut others: Vec<String> = endpoints_of(target, model)
            .iter()
            .filter_map(|id| resolved.get(id))
            .map(|entry| format!("`{}`", entry.target))
            .collect();
        others.sort_unstable();
        others.dedup();
        match others.is_empty() {
            true => String::new(),
            false => format!("; there is one of {}", others.join(", ")),
        }
    }
}

/// What is unique in a book: a target, and the zones in which the override counts.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OverrideKey<'e> {
    target: Target,
    /// Each zone once, in order; `None`: all zones.
    zones: Option<Vec<&'e Name>>,
}

impl OverrideKey<'_> {
    fn of(entry: &Override) -> OverrideKey<'_> {
        OverrideKey { target: Target::parse(&entry.target), zones: zone_set(entry.zones.as_deref()) }
    }
}

fn zone_set(zones: Option<&[Name]>) -> Option<Vec<&Name>> {
    let mut all: Vec<&Name> = zones?.iter().collect();
    all.sort_unstable();
    all.dedup();
    Some(all)
}

/// Whether an override of `target` can count only in `zones`, whatever the files have later.
fn counts_only_in(entry: &Override, target: &Target, zones: &[Name]) -> bool {
    let of_target = target.zone().and_then(|zone| Name::parse(zone).ok());
    of_target.is_some_and(|zone| zones.contains(&zone))
        || entry.zones.as_deref().is_some_and(|of_entry| is_within(of_entry, zones))
}

fn is_within(some: &[Name], zones: &[Name]) -> bool {
    some.iter().all(|zone| zones.contains(zone))
}

/// Whether an override counts for an endpoint that its target matches: it is in the zones of the operator.
pub(super) fn is_inside(entry: &Override, id: EndpointId, model: &Model) -> bool {
    entry.zones.as_ref().is_none_or(|zones| zones.contains(&model.zone(model.endpoint(id).zone).apex))
}

/// The endpoints that the target of an override matches. An error if there are none, or if its reason can't be used.
fn matching(entry: &Override, model: &Model) -> Result<Vec<EndpointId>, OverrideError> {
    check_why(&entry.why).map_err(OverrideError::Malformed)?;
    let found = endpoints_of(&entry.target, model);
    match found.is_empty() {
        true => Err(OverrideError::NoTarget(no_target(&entry.target, model))),
        false => Ok(found),
    }
}

/// Refuses a target with endpoints outside `zones`, and names some of them.
fn check_zones(target: &str, found: &[EndpointId], zones: Option<&[Name]>, model: &Model) -> Result<(), OverrideError> {
    /// Most endpoints that the message names (judgment).
    const NAMED: usize = 8;
    let Some(zones) = zones else { return Ok(()) };
    let apex = |id: &EndpointId| &model.zone(model.endpoint(*id).zone).apex;
    let outside: Vec<&EndpointId> = found.iter().filter(|id| !zones.contains(apex(id))).collect();
    if outside.is_empty() {
        return Ok(());
    }
    let named = outside.iter().take(NAMED).map(|id| format!("{}/{}", apex(id), model.endpoint(**id).name));
    let more = match outside.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = named.collect::<Vec<_>>().join(", ");
    Err(OverrideError::OutsideZones(format!("{}, and `{target}` also matches {named}{more}", of_zones(zones))))
}

/// `this token is for a.example. and b.example.`, for errors.
pub(crate) fn of_zones(zones: &[Name]) -> String {
    format!("this token is for {}", names_of(zones))
}

fn names_of(zones: &[Name]) -> String {
    zones.iter().map(Name::to_string).collect::<Vec<_>>().join(", ")
}

/// An override in the JSON of the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OverrideReport {
    /// The TARGET, as it was written.
    pub target: String,
    /// `drain`, `up` or `down`.
    pub state: String,
    /// The reason that the operator gave.
    pub why: String,
    /// The name of the operator's token.
    pub who: String,
    /// When it ends by itself, in Unix seconds; `null` if it lasts until it is cleared.
    pub until: Option<f64>,
    /// The zones in which it counts; absent if in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<Vec<String>>,
    /// Whether the state directory has it, so that it outlives a restart; absent where that is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_disk: Option<bool>,
    /// Which servers of the fleet have it; absent without a fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<OverrideSpread>,
}

/// How far an override has come in the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OverrideSpread {
    /// The server that got the command.
    pub node: String,
    /// Whether the fleet has it; otherwise only this server does, until NATS is back.
    pub shared: bool,
    /// The servers that serve it, sorted.
    pub taken: Vec<String>,
    /// The servers that do not serve it yet, or are silent.
    pub missing: Vec<String>,
}

impl OverrideSpread {
    /// Where the override is not in force yet; `None`: all servers serve it.
    pub fn problem(&self) -> Option<String> {
        match (self.shared, self.missing.is_empty()) {
            (false, _) => Some("not yet shared with the fleet".to_owned()),
            (true, false) => Some(format!("not in force yet at {}", self.missing.join(", "))),
            (true, true) => None,
        }
    }
}

impl From<&Override> for OverrideReport {
    fn from(entry: &Override) -> OverrideReport {
        OverrideReport {
            target: entry.target.clone(),
            state: entry.state.as_str().to_owned(),
            why: entry.why.clone(),
            who: entry.who.clone(),
            until: entry.until,
            zones: entry.zones.as_ref().map(|zones| zones.iter().map(Name::to_string).collect()),
            on_disk: None,
            fleet: None,
        }
    }
}

/// The zones of a report.
pub(crate) fn zones_of(report: &OverrideReport) -> Result<Option<Arc<[Name]>>, String> {
    let parse = |zone: &String| Name::parse(zone).map_err(|error| format!("`{zone}` is no name of a zone: {error}"));
    report.zones.as_ref().map(|zones| zones.iter().map(parse).collect()).transpose()
}

/// The state with this name in the API.
pub fn state_of(text: &str) -> Result<OverrideState, String> {
    let all = [OverrideState::Drain, OverrideState::Up, OverrideState::Down];
    all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
        let hint = did_you_mean(text, all.map(OverrideState::as_str)).unwrap_or_default();
        format!("`{text}` is no state of an override: {hint}")
    })
}

/// The duration in the `for` of a request.
pub fn duration_of(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text.trim())
        .map_err(|error| format!("`{text}` is no length of time ({error}); write 30s, 15m, 2h or 3days"))?;
    match time {
        Duration::ZERO => Err("an override for no time at all changes nothing; write 30s, 15m, 2h or 3days".to_owned()),
        time if time > MAX_FOR => Err(format!("`{text}` is over 366 days; leave it out for until it is cleared")),
        time => Ok(time),
    }
}

/// A Unix time as text, to the second: `2026-11-23 04:15:00 UTC`.
pub fn utc(unix_seconds: f64) -> String {
    let since = Duration::try_from_secs_f64(unix_seconds).unwrap_or_default().min(Duration::from_secs(LAST_TIME));
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since).to_string().replace('T', " ").replace('Z', " UTC")
}

/// Checks that `why` is one line with at least one visible character.
pub fn check_why(why: &str) -> Result<(), String> {
    let length = why.chars().count();
    if why.chars().all(|c| c.is_whitespace() || is_invisible(c)) {
        return Err("say why: the next operator on call needs the reason".to_owned());
    }
    if why.chars().any(|c| is_unprintable(c) && !is_invisible(c)) {
        return Err("why is one line of text, without control characters".to_owned());
    }
    if length > MAX_WHY {
        return Err(format!("why has at most {MAX_WHY} characters, not {length}"));
    }
    Ok(())
}

/// Characters that print nothing.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
}

#[cfg(test)]
mod tests;
