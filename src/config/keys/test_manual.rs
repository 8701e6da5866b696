//! The tables of keys in `zones/README.md`, as they follow from the declarations.

use super::{Default, Json, Key, KeyGroup as _};
use crate::config::certificate::TlsKeys;
use crate::config::client_settings::ClientKeys;
use crate::config::dnstap::DnstapKeys;
use crate::config::follow::FollowKeys;
use crate::config::guard::{ChaosKeys, CookieKeys, RrlKeys};
use crate::config::limits::LimitKeys;
use crate::config::log::LogKeys;
use crate::config::monitor::{HeartbeatKeys, MonitorSpec, QuorumKeys};
use crate::config::operators::{ApiKeys, StateKeys};
use crate::config::regions::RegionKeys;
use crate::config::run::RunKeys;
use crate::config::settings::{FleetKeys, ListenKeys, SettingsKeys, VantageKeys, ZonesKeys};
use crate::config::sinks::SinkKeys;
use crate::config::spec::{
    self, Answering, DiscoverSpec, EcsKeys, EndpointSpec, FenceSpec, NameKeys, PoolSpec, SelectorSpec, ServiceKeys,
};

/// The tables, by the name in their markers.
fn tables() -> Vec<(&'static str, Vec<Key>)> {
    vec![
        ("zone", spec::keys()),
        ("defaults", Answering::keys()),
        ("ecs", EcsKeys::keys()),
        ("monitor", probe_keys()),
        ("heartbeat", HeartbeatKeys::keys()),
        ("quorum", QuorumKeys::keys()),
        ("endpoint", EndpointSpec::keys()),
        ("pool", PoolSpec::keys()),
        ("discover", DiscoverSpec::keys()),
        ("when", SelectorSpec::keys()),
        ("fence", FenceSpec::keys()),
        ("name", NameKeys::keys()),
        ("services", ServiceKeys::keys()),
        ("settings", settings_keys()),
        ("sink", SinkKeys::keys()),
        ("follow", FollowKeys::keys()),
    ]
}

/// The keys of `portolan.toml`, those of its tables with the name of the table before them.
fn settings_keys() -> Vec<Key> {
    let tables = [
        ("listen", ListenKeys::keys()),
        ("tls", TlsKeys::keys()),
        ("zones", ZonesKeys::keys()),
        ("cookies", CookieKeys::keys()),
        ("rrl", RrlKeys::keys()),
        ("chaos", ChaosKeys::keys()),
        ("api", ApiKeys::keys()),
        ("state", StateKeys::keys()),
        ("run", RunKeys::keys()),
        ("limits", LimitKeys::keys()),
        ("log", LogKeys::keys()),
        ("dnstap", DnstapKeys::keys()),
        ("vantage", VantageKeys::keys()),
        ("fleet", FleetKeys::keys()),
        ("clients", ClientKeys::keys()),
        ("regions.NAME", RegionKeys::keys()),
    ];
    let dotted = tables.into_iter().flat_map(|(table, keys)| {
        keys.into_iter().map(move |key| Key { name: format!("{table}.{}", key.name).leak(), ..key })
    });
    SettingsKeys::keys().into_iter().chain(dotted).collect()
}

/// The keys of monitors that probe.
fn probe_keys() -> Vec<Key> {
    let is_of_others =
        |key: &Key| ["heartbeat:", "all and any:", "not:"].iter().any(|types| key.doc.starts_with(types));
    MonitorSpec::keys().into_iter().filter(|key| !is_of_others(key)).collect()
}

/// A table of keys, one row for each key that has a text. Neighbours with the same text share a row.
pub(super) fn markdown(keys: &[Key]) -> String {
    let mut rows = String::from("| key | default | meaning |\n|---|---|---|\n");
    for same in keys.chunk_by(|a, b| a.doc == b.doc).filter(|keys| !keys[0].doc.is_empty()) {
        let names: Vec<String> = same.iter().map(|key| format!("`{}`", key.name)).collect();
        let mut defaults: Vec<String> = same.iter().map(|key| cell(&key.default)).collect();
        defaults.dedup();
        rows.push_str(&format!("| {} | {} | {} |\n", names.join(", "), defaults.join(", "), same[0].doc));
    }
    rows
}

fn cell(default: &Default) -> String {
    match default {
        Default::Required => "required".to_owned(),
        Default::Note(text) => (*text).to_owned(),
        Default::Value(None) => "none".to_owned(),
        Default::Value(Some(Json::Number(number))) => number.to_string(),
        Default::Value(Some(value)) => format!("`{}`", written(value)),
    }
}

/// A value as TOML.
fn written(value: &Json) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Json::Array(items) => format!("[{}]", list(items.iter().map(written).collect())),
        Json::Object(keys) => {
            format!("{{ {} }}", list(keys.iter().map(|(key, value)| format!("{key} = {}", written(value))).collect()))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => value.to_string(),
    }
}

/// The manual with its tables replaced by the generated ones.
fn generated(manual: &str) -> String {
    let mut manual = manual.to_owned();
    for (name, keys) in tables() {
        let (start, end) = (format!("<!-- keys: {name} -->\n"), "<!-- end -->");
        let Some((before, rest)) = manual.split_once(&start) else { panic!("the manual has no table `{name}`") };
        let Some((_, after)) = rest.split_once(end) else { panic!("the table `{name}` has no end") };
        manual = format!("{before}{start}\n{}\n{end}{after}", markdown(&keys));
    }
    manual
}

#[test]
fn the_tables_of_the_manual_are_those_of_the_declarations() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/zones/README.md");
    let manual = std::fs::read_to_string(file).unwrap();
    let expected = generated(&manual);
    if std::env::var_os("WRITE_KEYS").is_some() {
        std::fs::write(file, expected).unwrap();
        return;
    }
    let wrong: Vec<_> = manual.lines().zip(expected.lines()).filter(|(is, should)| is != should).take(3).collect();
    assert!(
        manual == expected,
        "write the tables with WRITE_KEYS=1 cargo test --lib config::keys; first differences: {wrong:#?}"
    );
}
