//! The properties by which annotations steer. external-dns passes the annotation
//! `external-dns.alpha.kubernetes.io/webhook-portolan-weight: "70"` on as the property `webhook/portolan-weight`. In a
//! DNSEndpoint the same name is written, or `portolan/weight`.

use std::net::{IpAddr, SocketAddr};

use crate::external_dns::record::{DnsRecord, shortened};
use crate::model::Steering;
use crate::source::did_you_mean;

/// The beginnings of the names of our properties.
const PREFIXES: [&str; 2] = ["webhook/portolan-", "portolan/"];

/// The names of the properties after the prefix.
pub const NAMES: [&str; 9] =
    ["steer", "weight", "order", "region", "country", "monitor", "probe", "answers", "on-empty"];

/// Largest weight: that of a member.
const MAX_WEIGHT: u32 = 1_000_000;
/// Largest order (judgment: a name has fewer groups).
const MAX_ORDER: u32 = 1000;
/// Most records in a reply: that of `answers`.
const MAX_ANSWERS: u32 = 64;
/// What `on-empty` may be: the words that need no other part of the policy.
const ON_EMPTY: [&str; 3] = ["last_good", "all", "nodata"];

/// What the properties of one record state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SteeringWish {
    /// How the pool of the name steers.
    pub steer: Option<&'static str>,
    /// The weight of these targets, 0 to 1,000,000; 0: a standby.
    pub weight: Option<u32>,
    /// The place of these targets in a failover pool: lower ones go first.
    pub order: Option<u32>,
    /// The region of the targets.
    pub region: Option<String>,
    /// The country of the targets.
    pub country: Option<String>,
    /// What the targets are probed by.
    pub monitor: Option<MonitorWish>,
    /// What is probed in place of the target, which a CNAME needs.
    pub probe: Option<String>,
    /// Most records in a reply, 1 to 64.
    pub answers: Option<u32>,
    /// What is answered when nothing is up.
    pub on_empty: Option<&'static str>,
}

/// A monitor: `https:8443/healthz`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonitorWish {
    /// The type of monitor.
    pub kind: &'static str,
    /// The port; `None`: the usual one of the type.
    pub port: Option<u16>,
    /// The path of the request.
    pub path: Option<String>,
}

impl SteeringWish {
    /// What the properties of a record state. An error names the property and says what to write instead.
    pub fn of(record: &DnsRecord) -> Result<SteeringWish, String> {
        let mut wish = SteeringWish::default();
        let mut seen: Vec<&str> = Vec::new();
        for property in &record.provider_specific {
            let Some(name) = own_name(&property.name) else { continue };
            let value = property.value.as_str();
            let expected = |what: &str| format!("{}: expected {what}; found `{}`", property.name, shortened(value));
            let within =
                |least, most| number(value, least, most).ok_or_else(|| expected(&format!("{least} to {most}")));
            if seen.contains(&name) {
                return Err(format!("{} is there twice", property.name));
            }
            seen.push(name);
            match name {
                "steer" => {
                    let word = steers().find(|word| *word == value);
                    let all = || steers().collect::<Vec<_>>().join(", ");
                    wish.steer = Some(word.ok_or_else(|| expected(&all()))?);
                }
                "weight" => wish.weight = Some(within(0, MAX_WEIGHT)?),
                "order" => wish.order = Some(within(0, MAX_ORDER)?),
                "region" if is_name(value) => wish.region = Some(value.to_owned()),
                "region" => return Err(expected("a region of the settings")),
                "country" if value.len() == 2 && value.bytes().all(|octet| octet.is_ascii_alphabetic()) => {
                    wish.country = Some(value.to_ascii_uppercase());
                }
                "country" => return Err(expected("a country's code of ISO 3166-1, such as DE")),
                "monitor" => wish.monitor = Some(MonitorWish::parse(value).map_err(|what| expected(&what))?),
                "probe" if value.parse::<SocketAddr>().is_ok() || value.parse::<IpAddr>().is_ok() => {
                    wish.probe = Some(value.to_owned());
                }
                "probe" => return Err(expected("an address, such as 192.0.2.1 or 192.0.2.1:8080")),
                "answers" => wish.answers = Some(within(1, MAX_ANSWERS)?),
                "on-empty" => {
                    let word = ON_EMPTY.into_iter().find(|word| *word == value);
                    wish.on_empty = Some(word.ok_or_else(|| expected("last_good, all or nodata"))?);
                }
                unknown => {
                    let hint =
                        did_you_mean(unknown, NAMES).unwrap_or_else(|| format!("there are {}", NAMES.join(", ")));
                    return Err(format!("there is no property {} ({hint})", shortened(&property.name)));
                }
            }
        }
        Ok(wish)
    }
}

/// The name of one of our properties without its prefix; `None`: it is for another provider.
pub fn own_name(name: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))
}

impl MonitorWish {
    fn parse(text: &str) -> Result<MonitorWish, String> {
        let expected = || {
            "TYPE, TYPE:PORT or, for http and https, TYPE:PORT/PATH, such as https:8443/healthz; types are icmp, tcp, \
             http, https, tls and grpc"
                .to_owned()
        };
        let (before, path) = match text.find('/') {
            Some(at) => (&text[..at], Some(text[at..].to_owned())),
            None => (text, None),
        };
        let (kind, port) = match before.split_once(':') {
            Some((kind, port)) => (kind, Some(number(port, 1, u32::from(u16::MAX)).ok_or_else(expected)?)),
            None => (before, None),
        };
        let kinds = ["icmp", "tcp", "http", "https", "tls", "grpc"];
        let kind = kinds.into_iter().find(|known| *known == kind).ok_or_else(expected)?;
        let has_path = matches!(kind, "http" | "https");
        let needs_port = matches!(kind, "tcp" | "grpc");
        let is_path = |path: &String| path.len() <= 1024 && path.bytes().all(|octet| octet.is_ascii_graphic());
        let fits = (path.is_none() || has_path)
            && path.as_ref().is_none_or(is_path)
            && (port.is_some() || !needs_port)
            && (port.is_none() || kind != "icmp");
        let port = port.and_then(|port| u16::try_from(port).ok());
        if fits { Ok(MonitorWish { kind, port, path }) } else { Err(expected()) }
    }
}

/// The kinds of pools, without the one that needs more than a list of members.
fn steers() -> impl Iterator<Item = &'static str> {
    Steering::ALL.iter().filter(|(_, kind)| *kind != Steering::Geo).map(|(word, _)| *word)
}

fn number(text: &str, least: u32, most: u32) -> Option<u32> {
    let is_plain = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten().filter(|number| (least..=most).contains(number))
}

/// Whether a text can be the name of a region or a cluster: 1 to 63 letters, digits, `-`, `_` and `.`.
pub fn is_name(text: &str) -> bool {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    (1..=63).contains(&text.len()) && text.bytes().all(fits)
}
