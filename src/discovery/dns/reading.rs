//! What replies of resolvers mean, and the instances of records. Pure.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record};

use crate::discovery::{Instance, Trouble};
use crate::wire::Name;
use crate::wire::code::rtype;

/// How long a name without records is not looked up again where the reply has no SOA record (RFC 2308, 5), and at most.
const USUAL_NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// Most CNAMEs that are followed in one reply (judgment, as resolvers do).
const MAX_CHAIN: usize = 16;

/// What a resolver found: records of the type, none if the name has none or does not exist.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) records: Vec<RData>,
    /// The shortest TTL of what it rests on.
    pub(super) ttl: Duration,
}

/// A record of a service (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SrvTarget {
    pub(super) name: Name,
    pub(super) port: u16,
    pub(super) priority: u16,
    /// As Portolan has weights: 0 is a standby.
    pub(super) weight: u16,
}

/// What a reply to a query for `name` and `qtype` means; an error says why it is none, or can't be used.
pub(super) fn found(reply: &Message, name: &Name, qtype: u16) -> Result<Found, Trouble> {
    match reply.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        other => return Err(Trouble::away(format!("it replies {other}"))),
    }
    let (mut owner, mut ttl) = (name.clone(), u32::MAX);
    let mut seen = vec![name.clone()];
    let records = loop {
        let here: Vec<&Record> = reply.answers.iter().filter(|record| is_of(record, &owner)).collect();
        let is_wanted = |record: &&&Record| u16::from(record.record_type()) == qtype;
        let records: Vec<RData> = here.iter().filter(is_wanted).map(|record| record.data.clone()).collect();
        here.iter().for_each(|record| ttl = ttl.min(record.ttl));
        let alias = here.iter().find(|record| u16::from(record.record_type()) == rtype::CNAME);
        match alias.map(|record| &record.data) {
            Some(RData::CNAME(target)) if records.is_empty() => match Name::parse(&target.0.to_ascii()) {
                Ok(next) if seen.contains(&next) => {
                    return Err(Trouble::bad(format!("the CNAME records make a loop at {next}; correct them")));
                }
                Ok(_) if seen.len() > MAX_CHAIN => {
                    return Err(Trouble::bad(format!("there are more than {MAX_CHAIN} CNAME records in a chain")));
                }
                Ok(next) => {
                    seen.push(next.clone());
                    owner = next;
                }
                Err(_) => break records,
            },
            Some(_) | None => break records,
        }
    };
    if records.is_empty() && refers_elsewhere(reply) {
        return Err(Trouble::away("it refers to other servers: it neither has the zone nor asks those that have it"));
    }
    let ttl = match records.is_empty() {
        true => negative_ttl(reply).min(Duration::from_secs(u64::from(ttl))),
        false => Duration::from_secs(u64::from(ttl)),
    };
    Ok(Found { records, ttl })
}

/// Whether a reply without records says nothing about the name: it is neither from a server of the zone (AA, or its
/// SOA) nor from one that asks others (RA). RFC 2308, 2.2, has the forms.
fn refers_elsewhere(reply: &Message) -> bool {
    let head = &reply.metadata;
    let has_soa = reply.authorities.iter().any(|record| matches!(record.data, RData::SOA(_)));
    head.response_code == ResponseCode::NoError && !head.authoritative && !head.recursion_available && !has_soa
}

fn is_of(record: &Record, owner: &Name) -> bool {
    Name::parse(&record.name.to_ascii()).is_ok_and(|name| name == *owner)
}

fn negative_ttl(reply: &Message) -> Duration {
    let soa = reply.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    });
    soa.map_or(USUAL_NEGATIVE_TTL, |ttl| Duration::from_secs(u64::from(ttl)))
}

/// The addresses of records.
pub(super) fn addresses(records: &[RData]) -> impl Iterator<Item = IpAddr> {
    records.iter().filter_map(|record| match record {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    })
}

/// The targets of SRV records, each target and port once, in order. The records of another priority than the best are
/// standbys, as a client uses them only when no other answers. If all weights of the best are 0, they are equal.
pub(super) fn srv_instances(records: &[RData]) -> Vec<SrvTarget> {
    let of = |record: &RData| match record {
        RData::SRV(srv) => Some(SrvTarget {
            name: Name::parse(&srv.target.to_ascii()).ok().filter(|name| *name != Name::root())?,
            port: srv.port,
            priority: srv.priority,
            weight: srv.weight,
        }),
        _ => None,
    };
    let mut all: Vec<SrvTarget> = records.iter().filter_map(of).collect();
    all.sort_by(|a, b| (a.priority, &a.name, a.port).cmp(&(b.priority, &b.name, b.port)));
    let mut seen = HashSet::new();
    all.retain(|target| seen.insert((target.name.clone(), target.port)));
    let best = all.first().map(|target| target.priority);
    let is_best = |target: &SrvTarget| Some(target.priority) == best;
    let are_equal = all.iter().filter(|target| is_best(target)).all(|target| target.weight == 0);
    for target in &mut all {
        target.weight = match is_best(target) {
            true if are_equal => 1,
            true => target.weight,
            false => 0,
        };
    }
    all
}

/// The hosts whose addresses are looked up, each once. None of more than `max` targets: such a list is refused, and
/// only its number counts.
pub(super) fn hosts_to_look_up(targets: &[SrvTarget], max: usize) -> Vec<Name> {
    if targets.len() > max {
        return Vec::new();
    }
    let mut hosts: Vec<Name> = targets.iter().map(|target| target.name.clone()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// The instances of a host with these addresses. Where it has one of a family at most, that is one instance; otherwise
/// each address is one. With `by_address` each is, and is named after its address.
pub(super) fn instances_of(host: &str, addresses: &[IpAddr], port: Option<u16>, by_address: bool) -> Vec<Instance> {
    let host = host.trim_end_matches('.');
    let shown = |port: Option<u16>| port.map_or(String::new(), |port| format!(":{port}"));
    let count = |is_v4: bool| addresses.iter().filter(|address| address.is_ipv4() == is_v4).count();
    if addresses.is_empty() {
        return Vec::new();
    }
    if !by_address && count(true) <= 1 && count(false) <= 1 {
        let texts = addresses.iter().map(IpAddr::to_string);
        return vec![Instance::new(&format!("{host}{}", shown(port)), texts, port).named(host)];
    }
    let one = |address: &IpAddr| {
        let name = if by_address { address.to_string() } else { format!("{host}-{address}") };
        Instance::new(&format!("{host} {address}{}", shown(port)), [address.to_string()], port).named(&name)
    };
    addresses.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hickory_proto::op::{MessageType, OpCode};
    use hickory_proto::rr::rdata::{A, CNAME, NS, SOA, SRV};

    use super::*;
    use crate::discovery::TroubleState;

    fn name(text: &str) -> hickory_proto::rr::Name {
        hickory_proto::rr::Name::from_str(text).unwrap()
    }

    fn reply(answers: Vec<Record>, code: ResponseCode) -> Message {
        let mut reply = Message::new(1, MessageType::Response, OpCode::Query);
        reply.metadata.response_code = code;
        reply.metadata.recursion_available = true;
        reply.answers = answers;
        reply
    }

    fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RData {
        RData::SRV(SRV::new(priority, weight, port, name(target)))
    }

    #[test]
    fn a_reply_is_records_or_none_of_them_or_no_answer() {
        let own = Name::parse("www.internal.").unwrap();
        let a = |owner: &str, ttl| Record::from_rdata(name(owner), ttl, RData::A(A::new(192, 0, 2, 1)));
        let alias = Record::from_rdata(name("WWW.internal."), 7, RData::CNAME(CNAME(name("web.internal."))));
        for (what, answers, code, expected) in [
            ("records", vec![a("www.internal.", 30)], ResponseCode::NoError, Ok((1, 30))),
            ("over an alias", vec![alias.clone(), a("web.internal.", 30)], ResponseCode::NoError, Ok((1, 7))),
            ("of another name", vec![a("x.internal.", 30)], ResponseCode::NoError, Ok((0, 5))),
            ("no such name", vec![], ResponseCode::NXDomain, Ok((0, 5))),
            ("failure", vec![], ResponseCode::ServFail, Err(())),
            ("refused", vec![], ResponseCode::Refused, Err(())),
        ] {
            let found = found(&reply(answers, code), &own, rtype::A);
            let found = found.map(|found| (found.records.len(), found.ttl.as_secs())).map_err(drop);
            assert_eq!(found, expected, "{what}");
        }
        let looped = Record::from_rdata(name("www.internal."), 7, RData::CNAME(CNAME(name("www.internal."))));
        let there = Record::from_rdata(name("www.internal."), 7, RData::CNAME(CNAME(name("web.internal."))));
        let back = Record::from_rdata(name("web.internal."), 7, RData::CNAME(CNAME(name("www.internal."))));
        let link = |at: usize| {
            let to = RData::CNAME(CNAME(name(&format!("n{}.internal.", at + 1))));
            Record::from_rdata(if at == 0 { name("www.internal.") } else { name(&format!("n{at}.internal.")) }, 7, to)
        };
        for (records, expected) in
            [(vec![looped], "loop"), (vec![there, back], "loop"), ((0..20).map(link).collect(), "in a chain")]
        {
            let trouble = super::found(&reply(records, ResponseCode::NoError), &own, rtype::A).unwrap_err();
            assert_eq!(trouble.state, TroubleState::Bad, "{expected}");
            assert!(trouble.problem.contains(expected), "{}", trouble.problem);
        }
    }

    #[test]
    fn a_reply_that_refers_elsewhere_is_not_an_empty_list() {
        let own = Name::parse("www.internal.").unwrap();
        let soa = SOA::new(name("ns.internal."), name("x.internal."), 1, 1, 1, 1, 9);
        let soa = Record::from_rdata(name("internal."), 9, RData::SOA(soa));
        let ns = Record::from_rdata(name("internal."), 9, RData::NS(NS(name("ns.internal."))));
        for (is_authoritative, asks_others, authorities, is_empty) in [
            (false, false, vec![], false),
            (false, false, vec![ns.clone()], false),
            (false, false, vec![soa], true),
            (true, false, vec![], true),
            (false, true, vec![ns], true),
        ] {
            let mut reply = reply(vec![], ResponseCode::NoError);
            (reply.metadata.authoritative, reply.metadata.recursion_available) = (is_authoritative, asks_others);
            reply.authorities = authorities;
            assert_eq!(found(&reply, &own, rtype::A).is_ok_and(|found| found.records.is_empty()), is_empty);
        }
    }

    #[test]
    fn another_priority_is_a_standby_and_weights_of_zero_are_equal() {
        let weights = |records: &[RData]| -> Vec<(String, u16)> {
            srv_instances(records).into_iter().map(|of| (of.name.to_string(), of.weight)).collect()
        };
        let found =
            weights(&[srv(20, 9, 80, "c.example."), srv(10, 0, 80, "a.example."), srv(10, 0, 80, "b.example.")]);
        assert_eq!(found, [("a.example.".into(), 1), ("b.example.".into(), 1), ("c.example.".into(), 0)]);
        let found = weights(&[srv(10, 3, 80, "a.example."), srv(10, 0, 80, "b.example."), srv(0, 0, 0, ".")]);
        assert_eq!(found, [("a.example.".into(), 3), ("b.example.".into(), 0)]);
    }

    #[test]
    fn each_host_is_looked_up_once_and_none_of_a_list_that_is_refused() {
        let records = [srv(1, 1, 80, "b.example."), srv(1, 1, 81, "b.example."), srv(1, 1, 80, "a.example.")];
        let targets = srv_instances(&records);
        let hosts = |max| hosts_to_look_up(&targets, max).iter().map(Name::to_string).collect::<Vec<_>>();
        assert_eq!(hosts(3), ["a.example.", "b.example."]);
        assert_eq!(hosts(2), [""; 0]);
    }

    #[test]
    fn a_host_with_one_address_of_a_family_is_one_instance() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let both = instances_of("a.example.", &[ip("192.0.2.1"), ip("2001:db8::1")], Some(80), false);
        assert_eq!((both.len(), both[0].addresses.len(), both[0].name.as_str()), (1, 2, "a.example"));
        let two = instances_of("a.example.", &[ip("192.0.2.1"), ip("192.0.2.2")], Some(80), false);
        assert_eq!(two.iter().map(|of| &*of.name).collect::<Vec<_>>(), ["a.example-192.0.2.1", "a.example-192.0.2.2"]);
        let by_address = instances_of("a.example.", &[ip("192.0.2.1"), ip("2001:db8::1")], None, true);
        assert_eq!(by_address.iter().map(|of| &*of.name).collect::<Vec<_>>(), ["192.0.2.1", "2001:db8::1"]);
    }
}
