//! The schema of `portolan.toml`, table by table as `settings` reads them.

use serde_json::{Value, json};

use super::{
    Key, NAME, duration, integer, list_of, matching, named, one_of_words, section, table as table_of, text, text_of,
};
use crate::config::clients::MAX_DATABASES;
use crate::config::guard::{MAX_EXEMPT, MAX_TEXT};
use crate::config::log::LogFormat;
use crate::config::manual::ManualSection;
use crate::config::settings::{Listen, MAX_CONTROL, MAX_LISTEN, MAX_NODE, MAX_WORKERS, REMOVAL_DELAY};
use crate::model::RateLimit;
use crate::model::rate_limit::{MAX_RATE, MAX_SLIP};

/// All of `portolan.toml`. `region` isn't required, for it may come from the environment or a flag.
pub(super) fn table() -> Value {
    let whole = |name, at: ManualSection, schema| Key::told(name, &section(at), schema);
    let part = |name, schema| whole(name, ManualSection::Settings, schema);
    table_of([
        Key::of(ManualSection::Settings, "region", matching(NAME)),
        Key::of(ManualSection::Settings, "node", text_of(1..=MAX_NODE)),
        part("listen", listen()),
        part("tls", table_of([of("tls", "cert", text()).or("cert.pem"), of("tls", "key", text()).or("key.pem")])),
        part("zones", zones()),
        part("cookies", table_of([of("cookies", "secret_file", text())])),
        whole("rrl", ManualSection::RateLimit, rate_limit()),
        part("chaos", table_of(["version", "id"].map(|key| of("chaos", key, text_of(1..=MAX_TEXT))))),
        whole("api", ManualSection::Operators, table_of([of("api", "token_file", text()).or("tokens")])),
        whole("state", ManualSection::Operators, table_of([of("state", "dir", text()).or("state")])),
        part("log", table_of([of("log", "format", one_of_words(&LogFormat::ALL.map(LogFormat::as_str))).or("human")])),
        part("vantage", table_of([of("vantage", "control", list_of(text(), 0..=MAX_CONTROL))])),
        whole("clients", ManualSection::Clients, clients()),
        whole("regions", ManualSection::Clients, named(crate::config::regions::schema())),
    ])
}

/// A key that the manual has under its table's name and its own.
fn of(table: &str, name: &'static str, schema: Value) -> Key {
    Key::of_row(ManualSection::Settings, &format!("{table}.{name}"), name, schema)
}

fn zones() -> Value {
    let delay = humantime::format_duration(REMOVAL_DELAY).to_string();
    table_of([of("zones", "dir", text()).or("zones"), of("zones", "removal_delay", duration()).or(delay)])
}

fn listen() -> Value {
    let usual = Listen::default();
    let addresses = |key, least: usize| of("listen", key, list_of(text(), least..=MAX_LISTEN));
    table_of([
        addresses("dns", 1).or(json!(usual.dns)),
        of("listen", "http", text()).or(json!(usual.http)),
        of("listen", "workers", integer(0..=MAX_WORKERS)).or(usual.workers),
        addresses("tls", 0),
        addresses("https", 0),
        addresses("quic", 0),
    ])
}

fn rate_limit() -> Value {
    let (of, usual) = (|key, range| of("rrl", key, integer(range)), RateLimit::default());
    table_of([
        of("rate", 0..=MAX_RATE.into()).or(usual.rate),
        of("slip", 0..=MAX_SLIP.into()).or(usual.slip),
        of("v4", 1..=32).or(usual.v4),
        of("v6", 1..=128).or(usual.v6),
        self::of("rrl", "exempt", list_of(text(), 0..=MAX_EXEMPT)),
    ])
}

fn clients() -> Value {
    table_of([
        of("clients", "mmdb", list_of(text(), 0..=MAX_DATABASES)),
        of("clients", "default_region", matching(NAME)),
    ])
}
