//! The book of overrides: what operators said of endpoints and regions, until when, and what that makes of each endpoint
//! of a model. Plain values; the daemon's steering task owns the book and keeps it on disk in the form given here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::did_you_mean;
use crate::model::{EndpointId, Model, Override, OverrideState};

/// Most overrides at a time (judgment: more than that is another policy, and belongs in the files).
pub const MAX_OVERRIDES: usize = 10_000;

/// Longest `why`, in characters: a line in a log or a table.
pub const MAX_WHY: usize = 256;

/// Longest time that an override can be made for; without a limit it is until it is cleared.
pub const MAX_FOR: Duration = Duration::from_secs(366 * 86_400);

/// The end of the year 9999, the last that can be written with four digits.
const LAST_TIME: u64 = 253_402_300_799;

/// What TARGET begins with when it is a region.
const REGION: &str = "region:";

/// Everything that operators said and that has not ended, by target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Kept", try_from = "Kept")]
pub struct Book {
    said: BTreeMap<String, Arc<Override>>,
}

/// Why an override is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The target is neither an endpoint nor a region that has one; says what is near.
    NoTarget(String),
    /// There is nothing to clear; says what there is.
    NothingSaid(String),
    /// What was said is not well formed; says what is.
    Malformed(String),
    /// The book is full.
    Full,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::NoTarget(why) | Refusal::NothingSaid(why) | Refusal::Malformed(why) => f.write_str(why),
            Refusal::Full => write!(f, "there are {MAX_OVERRIDES} overrides, which is the most: clear some"),
        }
    }
}

impl Book {
    /// The form in which it is kept; a later one may have another number.
    pub const VERSION: u32 = 1;

    /// Takes an override of something that `model` has; gives what was said of the same target before.
    pub fn put(&mut self, said: Override, model: &Model) -> Result<Option<Arc<Override>>, Refusal> {
        check_why(&said.why).map_err(Refusal::Malformed)?;
        if endpoints_of(&said.target, model).is_empty() {
            return Err(Refusal::NoTarget(no_target(&said.target, model)));
        }
        if self.said.len() >= MAX_OVERRIDES && !self.said.contains_key(&said.target) {
            return Err(Refusal::Full);
        }
        Ok(self.said.insert(said.target.clone(), Arc::new(said)))
    }

    /// Ends an override; gives what it was.
    pub fn clear(&mut self, target: &str, model: &Model) -> Result<Arc<Override>, Refusal> {
        self.said.remove(target).ok_or_else(|| {
            Refusal::NothingSaid(if endpoints_of(target, model).is_empty() {
                no_target(target, model)
            } else {
                format!("there is no override of `{target}` to clear{}", self.said_elsewhere(target, model))
            })
        })
    }

    /// Ends everything whose time is over at `now` (Unix seconds); gives what that was.
    pub fn expire(&mut self, now: f64) -> Vec<Arc<Override>> {
        let is_over = |said: &Override| said.until.is_some_and(|until| until <= now);
        let over: Vec<Arc<Override>> = self.said.values().filter(|said| is_over(said)).cloned().collect();
        self.said.retain(|_, said| !is_over(said));
        over
    }

    /// When the next override ends by itself, Unix seconds.
    pub fn next_end(&self) -> Option<f64> {
        self.said.values().filter_map(|said| said.until).min_by(f64::total_cmp)
    }

    /// What that makes of each endpoint of `model`: its own override, else its region's.
    pub fn resolve(&self, model: &Model) -> HashMap<EndpointId, Arc<Override>> {
        if self.said.is_empty() {
            return HashMap::new();
        }
        let word = |(at, endpoint): (usize, &crate::model::Endpoint)| {
            let of_region = || {
                let region = model.region(endpoint.region?).name.as_str();
                self.said.get(&format!("{REGION}{region}"))
            };
            let said = self.said.get(&endpoint.name).or_else(of_region)?;
            Some((EndpointId(at as u32), said.clone()))
        };
        model.endpoints.iter().enumerate().filter_map(word).collect()
    }

    /// Overrides of what `model` doesn't have (any more); they are kept, as it may come back.
    pub fn without_target(&self, model: &Model) -> Vec<Arc<Override>> {
        self.said.values().filter(|said| endpoints_of(&said.target, model).is_empty()).cloned().collect()
    }

    /// Everything, in the order of the targets.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Override>> {
        self.said.values()
    }

    fn said_elsewhere(&self, target: &str, model: &Model) -> String {
        let of_region = endpoints_of(target, model)
            .iter()
            .find_map(|id| Some(format!("{REGION}{}", model.region(model.endpoint(*id).region?).name)))
            .filter(|region| self.said.contains_key(region) && region != target);
        match of_region {
            Some(region) => format!("; there is one of `{region}`"),
            None => String::new(),
        }
    }
}

/// An override as the API and the file have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// An endpoint's name, or `region:NAME`.
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

impl From<&Override> for Said {
    fn from(said: &Override) -> Said {
        Said {
            target: said.target.clone(),
            state: said.state.as_str().to_owned(),
            why: said.why.clone(),
            who: said.who.clone(),
            until: said.until,
        }
    }
}

/// The form that is kept on disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    overrides: Vec<Said>,
}

impl From<Book> for Kept {
    fn from(book: Book) -> Kept {
        Kept { version: Book::VERSION, overrides: book.said.values().map(|said| Said::from(&**said)).collect() }
    }
}

impl TryFrom<Kept> for Book {
    type Error = String;

    fn try_from(kept: Kept) -> Result<Book, String> {
        if kept.overrides.len() > MAX_OVERRIDES {
            return Err(format!("there are {} overrides in it, over {MAX_OVERRIDES}", kept.overrides.len()));
        }
        let mut said = BTreeMap::new();
        for each in kept.overrides {
            let state = state_of(&each.state)?;
            let Said { target, why, who, until, .. } = each;
            said.insert(target.clone(), Arc::new(Override { target, state, why, who, until }));
        }
        Ok(Book { said })
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
    if why.trim().is_empty() {
        return Err("say why: whoever is called next wants to know".to_owned());
    }
    if why.chars().any(char::is_control) || why.contains(['\u{2028}', '\u{2029}']) {
        return Err("why is one line of text".to_owned());
    }
    if length > MAX_WHY {
        return Err(format!("why has at most {MAX_WHY} characters, not {length}"));
    }
    Ok(())
}

/// The endpoints that a target means: all of that name, in whichever zones; or all of a region.
pub(crate) fn endpoints_of(target: &str, model: &Model) -> Vec<EndpointId> {
    let region = target.strip_prefix(REGION);
    let is_meant = |endpoint: &crate::model::Endpoint| match region {
        Some(region) => endpoint.region.is_some_and(|id| model.region(id).name == region),
        None => endpoint.name == target,
    };
    let all = model.endpoints.iter().enumerate();
    all.filter(|(_, endpoint)| is_meant(endpoint)).map(|(at, _)| EndpointId(at as u32)).collect()
}

fn no_target(target: &str, model: &Model) -> String {
    if let Some(region) = target.strip_prefix(REGION) {
        if model.region_named(region).is_some() {
            return format!("no endpoint is in region `{region}`");
        }
        let hint = did_you_mean(region, model.regions.iter().map(|region| region.name.as_str()));
        return told(format!("no region is called `{region}`"), hint);
    }
    if model.region_named(target).is_some() {
        return format!("no endpoint is called `{target}`; for the region write `{REGION}{target}`");
    }
    if model.pools.iter().any(|pool| pool.name == target) {
        return format!("`{target}` is a pool; name an endpoint, or `{REGION}NAME`");
    }
    let mut names: Vec<&str> = model.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    told(format!("no endpoint is called `{target}`"), did_you_mean(target, names))
}

fn told(what: String, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("{what}; {hint}"),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixture;

    /// `fra1` is in eu-west, `nyc` in us-east, `plain` nowhere.
    fn model() -> Model {
        fixture::model()
    }

    fn said(target: &str, state: OverrideState, until: Option<f64>) -> Override {
        Override { target: target.into(), state, why: "rack move".into(), who: "alice".into(), until }
    }

    fn resolved(book: &Book) -> Vec<(u32, OverrideState)> {
        let mut all: Vec<_> = book.resolve(&model()).into_iter().map(|(id, said)| (id.0, said.state)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    #[test]
    fn an_endpoints_own_override_goes_before_its_regions() {
        let mut book = Book::default();
        assert_eq!(book.put(said("region:eu-west", OverrideState::Drain, None), &model()), Ok(None));
        assert_eq!(resolved(&book), [(0, OverrideState::Drain)]);
        book.put(said("fra1", OverrideState::Up, None), &model()).unwrap();
        book.put(said("plain", OverrideState::Down, None), &model()).unwrap();
        assert_eq!(resolved(&book), [(0, OverrideState::Up), (2, OverrideState::Down)]);
        assert_eq!(book.clear("fra1", &model()).unwrap().state, OverrideState::Up);
        assert_eq!(resolved(&book), [(0, OverrideState::Drain), (2, OverrideState::Down)]);
    }

    #[test]
    fn the_last_word_on_a_target_counts() {
        let mut book = Book::default();
        book.put(said("fra1", OverrideState::Drain, None), &model()).unwrap();
        let before = book.put(said("fra1", OverrideState::Down, None), &model()).unwrap();
        assert_eq!(before.unwrap().state, OverrideState::Drain);
        assert_eq!((resolved(&book), book.all().count()), (vec![(0, OverrideState::Down)], 1));
    }

    #[test]
    fn an_override_ends_at_its_time_and_not_before() {
        let mut book = Book::default();
        book.put(said("fra1", OverrideState::Drain, Some(200.0)), &model()).unwrap();
        book.put(said("nyc", OverrideState::Drain, Some(100.5)), &model()).unwrap();
        book.put(said("plain", OverrideState::Drain, None), &model()).unwrap();
        assert_eq!((book.next_end(), book.expire(100.0)), (Some(100.5), vec![]));
        let over = book.expire(100.5);
        assert_eq!((over.len(), &*over[0].target, book.next_end()), (1, "nyc", Some(200.0)));
        assert_eq!((book.expire(1e12).len(), book.next_end(), book.all().count()), (1, None, 1));
    }

    #[test]
    fn a_target_that_matches_nothing_is_refused_with_what_is_near() {
        let mut small = model();
        small.pools.push(crate::model::Pool::new("eu", crate::model::Steering::Weighted, vec![]));
        small.regions.push(crate::model::Region { name: "empty".into(), ..small.regions[0].clone() });
        for (target, expected) in [
            ("fra2", "no endpoint is called `fra2`; did you mean `fra1`?"),
            ("FRA1", "no endpoint is called `FRA1`; did you mean `fra1`?"),
            ("zzz", "no endpoint is called `zzz`; there is `fra1`, `nyc` and `plain`"),
            ("eu", "`eu` is a pool; name an endpoint, or `region:NAME`"),
            ("eu-west", "no endpoint is called `eu-west`; for the region write `region:eu-west`"),
            ("region:eu-wets", "no region is called `eu-wets`; did you mean `eu-west`?"),
            ("region:empty", "no endpoint is in region `empty`"),
        ] {
            let refused = Book::default().put(said(target, OverrideState::Drain, None), &small);
            assert_eq!(refused, Err(Refusal::NoTarget(expected.into())));
        }
        let nothing = |target| Book::default().clear(target, &small).unwrap_err().to_string();
        assert_eq!(nothing("fra2"), "no endpoint is called `fra2`; did you mean `fra1`?");
        assert_eq!(nothing("fra1"), "there is no override of `fra1` to clear");
        let mut book = Book::default();
        book.put(said("region:eu-west", OverrideState::Drain, None), &small).unwrap();
        let refused = book.clear("fra1", &small).unwrap_err().to_string();
        assert_eq!(refused, "there is no override of `fra1` to clear; there is one of `region:eu-west`");
    }

    #[test]
    fn an_override_outlives_its_target_and_says_so() {
        let mut book = Book::default();
        book.put(said("plain", OverrideState::Drain, None), &model()).unwrap();
        let mut smaller = model();
        smaller.endpoints.pop();
        assert!(book.resolve(&smaller).is_empty());
        assert_eq!(book.without_target(&smaller)[0].target, "plain");
        assert!(book.without_target(&model()).is_empty());
        assert!(book.clear("plain", &smaller).is_ok(), "it can be cleared all the same");
    }

    #[test]
    fn the_book_has_an_end() {
        let mut book = Book::default();
        for n in 0..MAX_OVERRIDES {
            book.said.insert(format!("e{n}"), Arc::new(said("x", OverrideState::Drain, None)));
        }
        assert_eq!(book.put(said("fra1", OverrideState::Drain, None), &model()), Err(Refusal::Full));
    }

    #[test]
    fn what_is_kept_comes_back_and_what_is_not_ours_is_refused() {
        let mut book = Book::default();
        book.put(said("fra1", OverrideState::Drain, Some(1.7e9 + 0.25)), &model()).unwrap();
        book.put(said("region:us-east", OverrideState::Up, None), &model()).unwrap();
        let kept = serde_json::to_string(&book).unwrap();
        assert_eq!(serde_json::from_str::<Book>(&kept).unwrap(), book);
        let wrong = |text: &str| serde_json::from_str::<Book>(text).unwrap_err().to_string();
        assert!(wrong(&kept.replace("drain", "drian")).contains("did you mean `drain`?"));
        assert!(wrong(&kept.replace("\"why\"", "\"because\"")).contains("missing field `why`"));
    }

    #[test]
    fn why_is_one_line_that_says_something_and_for_a_time_that_passes() {
        for (why, ok) in
            [("rack move", true), (" ", false), ("a\nb", false), (&"x".repeat(256), true), (&"x".repeat(257), false)]
        {
            assert_eq!(check_why(why).is_ok(), ok, "{why:?}");
        }
        for (text, expected) in [
            ("2h", Some(7200)),
            ("1h 30m", Some(5400)),
            ("366days", Some(366 * 86_400)),
            ("367days", None),
            ("0s", None),
            ("2", None),
            ("-2h", None),
            ("", None),
        ] {
            assert_eq!(duration_of(text).ok().map(|time| time.as_secs()), expected, "{text}");
        }
    }
}
