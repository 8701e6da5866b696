//! The form in which a record is stored and shown to external-dns. Adjusting a record twice changes nothing more.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::external_dns::property::SteeringWish;
use crate::external_dns::record::{DnsRecord, shortened};
use crate::model::no_host;
use crate::wire::Name;

/// Shortest and longest TTL in seconds. Longer ones would keep clients on an endpoint that is down (judgment: a day).
pub const TTLS: std::ops::RangeInclusive<i64> = 1..=86_400;

/// The types of record that a policy can have.
pub const STEERED_TYPES: [&str; 3] = ["A", "AAAA", "CNAME"];

/// The record as it is stored, for these zones. An error says what is wrong and what to write instead.
pub fn adjusted(record: &DnsRecord, zones: &[Name]) -> Result<DnsRecord, String> {
    record.check_bounds()?;
    let name = domain_name(&record.dns_name)?;
    zone_of(&name, zones).ok_or_else(|| {
        let zones: Vec<String> = zones.iter().map(|zone| zone.to_string()).collect();
        format!("the name is in none of the zones {}", zones.join(", "))
    })?;
    let mut targets = match record.record_type.as_str() {
        "A" => record.targets.iter().map(|target| ipv4(target)).collect::<Result<Vec<_>, _>>()?,
        "AAAA" => record.targets.iter().map(|target| ipv6(target)).collect::<Result<Vec<_>, _>>()?,
        "CNAME" => record.targets.iter().map(|target| alias(target)).collect::<Result<Vec<_>, _>>()?,
        "TXT" => {
            return Err("TXT records are stored for ownership only: write others into the master file".to_owned());
        }
        other => {
            let what = shortened(other);
            return Err(format!("records of type {what} are not steered: write it into the master file"));
        }
    };
    targets.sort();
    targets.dedup();
    if targets.is_empty() {
        return Err("it has no targets".to_owned());
    }
    let wish = SteeringWish::of(record)?;
    if record.record_type == "CNAME" && wish.monitor.is_some() && wish.probe.is_none() {
        return Err("a CNAME with a monitor needs webhook/portolan-probe: the address to probe".to_owned());
    }
    let mut provider_specific = record.provider_specific.clone();
    provider_specific.sort();
    let record_ttl = match record.record_ttl {
        ttl if ttl <= 0 => 0,
        ttl => ttl.clamp(*TTLS.start(), *TTLS.end()),
    };
    Ok(DnsRecord { dns_name: shown(&name), targets, record_ttl, provider_specific, ..record.clone() })
}

/// A TXT record as it is stored: it states who owns another record, and is not served. Its name may be outside all
/// zones, because external-dns writes that of an apex as `a-svc.example`.
pub fn ownership(record: &DnsRecord) -> Result<DnsRecord, String> {
    record.check_bounds()?;
    Ok(DnsRecord { dns_name: shown(&domain_name(&record.dns_name)?), ..record.clone() })
}

/// The zone of a name: the longest of those that contain it.
pub fn zone_of<'z>(name: &Name, zones: &'z [Name]) -> Option<&'z Name> {
    zones.iter().filter(|zone| name.is_within(zone)).max_by_key(|zone| zone.as_wire().len())
}

/// A domain name of a record: letters, digits, `-`, `_`, and `*` for a wildcard.
pub fn domain_name(text: &str) -> Result<Name, String> {
    let refused = |why: &str| format!("`{}` is no domain name: {why}", shortened(text));
    if !text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.*".contains(&octet)) {
        return Err(refused("use letters, digits, `-` and `_`, and write other letters as xn--"));
    }
    Name::parse(text).map_err(|error| refused(&error.to_string()))
}

/// A name as external-dns writes it: without the final dot.
pub fn shown(name: &Name) -> String {
    let text = name.to_string();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

fn ipv4(text: &str) -> Result<String, String> {
    let address: Result<Ipv4Addr, _> = text.parse();
    address.map_err(|_| expected("an IPv4 address", text)).and_then(|address| of_a_host(address.into()))
}

fn ipv6(text: &str) -> Result<String, String> {
    let address: Result<Ipv6Addr, _> = text.parse();
    let address = address.ok().filter(|address| address.to_ipv4_mapped().is_none());
    address.ok_or_else(|| expected("an IPv6 address", text)).and_then(|address| of_a_host(address.into()))
}

/// The text of an address that a host can have.
fn of_a_host(address: IpAddr) -> Result<String, String> {
    match no_host(address) {
        Some(what) => Err(format!("the target {address} is not the address of a host, but {what}")),
        None => Ok(address.to_string()),
    }
}

fn alias(text: &str) -> Result<String, String> {
    let name = domain_name(text)?;
    match text.parse::<IpAddr>() {
        Ok(_) => Err(expected("a domain name", text)),
        Err(_) => Ok(shown(&name)),
    }
}

fn expected(what: &str, found: &str) -> String {
    format!("expected {what} as target; found `{}`", shortened(found))
}
