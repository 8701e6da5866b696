//! The value of a key as an instance: `IP:PORT`, `HOST:PORT`, or a JSON object. Pure.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value};

use crate::discovery::instance::port_of;
use crate::discovery::{Instance, StatedHealth};
use crate::model::{Mappings, host_name};

/// Longest value in octets (judgment: ten times what an instance with labels has).
const MAX_VALUE: usize = 16 << 10;

/// What a value should be, for messages.
const EXPECTED: &str = "expected IP:PORT, or JSON such as {\"address\": \"10.0.0.1\", \"port\": 80}";

/// The instance of a key. `name` is the key without the prefix.
pub(super) fn instance_of(name: &str, value: &[u8], mappings: &Mappings) -> Result<Instance, String> {
    if value.len() > MAX_VALUE {
        return Err(format!("its value has {} octets, over {MAX_VALUE}", value.len()));
    }
    let text = std::str::from_utf8(value).map_err(|_| format!("its value is no text; {EXPECTED}"))?.trim();
    if !text.starts_with('{') {
        let (address, port) = address_and_port(text).ok_or_else(|| format!("found `{text}`; {EXPECTED}"))?;
        return Ok(Instance::new(name, [address], port).mapped(mappings, |_| None));
    }
    let fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("its JSON is wrong ({error}); {EXPECTED}"))?;
    let field = |name: &str| fields.get(name).and_then(text_of);
    let port = match field("port") {
        None => None,
        Some(port) => Some(port_of(&port)?),
    };
    let addresses: Vec<String> = match fields.get("addresses") {
        Some(Value::Array(all)) => all.iter().filter_map(text_of).collect(),
        Some(_) | None => field("address").into_iter().collect(),
    };
    let (addresses, port) = match &addresses[..] {
        [] => return Err(format!("its JSON has no `address`; {EXPECTED}")),
        // An address with its port, as in a plain value.
        [one] if port.is_none() => match address_and_port(one) {
            Some((address, port)) => (vec![address], port),
            None if one.parse::<SocketAddr>().is_ok() => return Err(format!("found `{one}`; {EXPECTED}")),
            None => (addresses, None),
        },
        _ => (addresses, port),
    };
    let instance = Instance::new(name, addresses, port).mapped(mappings, field);
    match health_of(field("health"))? {
        StatedHealth::Up => Ok(instance),
        StatedHealth::Down => Ok(instance.down("its `health` is down")),
    }
}

/// The text of a field: of a text, a number or a Boolean.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is_true) => Some(is_true.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `IP:PORT`, an IP address, or either with the whole name of a host.
fn address_and_port(text: &str) -> Option<(String, Option<u16>)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() > 0).then(|| (address.ip().to_string(), Some(address.port())));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address.to_string(), None));
    }
    let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    let is_host = host.contains('.') && host.bytes().all(is_plain) && host_name(host).is_ok();
    let port = port.map(port_of).transpose().ok()?;
    is_host.then(|| (host.to_owned(), port))
}

fn health_of(word: Option<String>) -> Result<StatedHealth, String> {
    match word.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("up" | "healthy" | "passing" | "true" | "") => Ok(StatedHealth::Up),
        Some("down" | "unhealthy" | "critical" | "false") => Ok(StatedHealth::Down),
        Some(other) => Err(format!("its `health` is `{other}`; expected up or down")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Mapping;

    fn instance(value: &str) -> Result<Instance, String> {
        instance_of("web-1", value.as_bytes(), &Mappings::default())
    }

    #[test]
    fn a_value_is_an_address_with_a_port_or_json() {
        for (value, addresses, port) in [
            ("10.0.0.1:80", &["10.0.0.1"][..], Some(80)),
            (" 10.0.0.1:80\n", &["10.0.0.1"], Some(80)),
            ("[2001:db8::1]:80", &["2001:db8::1"], Some(80)),
            ("2001:db8::1", &["2001:db8::1"], None),
            ("10.0.0.1", &["10.0.0.1"], None),
            (r#"{"address":"10.0.0.1","port":80}"#, &["10.0.0.1"], Some(80)),
            (r#"{"address":"10.0.0.1","port":"80"}"#, &["10.0.0.1"], Some(80)),
            (r#"{"address":"10.0.0.1:80"}"#, &["10.0.0.1"], Some(80)),
            (r#"{"addresses":["10.0.0.1","2001:db8::1"],"port":80}"#, &["10.0.0.1", "2001:db8::1"], Some(80)),
            (r#"{"address":"web.example"}"#, &["web.example"], None),
            (r#"{"address":"web.example:443"}"#, &["web.example"], Some(443)),
            ("web.example:80", &["web.example"], Some(80)),
            ("web.example.", &["web.example."], None),
        ] {
            let found = instance(value).unwrap();
            assert_eq!((found.addresses, found.port, &*found.name), (owned(addresses), port, "web-1"), "{value}");
        }
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn other_fields_are_texts_for_the_mappings() {
        let value = r#"{"address":"10.0.0.1","weight":70,"region":"eu","zone":"DE","capacity":null,"health":"Down"}"#;
        let found = instance(value).unwrap();
        assert_eq!((found.weight.as_deref(), found.region.as_deref(), found.capacity), (Some("70"), Some("eu"), None));
        assert_eq!(found.health, StatedHealth::Down);
        let mappings = Mappings {
            country: Mapping::Field("zone".into()),
            region: Mapping::Fixed("us".into()),
            ..Mappings::default()
        };
        let found = instance_of("a", value.as_bytes(), &mappings).unwrap();
        assert_eq!((found.country.as_deref(), found.region.as_deref()), (Some("DE"), Some("us")));
        let plain = instance_of("a", b"10.0.0.1:80", &mappings).unwrap();
        assert_eq!(
            (plain.country, plain.region.as_deref()),
            (None, Some("us")),
            "a fixed text is for plain values too"
        );
    }

    #[test]
    fn a_wrong_value_is_refused_with_what_was_expected() {
        let long = "x".repeat(MAX_VALUE + 1);
        for (value, expected) in [
            ("", "expected IP:PORT"),
            ("web.example:0", "found `web.example:0`; expected IP:PORT"),
            ("hello", "found `hello`; expected IP:PORT"),
            ("a b.example", "expected IP:PORT"),
            ("10.0.0.1:99999", "expected IP:PORT"),
            ("{", "its JSON is wrong"),
            ("{}", "no `address`"),
            (r#"{"address":["10.0.0.1"]}"#, "no `address`"),
            (r#"{"address":"10.0.0.1","port":99999}"#, "port `99999` is none"),
            (r#"{"address":"10.0.0.1","port":0}"#, "port `0` is none"),
            (r#"{"address":"10.0.0.1","port":"+80"}"#, "port `+80` is none"),
            (r#"{"address":"10.0.0.1","port":-1}"#, "port `-1` is none"),
            (r#"{"address":"10.0.0.1:0"}"#, "found `10.0.0.1:0`; expected IP:PORT"),
            ("10.0.0.1:0", "expected IP:PORT"),
            (r#"{"address":"10.0.0.1","health":"so so"}"#, "expected up or down"),
            (&long, "over 16384"),
        ] {
            let why = instance(value).unwrap_err();
            assert!(why.contains(expected), "{value}: {why}");
        }
        assert!(instance_of("a", &[0xff], &Mappings::default()).unwrap_err().contains("no text"));
    }

    proptest! {
        #[test]
        fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..60), json in "[{}\\[\\]\":,a0-9]{0,40}") {
            drop(instance_of("a", &value, &Mappings::default()));
            drop(instance_of("a", format!("{{{json}").as_bytes(), &Mappings::default()));
        }
    }
}
