//! The book of overrides: of endpoints, pools, regions and zones, until when, and which of them counts for each
//! endpoint of a model. Plain values; the daemon's steering task owns the book and keeps it on disk in the form
//! given here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::did_you_mean;
use crate::control::target::{Index, Rank, Target, endpoints_of, no_target};
use crate::control::unanswered::UnansweredQuestions;
use crate::model::{EndpointId, Model, Override, OverrideState};

/// Most overrides at a time (judgment: more than that is another policy, and belongs in the files).
pub const MAX_OVERRIDES: usize = 10_000;

/// Longest `why`, in characters: a line in a log or a table.
pub const MAX_WHY: usize = 256;

/// Longest time that an override can be made for; without a limit it is until it is cleared.
pub const MAX_FOR: Duration = Duration::from_secs(366 * 86_400);

/// The end of the year 9999, the last that can be written with four digits.
const LAST_TIME: u64 = 253_402_300_799;

/// Every override that has not ended, each target once, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "BookFile", try_from = "BookFile")]
pub struct Book {
    entries: Vec<Arc<Override>>,
}

/// Why an override is not taken.
#[derive(Debug, Clone, PartialEq)]
pub enum OverrideError {
    /// The target matches no endpoint; says what is near.
    NoTarget(String),
    /// There is nothing to clear; says what there is.
    NotOverridden(String),
    /// It is not well formed; says what is.
    Malformed(String),
    /// Some clients would get no answer any more, and nobody confirmed that this is meant.
    Unconfirmed(Box<UnansweredQuestions>),
    /// The book is full.
    Full,
}

impl std::fmt::Display for OverrideError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OverrideError::NoTarget(why) | OverrideError::NotOverridden(why) | OverrideError::Malformed(why) => {
                f.write_str(why)
            }
            OverrideError::Unconfirmed(unanswered) => write!(
                f,
                "{}; nothing was changed: if you mean it, confirm it with --yes (in the API: \"confirm\": true)",
                unanswered.sentence("would get")
            ),
            OverrideError::Full => write!(f, "there are {MAX_OVERRIDES} overrides, which is the most: clear some"),
        }
    }
}

impl Book {
    /// The form in which it is kept; a later one may have another number.
    pub const VERSION: u32 = 1;

    /// Takes an override of something that `model` has; gives the one that the same target had before.
    pub fn put(&mut self, said: Override, model: &Model) -> Result<Option<Arc<Override>>, OverrideError> {
        check_why(&said.why).map_err(OverrideError::Malformed)?;
        if endpoints_of(&said.target, model).is_empty() {
            return Err(OverrideError::NoTarget(no_target(&said.target, model)));
        }
        let before = self.take(&said.target);
        if self.entries.len() >= MAX_OVERRIDES {
            return Err(OverrideError::Full);
        }
        self.entries.push(Arc::new(said));
        Ok(before)
    }

    /// Ends an override; gives it.
    pub fn clear(&mut self, target: &str, model: &Model) -> Result<Arc<Override>, OverrideError> {
        self.take(target).ok_or_else(|| {
            OverrideError::NotOverridden(if endpoints_of(target, model).is_empty() {
                no_target(target, model)
            } else {
                format!("there is no override of `{target}` to clear{}", self.overrides_elsewhere(target, model))
            })
        })
    }

    fn take(&mut self, target: &str) -> Option<Arc<Override>> {
        let target = Target::parse(target);
        let at = self.entries.iter().position(|said| Target::parse(&said.target) == target)?;
        Some(self.entries.remove(at))
    }

    /// Ends everything whose time is over at `now` (Unix seconds); gives what that was.
    pub fn expire(&mut self, now: f64) -> Vec<Arc<Override>> {
        let is_over = |said: &Override| said.until.is_some_and(|until| until <= now);
        let over: Vec<Arc<Override>> = self.all().into_iter().filter(|said| is_over(said)).collect();
        self.entries.retain(|said| !is_over(said));
        over
    }

    /// When the next override ends by itself, Unix seconds.
    pub fn next_end(&self) -> Option<f64> {
        self.entries.iter().filter_map(|said| said.until).min_by(f64::total_cmp)
    }

    /// What that makes of each endpoint of `model`: the override of the narrowest target that means it; of two that are
    /// alike in that, the newer.
    pub fn resolve(&self, model: &Model) -> HashMap<EndpointId, Arc<Override>> {
        if self.entries.is_empty() {
            return HashMap::new();
        }
        let index = Index::of(model);
        let mut by_rank: Vec<(Rank, Target, &Arc<Override>)> = self
            .entries
            .iter()
            .map(|said| (Target::parse(&said.target), said))
            .map(|(target, said)| (target.rank(), target, said))
            .collect();
        // Stable: what is newer stays behind what is older.
        by_rank.sort_by_key(|(rank, _, _)| *rank);
        let mut resolved = HashMap::new();
        for (_, target, said) in by_rank {
            resolved.extend(index.endpoints(&target).into_iter().map(|id| (id, said.clone())));
        }
        resolved
    }

    /// Overrides of what `model` doesn't have (any more); they are kept, as it may come back.
    pub fn without_target(&self, model: &Model) -> Vec<Arc<Override>> {
        let index = Index::of(model);
        let is_nothing = |said: &Arc<Override>| index.endpoints(&Target::parse(&said.target)).is_empty();
        self.all().into_iter().filter(is_nothing).collect()
    }

    /// Everything, in the order of the targets.
    pub fn all(&self) -> Vec<Arc<Override>> {
        let mut all = self.entries.clone();
        all.sort_by(|a, b| a.target.cmp(&b.target));
        all
    }

    /// Overrides of other targets that hold for the same endpoints.
    fn overrides_elsewhere(&self, target: &str, model: &Model) -> String {
        let resolved = self.resolve(model);
        let mut others: Vec<String> = endpoints_of(target, model)
            .iter()
            .filter_map(|id| resolved.get(id))
            .map(|said| format!("`{}`", said.target))
            .collect();
        others.sort_unstable();
        others.dedup();
        match others.is_empty() {
            true => String::new(),
            false => format!("; there is one of {}", others.join(", ")),
        }
    }
}

/// An override as the API and the file have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverrideReport {
    /// The TARGET, as it was written.
    pub target: String,
    /// `drain`, `up` or `down`.
    pub state: String,
    /// Why, in the operator's words.
    pub why: String,
    /// The name of the operator's token.
    pub who: String,
    /// When it ends by itself, Unix seconds; `null`: when it is cleared.
    pub until: Option<f64>,
}

impl From<&Override> for OverrideReport {
    fn from(said: &Override) -> OverrideReport {
        OverrideReport {
            target: said.target.clone(),
            state: said.state.as_str().to_owned(),
            why: said.why.clone(),
            who: said.who.clone(),
            until: said.until,
        }
    }
}

/// The form that is kept on disk; the overrides in the order of their age, the oldest first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BookFile {
    version: u32,
    overrides: Vec<OverrideReport>,
}

impl From<Book> for BookFile {
    fn from(book: Book) -> BookFile {
        BookFile {
            version: Book::VERSION,
            overrides: book.entries.iter().map(|said| OverrideReport::from(&**said)).collect(),
        }
    }
}

impl TryFrom<BookFile> for Book {
    type Error = String;

    fn try_from(kept: BookFile) -> Result<Book, String> {
        if kept.overrides.len() > MAX_OVERRIDES {
            return Err(format!("there are {} overrides in it, over {MAX_OVERRIDES}", kept.overrides.len()));
        }
        let mut said: Vec<Arc<Override>> = Vec::with_capacity(kept.overrides.len());
        let mut last: BTreeMap<Target, usize> = BTreeMap::new();
        for (at, each) in kept.overrides.into_iter().enumerate() {
            let state = state_of(&each.state)?;
            let OverrideReport { target, why, who, until, .. } = each;
            last.insert(Target::parse(&target), at);
            said.push(Arc::new(Override { target, state, why, who, until }));
        }
        let mut places: Vec<usize> = last.into_values().collect();
        places.sort_unstable();
        Ok(Book { entries: places.into_iter().map(|at| said[at].clone()).collect() })
    }
}

/// The state that a word of the API names.
pub fn state_of(word: &str) -> Result<OverrideState, String> {
    let all = [OverrideState::Drain, OverrideState::Up, OverrideState::Down];
    all.into_iter().find(|state| state.as_str() == word).ok_or_else(|| {
        let hint = did_you_mean(word, all.map(OverrideState::as_str)).unwrap_or_default();
        format!("`{word}` is no state of an override: {hint}")
    })
}

/// The length of time that `for` names.
pub fn duration_of(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text.trim())
        .map_err(|error| format!("`{text}` is no length of time ({error}); write 30s, 15m, 2h or 3days"))?;
    match time {
        Duration::ZERO => Err("an override for no time at all changes nothing; write 30s, 15m, 2h or 3days".to_owned()),
        time if time > MAX_FOR => Err(format!("`{text}` is over 366 days; leave it out for until it is cleared")),
        time => Ok(time),
    }
}

/// A Unix time for people, to the second: `2026-11-23 04:15:00 UTC`.
pub fn utc(unix_seconds: f64) -> String {
    let since = Duration::try_from_secs_f64(unix_seconds).unwrap_or_default().min(Duration::from_secs(LAST_TIME));
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since).to_string().replace('T', " ").replace('Z', " UTC")
}

/// Whether `why` will do: one line that says something.
pub fn check_why(why: &str) -> Result<(), String> {
    let length = why.chars().count();
    if why.chars().all(|c| c.is_whitespace() || is_invisible(c)) {
        return Err("say why: whoever is called next wants to know".to_owned());
    }
    if why.chars().any(|c| c.is_control() || is_direction(c)) || why.contains(['\u{2028}', '\u{2029}']) {
        return Err("why is one line of text, without control characters".to_owned());
    }
    if length > MAX_WHY {
        return Err(format!("why has at most {MAX_WHY} characters, not {length}"));
    }
    Ok(())
}

/// Characters that print nothing: a text of them says nothing.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
}

/// Characters that make a terminal or a page show other text than there is (Unicode 9, bidirectional formatting).
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests;
