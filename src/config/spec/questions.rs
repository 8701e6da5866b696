//! What dns and grpc monitors ask.

use std::net::IpAddr;

use domain::base::Rtype;

use crate::config::fields::Fields;
use crate::config::problem::{Problems, did_you_mean};
use crate::config::source::{At, Place};
use crate::model::{CertificateRule, DnsRdata, DnsSpec, GrpcSpec};
use crate::wire::Name;
use crate::wire::code::{rcode, rtype};

/// Longest text that is asked for or expected (judgment: as for http).
const MAX_TEXT: usize = 4096;

/// `expect` of a dns monitor, as written.
#[derive(Debug, Default)]
pub(super) struct ExpectedReply {
    rcode: Option<At<String>>,
    rdata: Option<At<String>>,
}

/// `rcode` and `rdata` in `expect`.
pub(super) fn expected(expect: &mut Fields, problems: &mut Problems) -> ExpectedReply {
    ExpectedReply {
        rcode: expect.text("rcode", "\"NOERROR\"", problems),
        rdata: expect.text("rdata", "\"192.0.2.1\"", problems),
    }
}

/// `name` and `qtype`; `None` where there is nothing to ask, which has been told.
pub(super) fn dns(
    kind: Option<&str>,
    place: &Place,
    reply: ExpectedReply,
    fields: &mut Fields,
    problems: &mut Problems,
) -> Option<DnsSpec> {
    let is_missing = kind == Some("dns") && fields.lacks("name");
    let name = fields.text("name", "\"www.svc.example.\"", problems);
    let qtype = fields.text("qtype", "\"A\"", problems);
    let qtype = qtype.map_or(Some(rtype::A), |written| self::qtype(&written, problems));
    let rcode = reply.rcode.map_or(Some(rcode::NOERROR), |written| self::rcode(&written, problems));
    let rdata = reply.rdata.and_then(|written| rdata(&written, qtype?, problems));
    if is_missing {
        let problem = problems.error(place, format!("{} has no `name`", fields.what));
        problem.hint("write the name that is asked for: `name = \"www.svc.example.\"`");
    }
    let name = name?;
    let parsed = Name::parse(&name.value);
    if let Err(error) = &parsed {
        let problem = problems.error(&name.place, format!("\"{}\" is not a name: {error}", name.value));
        problem.hint("write it whole: `name = \"www.svc.example.\"`");
    }
    Some(DnsSpec { name: parsed.ok()?, qtype: qtype?, rcode: rcode?, rdata })
}

fn qtype(written: &At<String>, problems: &mut Problems) -> Option<u16> {
    let found = written.value.parse::<Rtype>().ok().map(|found| found.to_int());
    // Those are about the message or the transfer, not records (RFC 6895, 3.1).
    let found = found.filter(|found| !matches!(*found, 0 | rtype::OPT | 128..=255));
    if found.is_none() {
        let problem = problems.error(&written.place, format!("`{}` is not a type of record to ask for", written.value));
        problem.hint("write `qtype = \"A\"`");
    }
    found
}

fn rcode(written: &At<String>, problems: &mut Problems) -> Option<u16> {
    let known = rcode::MNEMONICS;
    let found = known.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(&written.value));
    if found.is_none() {
        let problem = problems.error(&written.place, format!("`{}` is not a response code", written.value));
        problem.hint = did_you_mean(&written.value, known.map(|(_, name)| name));
    }
    found.map(|(code, _)| code)
}

fn rdata(written: &At<String>, qtype: u16, problems: &mut Problems) -> Option<DnsRdata> {
    let address = written.value.parse::<IpAddr>().ok();
    let found = match qtype {
        rtype::A => address.filter(IpAddr::is_ipv4).map(DnsRdata::Address),
        rtype::AAAA => address.filter(IpAddr::is_ipv6).map(DnsRdata::Address),
        rtype::TXT => Some(&written.value).filter(|text| text.len() <= MAX_TEXT).cloned().map(DnsRdata::Text),
        _ => {
            let problem = problems.error(&written.place, "`rdata` can be expected of A, AAAA and TXT only");
            problem.hint("leave it out: the response code is looked at for every type");
            return None;
        }
    };
    if found.is_none() {
        let of = Rtype::from_int(qtype);
        problems.error(&written.place, format!("\"{}\" can't be the content of {of} records", written.value));
    }
    found
}

/// `service` and `tls`.
pub(super) fn grpc(
    certificate: CertificateRule,
    host: Option<String>,
    fields: &mut Fields,
    problems: &mut Problems,
) -> GrpcSpec {
    let service = fields.text("service", "\"\"", problems);
    if let Some(long) = service.as_ref().filter(|service| service.value.len() > MAX_TEXT) {
        problems.error(&long.place, format!("`service` must be {MAX_TEXT} octets at most"));
    }
    let is_tls = fields.boolean("tls", problems).unwrap_or(false);
    let service = service.map_or_else(String::new, |service| service.value);
    GrpcSpec { service, host, tls: is_tls.then_some(certificate) }
}
