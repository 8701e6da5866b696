//! `[name.NAME]`: a steered name.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::fields::{Fields, wrong_type};
use crate::config::keys::{
    Key, KeyGroup, KeyKind as _, Table, WrongText, boolean, custom, duration, in_any_case, inline, integer, keys, name,
    text, texts, wrong,
};
use crate::config::node::{Kind, Node};
use crate::config::spec::Answering;
use crate::config::spec::service::{STEERED, ServiceKeys, types};
use crate::model::{AffinityNet, Facet, Failback};
use crate::source::{At, ManualSection, Problems, similar};
use crate::wire::Name;

/// Longest wait before a failover pool goes back (judgment: after a month it is a decision, not a wait).
const MAX_FAILBACK: Duration = Duration::from_secs(31 * 86_400);
/// Shortest promise that means something, and longest; what takes longer needs none (judgment).
const MIN_RTO: Duration = Duration::from_millis(1);
const MAX_RTO: Duration = Duration::from_secs(86_400);

keys! {
    /// The keys of `[name.NAME]` that nothing else has.
    NameKeys {
        /// a pool, or a single endpoint
        pool: String = name("\"world\""),
            required "write `pool = \"NAME\"`, the name of a pool or of a single endpoint";
        /// any of `["A", "AAAA", "SRV", "HTTPS", "SVCB"]`; see [services](#services-srv-https-and-svcb)
        types: Vec<Facet> = texts("[\"A\", \"AAAA\"]").then(types).with_schema(types_schema),
            note "what the endpoints have";
        /// the fence that limits where clients of this name may be sent
        fence: String = name("\"eu_only\"");
        /// the monitor that checks the endpoints of the pool for this name, see
        /// [below](#names-with-a-monitor-of-their-own)
        monitor: String = name("\"web\""), note "none: each endpoint's own";
        /// all clients of a net get the same answer, while that endpoint is up and not drained. `{ v4 = 24, v6 = 56 }`
        /// sets the length of the nets; `true` means these two lengths
        affinity: Option<AffinityKeys> = custom(affinity, affinity_schema), inherits json!(false);
        /// when a failover pool goes back to an earlier member: `"auto"` as soon as that is up · `"10m"` when that has
        /// been up for 10 minutes, whatever the members between did, and also over a restart · `"manual"` on
        /// [`portolan failback NAME`](#operators-api-and-state), or when the present member is out. Default of an
        /// exclusive name: `"manual"`
        failback: Failback = custom(failback, failback_schema), inherits json!("auto");
        /// `"shared"`: every node decides by itself · `"exclusive"`: one active endpoint, never two, by a lease of the
        /// fleet; see [exclusive names](../docs/exclusive.md)
        failover: Failover = text("\"exclusive\"").parsed(failover)
            .with_schema(|| json!({ "type": "string", "enum": FAILOVER })), inherits json!("shared");
        /// a promise: this long after an endpoint's failure, no client is sent to it any more; see below
        rto: Duration = duration(MIN_RTO..=MAX_RTO, "\"6s\"");
    }
}

keys! {
    /// `affinity = { v4 = 24, v6 = 56 }`.
    AffinityKeys {
        /// bits of an IPv4 address that make a client's net
        v4: u8 = integer(0..=32), default AffinityNet::default().v4;
        /// bits of an IPv6 address that make a client's net
        v6: u8 = integer(0..=128), default AffinityNet::default().v6;
    }
}

impl Table for AffinityKeys {}

/// One steered name. Its name is as it is written: `www`, `@`, `*.app`.
#[derive(Debug)]
pub(in crate::config) struct NameSpec {
    /// Its keys.
    keys: NameKeys,
    /// Those that `[defaults]` has too.
    pub(in crate::config) own: Answering,
    /// What its service records say.
    pub(in crate::config) service: ServiceKeys,
    /// The name itself.
    pub(in crate::config) owner: Name,
}

impl std::ops::Deref for NameSpec {
    type Target = NameKeys;

    fn deref(&self) -> &NameKeys {
        &self.keys
    }
}

impl KeyGroup for NameSpec {
    fn keys() -> Vec<Key> {
        [NameKeys::keys(), ServiceKeys::keys(), Answering::keys()].concat()
    }

    fn take(fields: &mut Fields, problems: &mut Problems) -> NameSpec {
        NameSpec {
            keys: NameKeys::take(fields, problems),
            own: Answering::take(fields, problems),
            service: ServiceKeys::take(fields, problems),
            owner: Name::root(),
        }
    }
}

impl Table for NameSpec {
    const SECTION: Option<ManualSection> = Some(ManualSection::Name);
}

impl NameSpec {
    /// Puts the name into its zone. `false`: it is no name there, which is a problem.
    pub(super) fn set_owner(&mut self, zone: &Name, problems: &mut Problems) -> bool {
        let At { value: label, place } = &self.name;
        match Name::parse_under(label, zone) {
            Ok(owner) if owner.is_within(zone) => {
                self.owner = owner;
                return true;
            }
            Ok(owner) => problems
                .error(place, format!("{owner} is not in the zone {zone}"))
                .hint("names are relative to the zone: leave out the final dot, or write `@` for the zone itself"),
            Err(error) => problems
                .error(place, format!("`{label}` is not a domain name: {error}"))
                .hint("write it relative to the zone: `www`, `\"*.app\"`, or `\"@\"` for the zone itself"),
        }
        false
    }

    /// How much of a client's address makes its net, where that counts.
    pub(in crate::config) fn affinity(&self) -> Option<AffinityNet> {
        let keys = self.affinity.as_ref()?.value.as_ref();
        Some(keys.map_or_else(AffinityNet::default, |keys| AffinityNet { v4: *keys.v4, v6: *keys.v6 }))
    }
}

fn types_schema() -> Json {
    let types = STEERED.map(Facet::as_str);
    json!({ "type": "array", "items": in_any_case(&types), "minItems": 1, "maxItems": types.len() })
}

fn affinity_schema() -> Json {
    json!({ "anyOf": [boolean().schema(), AffinityKeys::schema()] })
}

/// `affinity = true` or `affinity = { v4 = 24, v6 = 56 }`.
fn affinity(key: &At<String>, node: Node, problems: &mut Problems) -> Option<Option<AffinityKeys>> {
    match node.kind {
        Kind::Bool(is) => is.then_some(None),
        Kind::Table(_) => inline("").read(key, node, problems).map(Some),
        other => {
            let wrong = wrong_type(&node.place, "`affinity`", "true or a table", other.described(), problems);
            wrong.hint("write `affinity = true` or `affinity = { v4 = 24, v6 = 56 }`");
            None
        }
    }
}

fn failback_schema() -> Json {
    json!({ "anyOf": [{ "type": "string", "enum": FAILBACK }, duration(Duration::ZERO..=MAX_FAILBACK, "").schema()] })
}

/// The words that `failback` can be.
const FAILBACK: [&str; 2] = ["auto", "manual"];

/// `failback = "auto"`, `"manual"` or a length of time.
fn failback(key: &At<String>, node: Node, problems: &mut Problems) -> Option<Failback> {
    let (place, example) = (node.place.clone(), "\"10m\"");
    let written = text(example).read(key, node, problems)?;
    match written.as_str() {
        "auto" => return Some(Failback::Auto),
        "manual" => return Some(Failback::Manual),
        other if humantime::parse_duration(other).is_err() => {
            let message = format!("`failback` must be auto, manual or a length of time, not \"{other}\"");
            let hint = similar(other, FAILBACK);
            problems.error(&place, message).hint = hint.or(Some("write `failback = \"10m\"`".into()));
            return None;
        }
        _ => {}
    }
    let node = Node { place, kind: Kind::Text(written) };
    let wait = duration(Duration::ZERO..=MAX_FAILBACK, example).read(key, node, problems)?;
    Some(if wait.is_zero() { Failback::Auto } else { Failback::After(wait) })
}

/// Who decides which endpoint is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Failover {
    /// Every node by itself.
    Shared,
    /// The fleet, by a lease.
    Exclusive,
}

/// The kinds of failover.
const FAILOVER: [&str; 2] = ["shared", "exclusive"];

fn failover(written: &str) -> Result<Failover, WrongText> {
    match written {
        "shared" => Ok(Failover::Shared),
        "exclusive" => Ok(Failover::Exclusive),
        other => {
            let hint = || "write `failover = \"exclusive\"`, or leave it out".to_owned();
            let hint = similar(other, FAILOVER).unwrap_or_else(hint);
            Err(wrong(format!("`{other}` is not a kind of failover"), hint))
        }
    }
}
