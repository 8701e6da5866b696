//! `[endpoint.*]` and `[pool.*]`: what may be answered with, and how it is chosen among.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::client_lists::country;
use crate::config::fields::{Fields, integer, wrong_type};
use crate::config::manual::Section;
use crate::config::node::{Kind, Node};
use crate::config::problem::{Problems, did_you_mean};
use crate::config::regions::check_name;
use crate::config::source::At;
use crate::config::spec::selector::{self, SelectorSpec};
use crate::model::{AdminState, Band, Country, Steering};
use crate::wire::Name;

/// Highest weight: sums of them stay exact (judgment; nobody steers finer than one in a million).
pub(in crate::config) const MAX_WEIGHT: i64 = 1_000_000;
/// Most members of one pool (judgment: a decision walks them all).
pub(in crate::config) const MAX_MEMBERS: usize = 4096;
/// Highest capacity: sums of them stay exact, and no host answers that often (judgment).
pub(in crate::config) const MAX_CAPACITY: i64 = 1_000_000_000_000;
/// Longest ramp: an hour; a cache that is colder than that fills by itself (judgment).
pub(in crate::config) const MAX_RAMP: Duration = Duration::from_secs(3600);
/// Widest band: ten seconds are no round trip any more (judgment).
pub(in crate::config) const MAX_BAND_MS: f64 = 10_000.0;
/// Widest band in percent: eleven times the best (judgment).
pub(in crate::config) const MAX_BAND_PERCENT: i64 = 1000;

/// Ways to steer.
pub(in crate::config) const STEER: [&str; 7] = ["weighted", "latency", "nearest", "failover", "geo", "affinity", "all"];
/// States of an endpoint.
pub(in crate::config) const STATES: [&str; 3] = ["enabled", "drain", "disabled"];

/// One declared endpoint.
#[derive(Debug)]
pub(in crate::config) struct EndpointSpec {
    /// Its name.
    pub(in crate::config) name: At<String>,
    /// What it is answered with; `None` where that couldn't be read, which has been told.
    pub(in crate::config) serves: Option<Serves>,
    /// Where it stands.
    pub(in crate::config) region: Option<At<String>>,
    /// Where it is probed instead, and on which port.
    pub(in crate::config) probe: Option<At<(IpAddr, Option<u16>)>>,
    /// Its share.
    pub(in crate::config) weight: u32,
    /// The monitor that judges it.
    pub(in crate::config) monitor: Option<At<String>>,
    /// The operator's word.
    pub(in crate::config) state: AdminState,
    /// The country it stands in.
    pub(in crate::config) country: Option<Country>,
    /// Answers a second that it can take.
    pub(in crate::config) capacity: Option<u64>,
    /// How long its weight grows after a recovery.
    pub(in crate::config) ramp: Option<At<Duration>>,
}

/// What an endpoint is answered with.
#[derive(Debug)]
pub(in crate::config) enum Serves {
    /// One address of a family at most, at least one; IPv4 first.
    Addresses(Vec<IpAddr>),
    /// A name, wire form in the case it is written.
    Cname(Box<[u8]>),
}

/// One declared pool.
#[derive(Debug)]
pub(in crate::config) struct PoolSpec {
    /// Its name.
    pub(in crate::config) name: At<String>,
    /// How its members are chosen among.
    pub(in crate::config) steering: Steering,
    /// Its members, as listed.
    pub(in crate::config) members: Vec<MemberSpec>,
    /// How near RTTs are equal.
    pub(in crate::config) band: Option<Band>,
    /// The share of weight below which it is down for its parent.
    pub(in crate::config) min_up: Option<At<f64>>,
}

/// One member of a pool.
#[derive(Debug)]
pub(in crate::config) struct MemberSpec {
    /// The endpoint or pool.
    pub(in crate::config) to: At<String>,
    /// Its weight here, where it says.
    pub(in crate::config) weight: Option<u32>,
    /// Whom it is for, where it says.
    pub(in crate::config) when: Option<SelectorSpec>,
    /// Whether it says so at all, even where that couldn't be read.
    pub(in crate::config) has_when: bool,
}

/// `[endpoint.NAME]`.
pub(super) fn endpoint(name: At<String>, mut fields: Fields, problems: &mut Problems) -> EndpointSpec {
    check_entity(&name, "an endpoint", problems);
    let serves = serves(&name, &mut fields, problems);
    let region = fields.text("region", "\"eu-central\"", problems);
    let probe = fields.text("probe", "\"198.51.100.7:8080\"", problems).and_then(|at| probe(at, problems));
    let weight = fields.integer("weight", 0..=MAX_WEIGHT, problems).map_or(1, |weight| weight.value as u32);
    let monitor = fields.text("monitor", "\"web\"", problems);
    let state = state(&mut fields, problems);
    let country = fields.text("country", "\"DE\"", problems).and_then(|at| country(&at.value, &at.place, problems));
    let capacity = fields.integer("capacity", 0..=MAX_CAPACITY, problems).map(|capacity| capacity.value as u64);
    let ramp = fields.duration("ramp", Duration::ZERO..=MAX_RAMP, "\"60s\"", problems);
    fields.finish(&[], problems);
    EndpointSpec { name, serves, region, probe, weight, monitor, state, country, capacity, ramp }
}

/// Endpoints and pools: besides what names may look like, `on_empty` and overrides have words of their own.
fn check_entity(name: &At<String>, what: &str, problems: &mut Problems) {
    check_name(name, what, problems);
    if crate::config::validate::ON_EMPTY_WORDS.contains(&name.value.as_str()) {
        let problem = problems.error(&name.place, format!("`{}` can't be the name of {what}", name.value));
        problem.hint("this word has another meaning in `on_empty`");
    }
}

fn serves(name: &At<String>, fields: &mut Fields, problems: &mut Problems) -> Option<Serves> {
    let (has_addresses, has_cname) = (fields.has("addresses"), fields.has("cname"));
    let lacks = fields.lacks("addresses") && fields.lacks("cname");
    let list = fields.texts("addresses", "[\"192.0.2.10\"]", problems);
    let cname = fields.text("cname", "\"fra1.hosting.example.\"", problems);
    match (has_addresses, has_cname) {
        (true, true) => {
            let message = format!("`{}` has both `addresses` and `cname`", name.value);
            problems.error(&name.place, message).hint("keep one of them");
            None
        }
        (false, false) if !lacks => None,
        (false, false) => {
            let message = format!("`{}` has neither `addresses` nor `cname`", name.value);
            problems.error(&name.place, message).hint("write `addresses = [\"192.0.2.10\"]`");
            None
        }
        (true, false) => addresses(list?, problems).map(Serves::Addresses),
        (false, true) => cname.and_then(|cname| target(cname, problems)).map(Serves::Cname),
    }
}

fn addresses(list: At<Vec<At<String>>>, problems: &mut Problems) -> Option<Vec<IpAddr>> {
    let mut found: Vec<At<IpAddr>> = Vec::new();
    let mut wrong = list.value.is_empty();
    if wrong {
        problems.error(&list.place, "`addresses` is empty").hint("write `addresses = [\"192.0.2.10\"]`");
    }
    for item in list.value {
        let Ok(address) = item.value.parse::<IpAddr>() else {
            let problem = problems.error(&item.place, format!("\"{}\" is not an IP address", item.value));
            let with_port = item.value.parse::<SocketAddr>().is_ok();
            problem.hint(match with_port {
                true => "leave out the port: it belongs to the monitor",
                false => "write it as \"192.0.2.10\" or \"2001:db8::10\"; a name goes into `cname`",
            });
            wrong = true;
            continue;
        };
        if address.is_unspecified() || address.is_multicast() {
            let problem = problems.error(&item.place, format!("{address} is not the address of a host"));
            problem.hint("write one that clients can connect to");
            wrong = true;
        } else if let Some(first) = found.iter().find(|other| other.value.is_ipv4() == address.is_ipv4()) {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            let problem = problems.error(&item.place, format!("{address} is a second {family} address"));
            problem.label(&first.place, "the first");
            problem.hint("an endpoint has at most one IPv4 and one IPv6 address: declare another endpoint");
            wrong = true;
        } else {
            found.push(item.map(|_| address));
        }
    }
    let mut found: Vec<IpAddr> = found.into_iter().map(|at| at.value).collect();
    found.sort_by_key(IpAddr::is_ipv6);
    (!wrong).then_some(found)
}

fn target(cname: At<String>, problems: &mut Problems) -> Option<Box<[u8]>> {
    let At { value, place } = cname;
    let bad = match Name::parse(&value) {
        Ok(name) if name != Name::root() && !name.is_wildcard() => return written_wire(&value),
        Ok(_) => "nothing can be reached there".to_string(),
        Err(error) => error.to_string(),
    };
    let problem = problems.error(&place, format!("\"{value}\" is not a name to send clients to: {bad}"));
    problem.hint("write `cname = \"fra1.hosting.example.\"`");
    None
}

/// Wire form in the case it is written; [`Name`] has it in lower case.
fn written_wire(text: &str) -> Option<Box<[u8]>> {
    use domain::base::name::{Name as Scanned, ToName};
    use std::str::FromStr;
    let name = Scanned::<Vec<u8>>::from_str(text).ok()?;
    Some(name.to_vec().as_octets().as_slice().into())
}

/// `ADDRESS:PORT`, or an address alone.
fn probe(written: At<String>, problems: &mut Problems) -> Option<At<(IpAddr, Option<u16>)>> {
    let At { value, place } = written;
    let bare = value.trim_start_matches('[').trim_end_matches(']');
    let parsed = match (value.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
        (Ok(socket), _) if socket.port() != 0 => Some((socket.ip(), Some(socket.port()))),
        (Err(_), Ok(address)) => Some((address, None)),
        (Ok(_), _) | (Err(_), Err(_)) => None,
    };
    if parsed.is_none() {
        let problem = problems.error(&place, format!("\"{value}\" is not an address to probe"));
        problem.hint("write `probe = \"198.51.100.7:8080\"` or `probe = \"[2001:db8::7]:8080\"`");
    }
    parsed.map(|value| At { value, place })
}

fn state(fields: &mut Fields, problems: &mut Problems) -> AdminState {
    let Some(written) = fields.text("state", "\"enabled\"", problems) else { return AdminState::default() };
    match written.value.as_str() {
        "enabled" => AdminState::Enabled,
        "drain" => AdminState::Drain,
        "disabled" => AdminState::Disabled,
        other => {
            let problem = problems.error(&written.place, format!("`{other}` is not a state"));
            problem.hint = did_you_mean(other, STATES);
            AdminState::default()
        }
    }
}

/// `[pool.NAME]`.
pub(super) fn pool(name: At<String>, mut fields: Fields, problems: &mut Problems) -> PoolSpec {
    check_entity(&name, "a pool", problems);
    let (written, lacks) = (fields.place_of("members"), fields.lacks("members"));
    let list = fields.list("members", "[\"fra1\", \"ams1\"]", problems);
    if lacks || list.as_ref().is_some_and(|list| list.value.is_empty()) {
        let problem =
            problems.error(written.as_ref().unwrap_or(&name.place), format!("pool `{}` is empty", name.value));
        problem.hint("write `members = [\"ENDPOINT\", ...]`");
    }
    let items = list.map_or_else(Vec::new, |list| list.value);
    if items.len() > MAX_MEMBERS {
        problems.error(&name.place, format!("pool `{}` has more than {MAX_MEMBERS} members", name.value));
    }
    let steering = steering(&mut fields, problems);
    let mut members: Vec<MemberSpec> = Vec::new();
    for item in items.into_iter().take(MAX_MEMBERS) {
        let Some(member) = member(item, problems) else { continue };
        // One that is first for some and in reserve for the others is listed twice with reason.
        let first = members.iter().find(|other| other.to.value == member.to.value && steering != Some(Steering::Geo));
        if let Some(first) = first {
            let message = format!("`{}` is listed twice in pool `{}`", member.to.value, name.value);
            let problem = problems.error(&member.to.place, message).label(&first.to.place, "first here");
            let hint = format!("give it more weight instead: {{ to = \"{}\", weight = 2 }}", member.to.value);
            problem.hint(hint);
        } else {
            members.push(member);
        }
    }
    let band = band(steering, &mut fields, problems);
    let min_up = fraction("min_up", "0.5", 0.0..=1.0, &mut fields, problems);
    fields.finish(&[], problems);
    problems.about(Section::Geo, |problems| check_when(&name, steering, &members, problems));
    PoolSpec { name, steering: steering.unwrap_or_default(), members, band, min_up }
}

/// `"fra1"` or `{ to = "fra1", weight = 30 }`.
fn member(item: Node, problems: &mut Problems) -> Option<MemberSpec> {
    let Node { place, kind } = item;
    match kind {
        Kind::Text(value) | Kind::Loose(value) => {
            Some(MemberSpec { to: At { value, place }, weight: None, when: None, has_when: false })
        }
        Kind::Table(_) => {
            let mut fields = Fields::of_node(Node { place: place.clone(), kind }, "a member", problems)?;
            if fields.lacks("to") {
                let problem = problems.error(&place, "this member has no `to`");
                problem.hint("write `{ to = \"fra1\", weight = 30 }`");
            }
            let to = fields.text("to", "\"fra1\"", problems);
            let weight = fields.take("weight").and_then(|entry| weight(entry.value, problems));
            let has_when = fields.has("when");
            let when = problems.about(Section::Geo, |problems| selector::read("when", &mut fields, problems));
            fields.finish(&[], problems);
            Some(MemberSpec { to: to?, weight, when, has_when })
        }
        other => {
            let wrong = wrong_type(&place, "a member", "a name or a table", other.described(), problems);
            wrong.hint("write \"fra1\" or { to = \"fra1\", weight = 30 }");
            None
        }
    }
}

/// `when` is for geo pools, where the last member, and it alone, is for everybody.
fn check_when(pool: &At<String>, steering: Option<Steering>, members: &[MemberSpec], problems: &mut Problems) {
    let Some(((last, before), steering)) = members.split_last().zip(steering) else { return };
    if steering != Steering::Geo {
        for member in members {
            if let Some(when) = &member.when {
                let message = format!("`when` does nothing here: pool `{}` doesn't steer by it", pool.value);
                problems.error(&when.place, message).hint("write `steer = \"geo\"`, or leave it out");
            }
        }
        return;
    }
    if last.has_when {
        let message =
            format!("the last member of the geo pool `{}` has a `when`: other clients would get no answer", pool.value);
        let problem = problems.error(&last.to.place, message);
        problem.hint("add a last member without `when`, for all other clients: `{ to = \"NAME\" }`");
    }
    if let Some(all) = before.iter().find(|member| !member.has_when) {
        let message = format!("`{}` has no `when`, so no client gets to the members after it", all.to.value);
        let problem = problems.error(&all.to.place, message);
        problem.label(&last.to.place, "the last member");
        problem.hint("give it a `when`, or move it to the end: only the last member of a geo pool has none");
    }
}

/// `band = { ms = 8, pct = 10 }`.
fn band(steering: Option<Steering>, fields: &mut Fields, problems: &mut Problems) -> Option<Band> {
    let example = "{ ms = 8, pct = 10 }";
    let mut inner = fields.inline("band", example, problems)?;
    let (place, is_empty, before) = (inner.place.clone(), !inner.has("ms") && !inner.has("pct"), problems.errors());
    let ms = fraction("ms", "8", 0.0..=MAX_BAND_MS, &mut inner, problems);
    let percent = inner.integer("pct", 0..=MAX_BAND_PERCENT, problems);
    inner.finish(&[], problems);
    if steering.is_some_and(|steering| steering != Steering::Latency) {
        let problem = problems.error(&place, "`band` is for pools that steer by latency");
        problem.hint("write `steer = \"latency\"`, or leave it out");
    } else if is_empty {
        problems.error(&place, "`band` says neither `ms` nor `pct`").hint(format!("write `band = {example}`"));
    } else if problems.errors() == before
        && ms.as_ref().is_none_or(|at| at.value == 0.0)
        && percent.as_ref().is_none_or(|at| at.value == 0)
    {
        let problem =
            problems.warning(&place, "a `band` of 0 has no effect: only the member with the lowest RTT is in it");
        problem.hint(format!("leave it out, or write `band = {example}`"));
    }
    Some(Band {
        over: ms.map_or(Duration::ZERO, |at| Duration::from_secs_f64(at.value / 1000.0)),
        percent: percent.map_or(0, |at| at.value as u32),
    })
}

/// A number within `range`, whole or with a fraction.
fn fraction(
    key: &'static str,
    example: &str,
    range: std::ops::RangeInclusive<f64>,
    fields: &mut Fields,
    problems: &mut Problems,
) -> Option<At<f64>> {
    let Node { place, kind } = fields.take(key)?.value;
    let (value, found) = match &kind {
        Kind::Integer(value) => (Some(*value as f64), value.to_string()),
        Kind::Float(value) => (Some(*value), value.to_string()),
        other => (None, other.described().to_string()),
    };
    let value = value.filter(|value| range.contains(value));
    if value.is_none() {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let wrong = wrong_type(&place, &format!("`{key}`"), &expected, &found, problems);
        wrong.hint(format!("write `{key} = {example}`"));
    }
    value.map(|value| At { value, place })
}

fn weight(node: Node, problems: &mut Problems) -> Option<u32> {
    integer(node, "weight", 0..=MAX_WEIGHT, problems).map(|weight| weight.value as u32)
}

/// `None` where it couldn't be read, which has been told.
fn steering(fields: &mut Fields, problems: &mut Problems) -> Option<Steering> {
    let is_written = fields.has("steer");
    let Some(written) = fields.text("steer", "\"weighted\"", problems) else {
        return (!is_written).then_some(Steering::default());
    };
    match written.value.as_str() {
        "weighted" => Some(Steering::Weighted),
        "latency" => Some(Steering::Latency),
        "nearest" => Some(Steering::Nearest),
        "failover" => Some(Steering::Failover),
        "geo" => Some(Steering::Geo),
        "affinity" => Some(Steering::Affinity),
        "all" => Some(Steering::All),
        other => {
            let problem = problems.error(&written.place, format!("`{other}` is not a way to steer"));
            problem.hint = did_you_mean(other, STEER);
            None
        }
    }
}
