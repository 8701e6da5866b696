//! Answering as a whole: questions in, replies out, over a small world of zones. hickory-proto reads the replies.

mod affinity;
mod cookies;
mod guard;
mod lookup;
mod protocol;
mod random;
mod service;
mod steering;

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Record, RecordType};

use super::{Outcome, RawQuery, Transport, answer};
use crate::config::{Flags, load};
use crate::model::{CheckView, Health, Model, WorldView};
use crate::snapshot::compile::compile;
use crate::snapshot::{Identity, Snapshot};
use crate::wire::Name;
use crate::wire::cookie::CookieSecrets;

const PLAIN_ZONE: &str = include_str!("plain.test.zone");
const CHILD_ZONE: &str = "$TTL 600\n@ SOA ns h 1 2 3 4 3000\n@ NS ns\nns A 192.0.2.7\nwww A 192.0.2.70\n\
    up CNAME mail.plain.test.\nhome CNAME @\n*.wild CNAME @\n";
const STEERED_ZONE: &str = include_str!("steered.test.zone");
const POLICY: &str = include_str!("steered.test.policy.toml");
const SETTINGS: &str = "region = \"eu\"\n[clients]\ndefault_region = \"eu\"\n\
    [regions.eu]\nnets = [\"192.0.2.0/24\"]\nlocation = [50, 8]\n\
    [regions.us]\nnets = [\"203.0.113.0/24\", \"2001:db8:7::/48\"]\nlocation = [40, -74]\n";

/// What the cookies are made with.
const SECRETS: CookieSecrets = CookieSecrets { current: [7; 16], other: Some([8; 16]) };

/// The snapshot that the tests ask, with every endpoint up.
static WORLD: LazyLock<Snapshot> = LazyLock::new(|| snapshot(Health::Up));

/// Everything there is, all checks of this health.
fn snapshot(health: Health) -> Snapshot {
    let files = [
        ("zones/plain.test.zone", PLAIN_ZONE),
        ("zones/kid.plain.test.zone", CHILD_ZONE),
        ("zones/lone.plain.test.zone", CHILD_ZONE),
        ("zones/steered.test.zone", STEERED_ZONE),
        ("zones/steered.test.policy.toml", POLICY),
        ("portolan.toml", SETTINGS),
    ];
    compiled(loaded(&files), health)
}

/// What these files say; there is no error in them.
fn loaded(files: &[(&str, &str)]) -> Model {
    let dir = tempfile::tempdir().expect("a directory for files");
    fs::create_dir(dir.path().join("zones")).expect("a directory for zones");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("a file");
    }
    load(Some(&dir.path().join("portolan.toml")), &Flags::default()).expect("the files are valid").model
}

fn compiled(model: Model, health: Health) -> Snapshot {
    let check = CheckView { health, tried: true, ..CheckView::default() };
    let view = WorldView { checks: vec![check; model.checks.len()].into(), ..WorldView::default() };
    let identity = Identity { nsid: b"node".to_vec(), cookies: Some(SECRETS), ..Identity::default() };
    compile(Arc::new(model), Arc::new(view), Arc::new(identity), 1, None)
}

/// A message with one question, and an OPT of these options where there are any to be.
fn question(name: &str, rtype: u16, edns: Option<(u16, &[u8])>) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
    packet.extend(Name::parse(name).expect("a name").as_wire());
    packet.extend(rtype.to_be_bytes());
    packet.extend([0, 1]);
    if let Some((size, options)) = edns {
        packet.extend(opt(size, 0, options));
    }
    packet
}

fn opt(size: u16, ttl: u32, options: &[u8]) -> Vec<u8> {
    let len = (options.len() as u16).to_be_bytes();
    [&[0, 0, 41][..], &size.to_be_bytes(), &ttl.to_be_bytes(), &len, options].concat()
}

fn ask_over<'a>(packet: &'a [u8], source: &str, transport: Transport) -> RawQuery<'a> {
    let source: SocketAddr = source.parse().expect("an address");
    RawQuery { packet, source, transport, entropy: 7, unix_secs: 0 }
}

/// The octets of the reply over UDP; none where there is silence.
fn reply(snapshot: &Snapshot, packet: &[u8]) -> Vec<u8> {
    reply_over(snapshot, &ask_over(packet, "198.51.100.1:4000", Transport::Udp))
}

fn reply_over(snapshot: &Snapshot, ask: &RawQuery<'_>) -> Vec<u8> {
    let mut out = vec![0xAA; 65_535];
    match answer(snapshot, ask, &mut out) {
        Outcome::Reply(reply) => out[..reply.len].to_vec(),
        Outcome::Silence(_) => Vec::new(),
    }
}

/// The reply as a line: code and flags, then answer, authority and additional section.
fn line(bytes: &[u8]) -> String {
    let message = Message::from_vec(bytes).expect("a reply that parses");
    let code = match message.metadata.response_code {
        ResponseCode::NoError => "ok",
        ResponseCode::NXDomain => "nxdomain",
        ResponseCode::FormErr => "formerr",
        ResponseCode::Refused => "refused",
        ResponseCode::NotImp => "notimp",
        ResponseCode::YXDomain => "yxdomain",
        ResponseCode::BADVERS => "badvers",
        _ => "another code",
    };
    let authoritative = if message.metadata.authoritative { " aa" } else { "" };
    let truncated = if message.metadata.truncation { " tc" } else { "" };
    let mut line = format!("{code}{authoritative}{truncated}");
    for (mark, section) in [("", &message.answers), (" auth:", &message.authorities), (" add:", &message.additionals)] {
        if !section.is_empty() {
            line.push_str(mark);
        }
        for record in section {
            line.push_str(&shown(record));
        }
    }
    line
}

/// A record without its class; RDATA that hickory wasn't built to read as base64, in the manner of RFC 3597.
fn shown(record: &Record) -> String {
    let rtype = match record.record_type() {
        RecordType::Unknown(code) => format!("TYPE{code}"),
        known => known.to_string(),
    };
    format!(" {} {} {rtype} {}", record.name, record.ttl, record.data)
}

/// What is answered, each question on its own: name, type, the reply as a line.
#[track_caller]
fn check(snapshot: &Snapshot, cases: &[(&str, u16, &str)]) {
    for (name, rtype, expected) in cases {
        let got = line(&reply(snapshot, &question(name, *rtype, None)));
        assert_eq!(got, *expected, "{name} {rtype}");
    }
}
