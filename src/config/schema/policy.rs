//! The schema of a policy file, table by table as `spec` reads them.

use serde_json::{Value, json};

use super::{
    Key, NAME, any_of, asns, boolean, continents, countries, duration, integer, list, list_of, matching, named, number,
    one_of_words, section, table as table_of, text, text_of, words_in_any_case,
};
use crate::config::manual::Section;
use crate::config::spec::monitor::{MAX_HEADERS, MAX_RUN, MAX_TEXT, STATUSES, SUPPORTED};
use crate::config::spec::own_keys::{MAX_ARGS, MAX_MIN_DAYS, MAX_REDIRECTS};
use crate::config::spec::pool::{MAX_BAND_MS, MAX_BAND_PERCENT, MAX_CAPACITY, MAX_MEMBERS, MAX_WEIGHT, STATES, STEER};
use crate::config::spec::quorum::NEEDS;
use crate::config::spec::service::{MAX_ALPN, MAX_ALPN_ID, TYPES};
use crate::config::spec::zone::{FAILBACK, FAILOVER, MAX_ON_EMPTY};
use crate::config::validate::ON_EMPTY_WORDS;
use crate::model::heartbeat::MAX_PHI;
use crate::model::quorum::MAX_NEEDED;
use crate::model::{AffinityNet, Ecs, MAX_ANSWERS, Ttl};

/// A whole policy file.
pub(super) fn table() -> Value {
    let files = |name, schema| Key::of(Section::Zone, name, schema);
    let told = |name, at: Section, schema| Key::told(name, &section(at), schema);
    table_of([
        files("zone", text()).required(),
        files("file", text()),
        told("defaults", Section::Defaults, defaults()),
        told("ecs", Section::Ecs, ecs()),
        told("monitor", Section::Monitor, named(monitor())),
        told("endpoint", Section::Endpoint, named(endpoint())),
        told("pool", Section::Pool, named(pool())),
        told("group", Section::Group, named(group())),
        told("fence", Section::Fence, named(fence())),
        told("name", Section::Name, json!({ "type": "object", "additionalProperties": name() })),
    ])
}

fn defaults() -> Value {
    table_of(answering())
}

/// The keys that `[defaults]` and names share.
fn answering() -> [Key; 3] {
    let usual = Ttl::default();
    let [max, min] = [usual.max, usual.min].map(|bound| humantime::format_duration(bound).to_string());
    let bounds = table_of([
        Key::told("max", "the longest TTL", duration()).or(max.clone()),
        Key::told("min", "the shortest TTL", duration()).or(min.clone()),
    ]);
    let of = |name, schema| Key::of(Section::Defaults, name, schema);
    let entry = || one_of_words(&ON_EMPTY_WORDS);
    let mut entries = list_of(any_of([entry(), matching(NAME)]), 1..=MAX_ON_EMPTY);
    entries["uniqueItems"] = true.into();
    [
        of("ttl", any_of([duration(), bounds])).or(json!({ "max": max, "min": min })),
        of("answers", integer(1..=MAX_ANSWERS as i64)).or(1),
        of("on_empty", any_of([entry(), matching(NAME), entries])).or("last_good"),
    ]
}

fn ecs() -> Value {
    let (of, usual) = (|name, schema| Key::of(Section::Ecs, name, schema), Ecs::default());
    table_of([
        of("use", boolean()).or(usual.enabled),
        of("v4", integer(0..=32)).or(usual.v4),
        of("v6", integer(0..=128)).or(usual.v6),
    ])
}

fn monitor() -> Value {
    let of = |name, schema| Key::of(Section::Monitor, name, schema);
    let headers = json!({ "type": "object", "additionalProperties": text(), "maxProperties": MAX_HEADERS });
    let expect = table_of([
        Key::told("status", "statuses that are a success", list_of(integer(STATUSES), 1..=900)).or(json!([200])),
        Key::told("body", "a text within the first 64 KiB of the answer", text_of(1..=MAX_TEXT)),
        Key::told("rcode", "dns: the response code of a success", text()).or("NOERROR"),
        Key::told("rdata", "dns: what one of the records must say", text()),
    ]);
    let need = || any_of([one_of_words(&NEEDS), integer(1..=i64::from(MAX_NEEDED))]);
    let quorum = table_of([
        Key::told("per_region", "so many of a region's vantages that have a verdict must say down", need())
            .or("majority"),
        Key::told("regions_down", "so many of the regions that have a verdict must say down", need()).or("majority"),
        Key::told("stale_after", "a vantage whose report is older has no vote, 2 s to 1 h", duration()).or("10s"),
    ]);
    table_of([
        of("type", one_of_words(&SUPPORTED)).required(),
        of("port", integer(1..=65_535)),
        of("interval", duration()).or("1s"),
        of("timeout", any_of([one_of_words(&["adaptive"]), duration()])).or("500ms"),
        of("fall", integer(1..=MAX_RUN)).or(3),
        of("rise", integer(1..=MAX_RUN)).or(2),
        of("damping", boolean()).or(true),
        of("hold", boolean()).or(false),
        of("hold_down", duration()).or("0s"),
        of("quorum", quorum),
        of("path", matching("^/")).or("/"),
        of("host", text()),
        of("headers", headers),
        of("expect", expect).or(json!({ "status": [200] })),
        of("redirects", integer(0..=MAX_REDIRECTS)).or(0),
        of("verify", boolean()).or(true),
        of("min_days", integer(0..=MAX_MIN_DAYS)),
        of("program", matching("^/")),
        of("args", list_of(text(), 0..=MAX_ARGS)),
        of("name", text()),
        of("qtype", text()).or("A"),
        of("service", text_of(0..=MAX_TEXT)).or(""),
        of("tls", boolean()).or(false),
        Key::told(
            "ttl",
            "heartbeat: how long a beat without one counts, and the longest that one may ask for",
            duration(),
        ),
        Key::told(
            "phi",
            "heartbeat: how suspicious silence must be, by the rhythm of the beats, to end one before its ttl does",
            integer(1..=i64::from(MAX_PHI)),
        ),
        Key::told("monitors", "all and any: the monitors that are taken as one", list_of(matching(NAME), 1..=64)),
        Key::told("monitor", "not: the monitor that is turned round", matching(NAME)),
    ])
}

fn endpoint() -> Value {
    let of = |name, schema| Key::of(Section::Endpoint, name, schema);
    let address = json!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] });
    let mut endpoint = table_of([
        of("addresses", list_of(address, 1..=2)),
        of("cname", text()),
        of("region", matching(NAME)),
        of("monitor", matching(NAME)),
        of("probe", text()),
        of("weight", integer(0..=MAX_WEIGHT)).or(1),
        of("state", one_of_words(&STATES)).or("enabled"),
        of("country", matching(super::COUNTRY)),
        of("capacity", integer(0..=MAX_CAPACITY)),
        of("ramp", duration()).or("0s"),
    ]);
    endpoint["oneOf"] = json!([{ "required": ["addresses"] }, { "required": ["cname"] }]);
    endpoint
}

fn pool() -> Value {
    let of = |name, schema| Key::of(Section::Pool, name, schema);
    let member = table_of([
        Key::told("to", "the endpoint or pool", matching(NAME)).required(),
        Key::told("weight", "its weight here, before the endpoint's own", integer(0..=MAX_WEIGHT)),
        Key::told("when", &format!("geo only: whom it is for. {}", section(Section::Geo)), selector()),
    ]);
    let mut band = table_of([
        Key::told("ms", "so many milliseconds over the best", number(0.0..=MAX_BAND_MS)).or(0),
        Key::told("pct", "so many percent over the best", integer(0..=MAX_BAND_PERCENT)).or(0),
    ]);
    band["minProperties"] = json!(1);
    table_of([
        of("members", list_of(any_of([matching(NAME), member]), 1..=MAX_MEMBERS)).required(),
        of("steer", one_of_words(&STEER)).or("weighted"),
        of("band", band),
        of("min_up", number(0.0..=1.0)).or(0),
    ])
}

/// `when`, and the `clients` of a fence.
fn selector() -> Value {
    let groups = Key::of(Section::Geo, "groups", list(matching(NAME)));
    let mut selector = table_of(lists().into_iter().chain([groups]));
    selector["minProperties"] = json!(1);
    selector
}

fn group() -> Value {
    let mut group = table_of(lists());
    group["minProperties"] = json!(1);
    group
}

/// The keys that say which clients are meant.
fn lists() -> [Key; 6] {
    let of = |name, schema| Key::of(Section::Geo, name, schema);
    [
        of("nets", list(text())),
        of("asns", asns()),
        of("countries", countries()),
        of("continents", continents()),
        of("regions", list(matching(NAME))),
        of("unknown", boolean()).or(false),
    ]
}

fn fence() -> Value {
    let mut allow = table_of([
        Key::told("countries", "endpoints in these countries", countries()),
        Key::told("continents", "endpoints in countries of these continents", continents()),
        Key::told("regions", "endpoints of these regions", list(matching(NAME))),
    ]);
    allow["minProperties"] = json!(1);
    table_of([
        Key::of(Section::Fence, "clients", selector()).required(),
        Key::of(Section::Fence, "allow", allow).required(),
    ])
}

fn name() -> Value {
    let (of, usual) = (|name, schema| Key::of(Section::Name, name, schema), AffinityNet::default());
    let affinity = table_of([
        Key::told("v4", "bits of an IPv4 address that make a client's net", integer(0..=32)).or(usual.v4),
        Key::told("v6", "bits of an IPv6 address that make a client's net", integer(0..=128)).or(usual.v6),
    ]);
    let service = |name, schema| Key::of(Section::Services, name, schema);
    let own = [
        of("pool", matching(NAME)).required(),
        of("types", list_of(words_in_any_case(&TYPES), 1..=TYPES.len())),
        of("fence", matching(NAME)),
        of("monitor", matching(NAME)),
        of("affinity", any_of([boolean(), affinity])).or(false),
        of("failback", any_of([one_of_words(&FAILBACK), duration()])).or("auto"),
        of("failover", one_of_words(&FAILOVER)).or("shared"),
        of("rto", duration()),
        service("port", integer(1..=65_535)),
        service("alpn", list_of(text_of(1..=MAX_ALPN_ID), 0..=MAX_ALPN)),
    ];
    table_of(own.into_iter().chain(answering()))
}
