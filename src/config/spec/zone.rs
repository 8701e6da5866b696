//! `[defaults]`, `[ecs]` and `[name.*]`: how names are answered, and what holds for a whole zone.

use std::time::Duration;

use crate::config::fields::{Fields, duration, item, text, wrong_type};
use crate::config::manual::Section;
use crate::config::node::{Kind, Node};
use crate::config::problem::{Problems, did_you_mean};
use crate::config::source::At;
use crate::config::spec::service::{ServiceSpec, service, types};
use crate::model::{AffinityNet, Ecs, Facet, Failback, MAX_ANSWERS, Ttl};
use crate::wire::Name;

/// Longest TTL (RFC 2181, 8).
const MAX_TTL: Duration = Duration::from_secs(i32::MAX as u64);

/// Longest wait before a failover pool goes back (judgment: after a month it is a decision, not a wait).
const MAX_FAILBACK: Duration = Duration::from_secs(31 * 86_400);

/// Shortest promise that means something, and longest; what takes longer needs none (judgment).
const MIN_RTO: Duration = Duration::from_millis(1);
const MAX_RTO: Duration = Duration::from_secs(86_400);

/// Kinds of failover; the rest is for later.
pub(in crate::config) const FAILOVER: [&str; 1] = ["shared"];
/// What `failback` can be beside a length of time.
pub(in crate::config) const FAILBACK: [&str; 2] = ["auto", "manual"];

/// What names have that say nothing themselves.
#[derive(Debug, Default)]
pub(in crate::config) struct Defaults {
    /// Bounds of the TTL.
    pub(in crate::config) ttl: Option<Ttl>,
    /// Most records in a reply.
    pub(in crate::config) answers: Option<At<usize>>,
    /// What is answered when nothing is eligible.
    pub(in crate::config) on_empty: Option<At<Vec<At<String>>>>,
}

/// One steered name.
#[derive(Debug)]
pub(in crate::config) struct NameSpec {
    /// As written: `www`, `@`, `*.app`.
    pub(in crate::config) label: At<String>,
    /// The name itself.
    pub(in crate::config) owner: Name,
    /// The pool or endpoint that answers it; `None` where that couldn't be read, which has been told.
    pub(in crate::config) pool: Option<At<String>>,
    /// Which families it answers, where it says.
    pub(in crate::config) types: Option<At<Vec<Facet>>>,
    /// What it says itself.
    pub(in crate::config) own: Defaults,
    /// The fence around it.
    pub(in crate::config) fence: Option<At<String>>,
    /// The monitor by which it judges the endpoints of its pool.
    pub(in crate::config) monitor: Option<At<String>>,
    /// How much of a client's address makes its net.
    pub(in crate::config) affinity: Option<AffinitySpec>,
    /// When failover pools go back.
    pub(in crate::config) failback: Option<At<Failback>>,
    /// What its service records say.
    pub(in crate::config) service: ServiceSpec,
    /// Within which time no client is sent to an endpoint that failed.
    pub(in crate::config) rto: Option<At<Duration>>,
}

/// `affinity` of a name.
#[derive(Debug, Default)]
pub(in crate::config) struct AffinitySpec {
    /// What it comes to.
    pub(in crate::config) net: AffinityNet,
    /// The lengths that are written out.
    pub(in crate::config) v4: Option<At<i64>>,
    /// The same for IPv6.
    pub(in crate::config) v6: Option<At<i64>>,
}

/// `[defaults]`.
pub(super) fn defaults(top: &mut Fields, problems: &mut Problems) -> Defaults {
    let Some(mut fields) = top.table("defaults", problems) else { return Defaults::default() };
    fields.what = "[defaults]".into();
    let defaults = answering(&mut fields, problems);
    fields.finish(&[], problems);
    defaults
}

/// The three keys that `[defaults]` and a name share.
fn answering(fields: &mut Fields, problems: &mut Problems) -> Defaults {
    let ttl = ttl(fields, problems);
    let answers = fields.integer("answers", 1..=MAX_ANSWERS as i64, problems);
    let on_empty = on_empty(fields, problems);
    Defaults { ttl, answers: answers.map(|answers| answers.map(|n| n as usize)), on_empty }
}

/// Most entries of `on_empty`. Judgment: nobody has so many levels of last resort.
pub(in crate::config) const MAX_ON_EMPTY: usize = 8;

/// `on_empty = "all"` or `on_empty = ["sorry", "nodata"]`.
fn on_empty(fields: &mut Fields, problems: &mut Problems) -> Option<At<Vec<At<String>>>> {
    let Node { place, kind } = fields.take("on_empty")?.value;
    let example = "\"last_good\"";
    let Kind::List(items) = kind else {
        let entry = text(Node { place: place.clone(), kind }, "on_empty", example, problems)?;
        return Some(At { value: vec![entry], place });
    };
    if items.is_empty() || items.len() > MAX_ON_EMPTY {
        let problem = problems.error(&place, format!("`on_empty` must have 1 to {MAX_ON_EMPTY} entries"));
        problem.hint("write `on_empty = [\"sorry\", \"nodata\"]`: the first one that is up is answered, the last one in any case");
        return None;
    }
    let entries = items.into_iter().map(|entry| item(entry, "on_empty", example, problems));
    let entries: Option<Vec<At<String>>> = entries.collect();
    Some(At { value: entries?, place })
}

/// `ttl = "5s"` or `ttl = { max = "20s", min = "5s" }`.
fn ttl(fields: &mut Fields, problems: &mut Problems) -> Option<Ttl> {
    let entry = fields.take("ttl")?;
    let Node { place, kind } = entry.value;
    let example = "\"20s\"";
    match kind {
        Kind::Text(value) | Kind::Loose(value) => {
            let at = duration(At { value, place }, "ttl", Duration::ZERO..=MAX_TTL, example, problems)?;
            let ttl = whole_seconds(at, "ttl", problems)?;
            Some(Ttl { max: ttl, min: ttl })
        }
        Kind::Table(_) => {
            let mut inner = Fields::of_node(Node { place: place.clone(), kind }, "`ttl`", problems)?;
            let mut bound = |key: &'static str| {
                let written = inner.duration(key, Duration::ZERO..=MAX_TTL, example, problems)?;
                whole_seconds(written, key, problems)
            };
            let (max, min) = (bound("max"), bound("min"));
            inner.finish(&[], problems);
            let usual = Ttl::default();
            // A single bound moves the other one along rather than contradict it.
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

fn whole_seconds(written: At<Duration>, key: &str, problems: &mut Problems) -> Option<Duration> {
    if written.value.subsec_nanos() != 0 {
        let shown = humantime::format_duration(written.value);
        let problem = problems.error(&written.place, format!("`{key}` must be whole seconds, not {shown}"));
        let up = written.value.as_secs() + 1;
        problem.hint(format!("DNS counts in seconds: write `{key} = \"{up}s\"`"));
        return None;
    }
    Some(written.value)
}

/// `[ecs]`.
pub(super) fn ecs(mut fields: Fields, problems: &mut Problems) -> Ecs {
    fields.what = "[ecs]".into();
    let usual = Ecs::default();
    let enabled = fields.boolean("use", problems).unwrap_or(usual.enabled);
    let v4 = fields.integer("v4", 0..=32, problems).map_or(usual.v4, |bits| bits.value as u8);
    let v6 = fields.integer("v6", 0..=128, problems).map_or(usual.v6, |bits| bits.value as u8);
    fields.finish(&[], problems);
    Ecs { enabled, v4, v6 }
}

/// `[name.LABEL]`.
pub(super) fn name(label: At<String>, mut fields: Fields, zone: &Name, problems: &mut Problems) -> Option<NameSpec> {
    let what = fields.what.clone();
    if fields.lacks("pool") {
        let problem = problems.error(&label.place, format!("{what} has no `pool`"));
        problem.hint("write `pool = \"NAME\"`, the name of a pool or of a single endpoint");
    }
    let pool = fields.text("pool", "\"world\"", problems);
    let types = types(&mut fields, problems);
    let own = answering(&mut fields, problems);
    let fence = fields.text("fence", "\"eu_only\"", problems);
    let monitor = fields.text("monitor", "\"web\"", problems);
    let affinity = affinity(&mut fields, problems);
    let failback = failback(&mut fields, problems);
    check_failover(&mut fields, problems);
    let service = service(&mut fields, problems);
    let rto = fields.duration("rto", MIN_RTO..=MAX_RTO, "\"6s\"", problems);
    fields.finish(&[], problems);
    let owner = match Name::parse_under(&label.value, zone) {
        Ok(owner) => owner,
        Err(error) => {
            let problem = problems.error(&label.place, format!("`{}` is not a domain name: {error}", label.value));
            problem.hint("write it relative to the zone: `www`, `\"*.app\"`, or `\"@\"` for the zone itself");
            return None;
        }
    };
    if !owner.is_within(zone) {
        let problem = problems.error(&label.place, format!("{owner} is not in the zone {zone}"));
        problem.hint("names are relative to the zone: leave out the final dot, or write `@` for the zone itself");
        return None;
    }
    Some(NameSpec { label, owner, pool, types, own, fence, monitor, affinity, failback, service, rto })
}

/// `affinity = true` or `affinity = { v4 = 24, v6 = 56 }`.
fn affinity(fields: &mut Fields, problems: &mut Problems) -> Option<AffinitySpec> {
    let Node { place, kind } = fields.take("affinity")?.value;
    match kind {
        Kind::Bool(is) => is.then(AffinitySpec::default),
        Kind::Table(_) => {
            let mut inner = Fields::of_node(Node { place, kind }, "`affinity`", problems)?;
            let (v4, v6) = (inner.integer("v4", 0..=32, problems), inner.integer("v6", 0..=128, problems));
            inner.finish(&[], problems);
            let bits = |written: &Option<At<i64>>, usual| written.as_ref().map_or(usual, |at| at.value as u8);
            let usual = AffinityNet::default();
            let net = AffinityNet { v4: bits(&v4, usual.v4), v6: bits(&v6, usual.v6) };
            Some(AffinitySpec { net, v4, v6 })
        }
        other => {
            let wrong = wrong_type(&place, "`affinity`", "true or a table", other.described(), problems);
            wrong.hint("write `affinity = true` or `affinity = { v4 = 24, v6 = 56 }`");
            None
        }
    }
}

/// `failback = "auto"`, `"manual"` or a length of time.
fn failback(fields: &mut Fields, problems: &mut Problems) -> Option<At<Failback>> {
    let example = "\"10m\"";
    let is = |word| fields.is_text("failback", word);
    let word = match (is("auto"), is("manual")) {
        (true, _) => Some(Failback::Auto),
        (_, true) => Some(Failback::Manual),
        (false, false) => None,
    };
    if let Some(value) = word {
        return fields.text("failback", example, problems).map(|at| At { value, place: at.place });
    }
    let written = fields.text("failback", example, problems)?;
    if humantime::parse_duration(&written.value).is_err() {
        let message = format!("`failback` must be auto, manual or a length of time, not \"{}\"", written.value);
        let hint = did_you_mean(&written.value, FAILBACK).filter(|hint| hint.starts_with("did"));
        problems.error(&written.place, message).hint = hint.or(Some("write `failback = \"10m\"`".into()));
        return None;
    }
    let waited = duration(written, "failback", Duration::ZERO..=MAX_FAILBACK, example, problems)?;
    Some(waited.map(|wait| if wait.is_zero() { Failback::Auto } else { Failback::After(wait) }))
}

/// `failover = "shared"`, which is what there is.
fn check_failover(fields: &mut Fields, problems: &mut Problems) {
    let Some(written) = fields.text("failover", "\"shared\"", problems) else { return };
    match written.value.as_str() {
        "shared" => {}
        "exclusive" => later_word(&written, "failover", "there is `shared`, the default".into(), problems),
        other => {
            let near = did_you_mean(other, FAILOVER).filter(|hint| hint.starts_with("did"));
            let problem = problems.error(&written.place, format!("`{other}` is not a kind of failover"));
            problem.hint(near.unwrap_or_else(|| "write `failover = \"shared\"`, or leave it out".to_owned()));
        }
    }
}

/// The problem of a word that a later version will know.
pub(super) fn later_word(written: &At<String>, key: &str, instead: String, problems: &mut Problems) {
    let message = format!("`{key} = \"{}\"` is not supported yet", written.value);
    problems.error(&written.place, message).see(Section::NotYet).hint(instead);
}
