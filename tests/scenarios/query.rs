//! A query of a scenario. It is answered by `answer()` many times and explained by `explain` once; both must agree with
//! each other and with the expectations of the scenario.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use ipnet::IpNet;
use portolan::answer::{MAX_UDP_REPLY, Outcome, RawQuery, Transport, answer};
use portolan::control::explain::{AnswerReport, Client, Explanation, explain};
use portolan::snapshot::Snapshot;
use portolan::wire::Name;

use crate::world::World;

/// Keywords of expectations about the last query.
pub(crate) const EXPECTATIONS: [&str; 8] = ["EXPECT", "REPLIES", "SCOPE", "TTL", "STALE", "FRESH", "EXPLAIN", "SAYS"];

/// How often a query is repeated. The shares then differ by more than [`NEAR`] only once in a million runs.
const ROUNDS: u64 = 2000;
/// Slightly more than five standard deviations of a share of a half.
const NEAR: f64 = 0.06;

/// The replies to a query, and its explanation.
pub(crate) struct Answer {
    explained: Explanation,
    /// Share of the replies that had this record.
    shares: BTreeMap<String, f64>,
    ttl: u32,
    scope: Option<u8>,
    is_stale: bool,
}

/// `QUERY www A`, `QUERY www A from 192.0.2.1`, `QUERY www A ecs 192.0.2.0/24`.
pub(crate) fn send(world: &mut World, words: &[String]) -> Result<Answer, String> {
    let (label, rtype) = match words {
        [label, rtype, ..] => (label, rtype),
        _ => return Err("expected QUERY NAME TYPE [from IP | ecs NET]".to_owned()),
    };
    let zone = world.zone();
    let name = if label == "@" { zone.to_owned() } else { format!("{label}.{zone}") };
    let (source, subnet): (Option<IpAddr>, Option<IpNet>) = match &words[2..] {
        [] => (None, None),
        [from, ip] if from == "from" => (Some(ip.parse().map_err(|_| format!("{ip} is no address"))?), None),
        [ecs, net] if ecs == "ecs" => (None, Some(net.parse().map_err(|_| format!("{net} is no net"))?)),
        _ => return Err("expected from IP or ecs NET".to_owned()),
    };
    let now = world.now();
    let snapshot = world.snapshot();
    // The default client: no scenario has a region for it.
    let source = source.unwrap_or(IpAddr::from([203, 0, 113, 250]));
    let client = subnet.map_or(source, |net| net.addr());
    let mut answer = Answer {
        explained: explain(&snapshot, &name, Some(rtype), Client::Address(client), now).map_err(|e| e.to_string())?,
        shares: BTreeMap::new(),
        ttl: 0,
        scope: None,
        is_stale: false,
    };
    let packet = packet(&name, type_code(rtype)?, subnet);
    for round in 0..ROUNDS {
        answer.add(&reply(&snapshot, &packet, source, round)?);
    }
    answer.agree()?;
    Ok(answer)
}

impl Answer {
    fn add(&mut self, message: &Message) {
        let mut seen = std::collections::BTreeSet::new();
        for record in &message.answers {
            seen.insert(record.data.to_string());
            self.ttl = record.ttl;
        }
        for rdata in seen {
            *self.shares.entry(rdata).or_default() += 1.0 / ROUNDS as f64;
        }
        if let Some(edns) = &message.edns {
            self.is_stale = edns.option(EdnsCode::Unknown(15)).is_some();
            if let Some(EdnsOption::Subnet(subnet)) = edns.option(EdnsCode::Subnet) {
                self.scope = Some(subnet.scope_prefix());
            }
        }
    }

    /// Checks that the replies agree with the explanation.
    fn agree(&self) -> Result<(), String> {
        if self.explained.class_why.contains("known by ECS only") {
            // The explanation is for a client with this address, and ECS has only its net: these are two classes.
            return Ok(());
        }
        let is_tied =
            self.explained.stages.iter().any(|s| s.note.as_deref().is_some_and(|n| n.contains("client's net")));
        // With ECS the net may be cut off before that of the client's address, and then draws by itself.
        let is_this_net = !is_tied || self.scope.is_none();
        for explained in &self.explained.answers {
            let share = self.shares.get(&explained.rdata).copied().unwrap_or(0.0);
            if is_this_net && (share - explained.probability).abs() > NEAR {
                return Err(format!(
                    "explain has {} {}, the replies have {share}",
                    explained.rdata, explained.probability
                ));
            }
        }
        let possible = if is_this_net { &self.explained.answers } else { self.overall() };
        let is_explained = |rdata: &String| possible.iter().any(|answer| answer.rdata == *rdata);
        if let Some(rdata) = self.shares.keys().find(|rdata| !is_explained(rdata)) {
            return Err(format!("replies have {rdata}, which explain does not have: {possible:?}"));
        }
        if let Some(scope) = self.scope.filter(|scope| *scope != self.explained.scope) {
            return Err(format!("the scope of the reply is {scope}, that of explain is {}", self.explained.scope));
        }
        let is_ttl_equal =
            self.shares.is_empty() || self.explained.answers.is_empty() || self.ttl == self.explained.ttl;
        if !is_ttl_equal || self.is_stale != self.explained.stale {
            return Err(format!(
                "ttl {} and stale {} of the replies are not those of explain",
                self.ttl, self.is_stale
            ));
        }
        Ok(())
    }

    /// The records with their shares over all clients.
    fn overall(&self) -> &[AnswerReport] {
        match &self.explained.overall[..] {
            [] => &self.explained.answers,
            overall => overall,
        }
    }

    /// The answers as a scenario has them: by probability over all clients, then by text.
    fn expectation(&self) -> String {
        let mut answers: Vec<(f64, &str)> = self.overall().iter().map(|a| (a.probability, a.rdata.as_str())).collect();
        answers.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let texts: Vec<String> = answers.iter().map(|(odds, rdata)| format!("{rdata} {}%", percent(*odds))).collect();
        if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
    }
}

/// At most one decimal.
fn percent(odds: f64) -> String {
    let text = format!("{:.1}", odds * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Compares the last answer with an expectation.
pub(crate) fn compare(answer: &Answer, words: &[String]) -> Result<(), String> {
    let rest = words[1..].join(" ");
    let check =
        |is: bool, found: String| if is { Ok(()) } else { Err(format!("expected {}, but {found}", words.join(" "))) };
    match words[0].as_str() {
        "EXPECT" => check(answer.expectation() == rest, format!("it is {}", answer.expectation())),
        "REPLIES" => {
            let records = answer.shares.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            check(records == rest, format!("they have {records}"))
        }
        "SCOPE" => {
            let scope = answer.scope.unwrap_or(answer.explained.scope);
            check(scope.to_string() == rest, format!("the scope is {scope}"))
        }
        "TTL" => check(answer.explained.ttl.to_string() == rest, format!("the TTL is {}", answer.explained.ttl)),
        "STALE" => check(answer.is_stale, "it is not".to_owned()),
        "FRESH" => check(!answer.is_stale, "it is stale".to_owned()),
        "EXPLAIN" => has_reason(answer, &words[1..]),
        "SAYS" => has_note(answer, &words[1..]),
        other => Err(format!("`{other}` is no keyword of a scenario")),
    }
}

/// `EXPLAIN STAGE ENDPOINT part of a reason`: among those dropped or kept.
fn has_reason(answer: &Answer, words: &[String]) -> Result<(), String> {
    let [stage, endpoint, text @ ..] = words else { return Err("expected EXPLAIN STAGE ENDPOINT TEXT".to_owned()) };
    let text = text.join(" ");
    let reasons =
        answer.explained.stages.iter().filter(|s| s.stage == *stage).flat_map(|s| s.dropped.iter().chain(&s.passed));
    let of: Vec<&str> =
        reasons.filter(|reason| reason.endpoint == *endpoint).map(|reason| reason.why.as_str()).collect();
    match of.iter().any(|why| why.contains(&text)) {
        true => Ok(()),
        false => Err(format!("`{text}` is no reason in stage {stage}; those of {endpoint} are {of:?}")),
    }
}

/// `SAYS STAGE part of its note`.
fn has_note(answer: &Answer, words: &[String]) -> Result<(), String> {
    let [stage, text @ ..] = words else { return Err("expected SAYS STAGE TEXT".to_owned()) };
    let text = text.join(" ");
    let notes = answer.explained.stages.iter().filter(|s| s.stage == *stage).filter_map(|s| s.note.as_deref());
    let notes: Vec<&str> = notes.collect();
    match notes.iter().any(|note| note.contains(&text)) {
        true => Ok(()),
        false => Err(format!("the notes of stage {stage} are {notes:?}, not `{text}`")),
    }
}

fn type_code(word: &str) -> Result<u16, String> {
    match word {
        "A" => Ok(1),
        "CNAME" => Ok(5),
        "AAAA" => Ok(28),
        "SRV" => Ok(33),
        "SVCB" => Ok(64),
        "HTTPS" => Ok(65),
        other => Err(format!("{other} is no type of a scenario")),
    }
}

/// A query with OPT, and with a client subnet if there is one (RFC 7871, 6).
fn packet(name: &str, rtype: u16, subnet: Option<IpNet>) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    packet.extend_from_slice(Name::parse(name).expect("a name").as_wire());
    packet.extend(rtype.to_be_bytes());
    packet.extend([0, 1]);
    let mut option = Vec::new();
    if let Some(net) = subnet {
        let octets = match net.network() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let address = &octets[..usize::from(net.prefix_len()).div_ceil(8)];
        let family = if net.addr().is_ipv4() { 1 } else { 2 };
        option.extend([0, 8, 0, 4 + address.len() as u8, 0, family, net.prefix_len(), 0]);
        option.extend_from_slice(address);
    }
    packet.extend([0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, option.len() as u8]);
    packet.extend(option);
    packet
}

fn reply(snapshot: &Snapshot, packet: &[u8], source: IpAddr, round: u64) -> Result<Message, String> {
    let mut out = [0; MAX_UDP_REPLY];
    let ask = RawQuery {
        packet,
        source: (source, 5353).into(),
        transport: Transport::Udp,
        entropy: round.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        unix_secs: 0,
    };
    match answer(snapshot, &ask, &mut out) {
        Outcome::Reply(reply) => Message::from_vec(&out[..reply.len]).map_err(|error| error.to_string()),
        Outcome::Silence(reject) => Err(format!("silence: {reject:?}")),
    }
}
