//! `dns`: a query.

use std::net::IpAddr;

use domain::base::Rtype;
use serde_json::json;

use crate::config::keys::{KeyGroup as _, WrongText, inline, keys, text, wrong};
use crate::config::monitor::expect::ExpectedReply;
use crate::config::monitor::probing::{Probing, body};
use crate::config::monitor::{Definition, Group, PortRule};
use crate::model::monitor::bounds::MAX_TEXT;
use crate::model::{DnsRdata, DnsSpec, ProbeKind};
use crate::source::{At, Problems};
use crate::wire::Name;
use crate::wire::code::{rcode, rtype};

keys! {
    /// The keys of a query.
    Query {
        /// the query that is sent to the endpoint over UDP. A truncated reply is enough, unless `rdata` is expected:
        /// then the query is repeated over TCP
        name: Name = text("\"www.svc.example.\"").parsed(name),
            required "write the name to query: `name = \"www.svc.example.\"`";
        /// the query that is sent to the endpoint over UDP. A truncated reply is enough, unless `rdata` is expected:
        /// then the query is repeated over TCP
        qtype: u16 = text("\"A\"").parsed(qtype), inherits json!("A");
        /// the response code that is a success; `rdata = "192.0.2.1"`: one of the records must have this content, for
        /// A, AAAA and TXT
        expect: ExpectedReply = inline("{ rcode = \"NOERROR\" }"), inherits json!({ "rcode": "NOERROR" });
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

fn name(written: &str) -> Result<Name, WrongText> {
    let whole = "write it whole: `name = \"www.svc.example.\"`";
    Name::parse(written).map_err(|error| wrong(format!("\"{written}\" is not a name: {error}"), whole))
}

fn qtype(written: &str) -> Result<u16, WrongText> {
    let found = written.parse::<Rtype>().ok().map(|found| found.to_int());
    // Those are about the message or the transfer, not records (RFC 6895, 3.1).
    let found = found.filter(|found| !matches!(*found, 0 | rtype::OPT | 128..=255));
    found.ok_or_else(|| wrong(format!("`{written}` is not a type of record to ask for"), "write `qtype = \"A\"`"))
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
