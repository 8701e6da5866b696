//! `dns`: a query.

use std::net::IpAddr;

use domain::base::Rtype;
use serde_json::json;

use crate::config::fields::Fields;
use crate::config::keys::{KeyGroup, Kind as _, Table, inline, keys, text};
use crate::config::monitor::http::{ExpectedPage, MAX_TEXT};
use crate::config::monitor::probing::{Probing, body};
use crate::config::monitor::{Definition, Group, PortRule};
use crate::config::problem::{Problems, did_you_mean};
use crate::config::source::At;
use crate::model::{DnsRdata, DnsSpec, ProbeKind};
use crate::wire::Name;
use crate::wire::code::{rcode, rtype};

keys! {
    /// The keys of a query.
    Query {
        /// the query that is sent to the endpoint over UDP. A truncated reply is enough, unless `rdata` is expected: then the query
        /// is repeated over TCP
        name: Name = text("\"www.svc.example.\"").then(name),
            required "write the name that is asked for: `name = \"www.svc.example.\"`";
        /// the query that is sent to the endpoint over UDP. A truncated reply is enough, unless `rdata` is expected: then the query
        /// is repeated over TCP
        qtype: u16 = text("\"A\"").then(qtype), inherits json!("A");
        /// `{ rcode = "NOERROR", rdata = "192.0.2.1" }`; `rdata` is for A, AAAA and TXT, and one of the records must have this
        /// content
        expect: ExpectedReply = inline("{ rcode = \"NOERROR\" }"), inherits json!({ "rcode": "NOERROR" });
    }
}

keys! {
    /// `expect` of a query.
    ExpectedReply {
        /// dns: the response code of a success
        rcode: u16 = text("\"NOERROR\"").then(rcode), inherits json!("NOERROR");
        /// dns: the content that one of the records must have
        rdata: String = text("\"192.0.2.1\"");
    }
}

impl Table for ExpectedReply {
    fn read(mut fields: Fields, problems: &mut Problems) -> Option<ExpectedReply> {
        let reply = ExpectedReply::take(&mut fields, problems);
        refuse::<ExpectedPage>(&mut fields, "http and https", problems);
        fields.finish(&[], problems);
        Some(reply)
    }
}

/// Errors for keys of `expect` that monitors of other types have.
pub(super) fn refuse<G: KeyGroup>(expect: &mut Fields, types: &str, problems: &mut Problems) {
    for key in G::keys() {
        if let Some(entry) = expect.take(key.name) {
            let message = format!("`expect` has `{}`, which only {types} monitors have", key.name);
            problems.error(&entry.key.place, message);
        }
    }
}

pub(super) const DNS: Definition = Definition {
    port: PortRule::Usual(53),
    ..Definition::probe(&[Group::of::<Probing>(), Group::of::<Query>()], |fields, problems| {
        let spec = query(Query::take(fields, problems), problems);
        body(fields, spec.map(ProbeKind::Dns), problems)
    })
};

/// `None`: a part of it is missing or wrong, which is a problem.
fn query(keys: Query, problems: &mut Problems) -> Option<DnsSpec> {
    let or = |written: Option<At<u16>>, key: &str, usual| match written {
        Some(at) => Some(at.value),
        None => (!keys.has(key)).then_some(usual),
    };
    let qtype = or(keys.qtype.clone(), "qtype", rtype::A)?;
    let expect = keys.expect.as_ref().map(|expect| &expect.value);
    let rcode = match expect {
        Some(expect) if expect.has("rcode") => expect.rcode.as_ref()?.value,
        Some(_) | None => rcode::NOERROR,
    };
    let rdata = expect.and_then(|expect| expect.rdata.as_ref()).and_then(|at| rdata(at, qtype, problems));
    Some(DnsSpec { name: keys.name?.value, qtype, rcode, rdata })
}

fn name(At { value, place }: At<String>, problems: &mut Problems) -> Option<Name> {
    let name = Name::parse(&value);
    if let Err(error) = &name {
        let problem = problems.error(&place, format!("\"{value}\" is not a name: {error}"));
        problem.hint("write it whole: `name = \"www.svc.example.\"`");
    }
    name.ok()
}

fn qtype(At { value, place }: At<String>, problems: &mut Problems) -> Option<u16> {
    let found = value.parse::<Rtype>().ok().map(|found| found.to_int());
    // Those are about the message or the transfer, not records (RFC 6895, 3.1).
    let found = found.filter(|found| !matches!(*found, 0 | rtype::OPT | 128..=255));
    if found.is_none() {
        let problem = problems.error(&place, format!("`{value}` is not a type of record to ask for"));
        problem.hint("write `qtype = \"A\"`");
    }
    found
}

fn rcode(At { value, place }: At<String>, problems: &mut Problems) -> Option<u16> {
    let known = rcode::MNEMONICS;
    let found = known.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(&value));
    if found.is_none() {
        let problem = problems.error(&place, format!("`{value}` is not a response code"));
        problem.hint = did_you_mean(&value, known.map(|(_, name)| name));
    }
    found.map(|(code, _)| code)
}

fn rdata(At { value, place }: &At<String>, qtype: u16, problems: &mut Problems) -> Option<DnsRdata> {
    let address = value.parse::<IpAddr>().ok();
    let found = match qtype {
        rtype::A => address.filter(IpAddr::is_ipv4).map(DnsRdata::Address),
        rtype::AAAA => address.filter(IpAddr::is_ipv6).map(DnsRdata::Address),
        rtype::TXT => Some(value).filter(|text| text.len() <= MAX_TEXT).cloned().map(DnsRdata::Text),
        _ => {
            let problem = problems.error(place, "`rdata` can be expected of A, AAAA and TXT only");
            problem.hint("leave it out: the response code is looked at for every type");
            return None;
        }
    };
    if found.is_none() {
        let of = Rtype::from_int(qtype);
        problems.error(place, format!("\"{value}\" can't be the content of {of} records"));
    }
    found
}
