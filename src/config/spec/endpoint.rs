//! `[endpoint.NAME]`: one thing that is answered with and probed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::client_lists::{COUNTRY, country};
use crate::config::keys::{
    KeyGroup, KeyKind, Table, check_name, choice, duration, integer, keys, name, object, text, texts,
};
use crate::model::{AdminState, Country, ON_EMPTY_WORDS, host_name, no_host, probe_address};
use crate::source::{At, ManualSection, Problems};

/// Highest weight: sums of them stay exact (judgment; nobody steers finer than one in a million).
pub(in crate::config) const MAX_WEIGHT: i64 = 1_000_000;
/// Highest capacity: sums of them stay exact, and no host answers that often (judgment).
const MAX_CAPACITY: i64 = 1_000_000_000_000;
/// Longest ramp: an hour; a cache that is colder than that fills by itself (judgment).
const MAX_RAMP: Duration = Duration::from_secs(3600);

/// The values of `state`.
const STATES: [(&str, AdminState); 3] =
    [("enabled", AdminState::Enabled), ("drain", AdminState::Drain), ("disabled", AdminState::Disabled)];

keys! {
    /// `[endpoint.NAME]`.
    EndpointSpec {
        /// one IPv4 and one IPv6 address at most, each judged by itself: an A answer needs the IPv4 one up. Addresses
        /// that no client can connect to, such as link-local and multicast ones, are refused
        addresses: Vec<IpAddr> = texts("[\"192.0.2.10\"]").then(addresses).with_schema(addresses_schema),
            note "this or `cname`";
        /// a domain name that is answered as a CNAME, all of it: it is not relative to the zone; not possible at the
        /// apex, nor for a name that has other records.
        /// A cname that leads back to its own steered name, directly or through other names of this server, is refused
        cname: Box<[u8]> = text("\"fra1.hosting.example.\"").then(target), note "this or `addresses`";
        /// the region where the endpoint is; declared in the settings
        region: String = name("\"eu-central\"");
        /// the check that decides whether it is up
        monitor: String = name("\"web\""), note "none: always up";
        /// another address to probe, such as `"198.51.100.7:8080"`; without a port, the monitor's. An endpoint with a
        /// cname and a monitor needs it, except for heartbeats
        probe: (IpAddr, Option<u16>) = text("\"198.51.100.7:8080\"").parsed(|text| Ok(probe_address(text)?)),
            note "its own address";
        /// its share within a pool, 0 to 1000000. 0 is a standby: used only when every other member is out
        weight: u32 = integer(0..=MAX_WEIGHT), default 1;
        /// `"drain"`: no new answers, still probed · `"disabled"`: not probed either
        state: AdminState = choice(&STATES, "a state"), default AdminState::Enabled;
        /// the country where the endpoint is, for fences: `"DE"`, a code of ISO 3166-1
        country: Country = text("\"DE\"").matching(COUNTRY).parsed(country);
        /// the answers a second that it can serve, for `portolan simulate`
        capacity: u64 = integer(0..=MAX_CAPACITY);
        /// after it was down, its weight grows to the full value over this time, up to an hour; see
        /// [below](#warm-return-ramp)
        ramp: Duration = duration(Duration::ZERO..=MAX_RAMP, "\"60s\""), default Duration::ZERO;
    }
}

impl Table for EndpointSpec {
    const SECTION: Option<ManualSection> = Some(ManualSection::Endpoint);

    fn check(&mut self, _: bool, problems: &mut Problems) -> bool {
        let name = self.name.clone();
        check_entity(&name, "an endpoint", problems);
        match (self.has("addresses"), self.has("cname")) {
            (true, true) => {
                let message = format!("`{}` has both `addresses` and `cname`", name.value);
                problems.error(&name.place, message).hint("keep one of them");
                (self.addresses, self.cname) = (None, None);
            }
            (false, false) if self.lacks("addresses") && self.lacks("cname") => {
                let message = format!("`{}` has neither `addresses` nor `cname`", name.value);
                problems.error(&name.place, message).hint("write `addresses = [\"192.0.2.10\"]`");
            }
            (true, false) | (false, true) | (false, false) => {}
        }
        true
    }

    fn schema() -> Json {
        let mut endpoint = object(&Self::keys());
        endpoint["oneOf"] = json!([{ "required": ["addresses"] }, { "required": ["cname"] }]);
        endpoint
    }
}

/// Endpoints and pools share their names with the words of `on_empty` and with overrides.
pub(super) fn check_entity(name: &At<String>, what: &str, problems: &mut Problems) {
    check_name(name, what, problems);
    if ON_EMPTY_WORDS.contains(&name.value.as_str()) {
        let problem = problems.error(&name.place, format!("`{}` can't be the name of {what}", name.value));
        problem.hint("this word has another meaning in `on_empty`");
    }
}

fn addresses_schema() -> Json {
    let address = json!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] });
    json!({ "type": "array", "items": address, "minItems": 1, "maxItems": 2 })
}

/// One address of a family at most, IPv4 first.
fn addresses(list: At<Vec<At<String>>>, problems: &mut Problems) -> Option<Vec<IpAddr>> {
    let mut found: Vec<At<IpAddr>> = Vec::new();
    let written = list.value.len();
    if written == 0 {
        problems.error(&list.place, "`addresses` is empty").hint("write `addresses = [\"192.0.2.10\"]`");
    }
    for item in list.value {
        let Ok(address) = item.value.parse::<IpAddr>() else {
            let problem = problems.error(&item.place, format!("\"{}\" is not an IP address", item.value));
            problem.hint(match item.value.parse::<SocketAddr>() {
                Ok(_) => "leave out the port: it belongs to the monitor",
                Err(_) => "write it as \"192.0.2.10\" or \"2001:db8::10\"; a name goes into `cname`",
            });
            continue;
        };
        if let Some(what) = no_host(address) {
            let message = format!("{address} is not the address of a host, but {what}");
            problems.error(&item.place, message).hint(match address.to_canonical() {
                plain if plain != address => format!("write \"{plain}\""),
                _ => "write one that clients can connect to".to_owned(),
            });
        } else if let Some(first) = found.iter().find(|other| other.value.is_ipv4() == address.is_ipv4()) {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            let problem = problems.error(&item.place, format!("{address} is a second {family} address"));
            problem.label(&first.place, "the first");
            problem.hint("an endpoint has at most one IPv4 and one IPv6 address: declare another endpoint");
        } else {
            found.push(item.map(|_| address));
        }
    }
    let mut found: Vec<IpAddr> = found.into_iter().map(|at| at.value).collect();
    found.sort_by_key(IpAddr::is_ipv6);
    (written > 0 && found.len() == written).then_some(found)
}

/// The target of a CNAME in wire form, in the case in which it is written.
fn target(At { value, place }: At<String>, problems: &mut Problems) -> Option<Box<[u8]>> {
    if let Err((message, hint)) = host_name(&value) {
        problems.error(&place, message).hint(hint);
        return None;
    }
    if !value.contains('.') {
        let message = format!("`cname = \"{value}\"` is `{value}.`, a name outside of all zones");
        let problem = problems.warning(&place, message);
        problem.hint(format!("write all of it, such as `cname = \"{value}.svc.example.\"`"));
    }
    written_wire(&value)
}

/// [`Name`] has it in lower case.
fn written_wire(text: &str) -> Option<Box<[u8]>> {
    use domain::base::name::{Name as Scanned, ToName};
    use std::str::FromStr;
    let name = Scanned::<Vec<u8>>::from_str(text).ok()?;
    Some(name.to_vec().as_octets().as_slice().into())
}
