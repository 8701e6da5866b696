//! One DNS question to the endpoint: the code of the reply, and what one of its records says. Over UDP first; a truncated
//! reply is enough unless a record is expected, which is then asked for over TCP. What isn't the reply to this very
//! question (other number, other question) is as if it had not come.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::{RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use crate::clock;
use crate::health::probe::{Failure, ProbeClients, tcp};
use crate::model::{DnsRdata, DnsSpec};
use crate::wire::code::{class, flag, rcode};

/// Octets of a header.
const HEADER: usize = 12;
/// Largest reply without EDNS is 512 octets (RFC 1035, 4.2.1); a server that sends more is still understood.
const MOST_OVER_UDP: usize = 4096;

/// Asks `to`; gives the time from the question to the reply over UDP.
pub(super) async fn ask(clients: &ProbeClients, spec: &DnsSpec, to: SocketAddr) -> Result<Duration, Failure> {
    let question = question(spec);
    let began = clock::now();
    let reply = over_udp(clients, &question, to).await?;
    let rtt = clock::now().since(began);
    let is_cut = reply.metadata.truncation;
    match &spec.rdata {
        Some(_) if is_cut => judge(spec, &over_tcp(clients, &question, to).await?)?,
        Some(_) | None => judge(spec, &reply)?,
    }
    Ok(rtt)
}

/// A query with a number that nobody can guess, and the wish for recursion, which those who don't recurse ignore.
fn question(spec: &DnsSpec) -> Vec<u8> {
    let mut query = Vec::with_capacity(HEADER + spec.name.as_wire().len() + 4);
    query.extend((clock::entropy() as u16).to_be_bytes());
    query.extend(flag::RD.to_be_bytes());
    query.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    query.extend(spec.name.as_wire());
    query.extend(spec.qtype.to_be_bytes());
    query.extend(class::IN.to_be_bytes());
    query
}

async fn over_udp(clients: &ProbeClients, question: &[u8], to: SocketAddr) -> Result<Message, Failure> {
    let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let from = clients.sources().towards(to.ip()).unwrap_or(SocketAddr::new(any, 0));
    let io = |error: std::io::Error| Failure::from_io(&error);
    let socket = UdpSocket::bind(from).await.map_err(io)?;
    // A connected socket hears this server alone, and its ICMP errors.
    socket.connect(to).await.map_err(io)?;
    socket.send(question).await.map_err(io)?;
    let mut buffer = vec![0; MOST_OVER_UDP];
    loop {
        let len = socket.recv(&mut buffer).await.map_err(io)?;
        if let Some(reply) = reply_to(question, buffer.get(..len).unwrap_or_default())? {
            return Ok(reply);
        }
    }
}

async fn over_tcp(clients: &ProbeClients, question: &[u8], to: SocketAddr) -> Result<Message, Failure> {
    let io = |error: std::io::Error| Failure::from_io(&error);
    let mut stream = tcp::connect(clients, to).await?;
    let len = u16::try_from(question.len()).unwrap_or_default();
    stream.write_all(&[&len.to_be_bytes(), question].concat()).await.map_err(io)?;
    let len = stream.read_u16().await.map_err(io)?;
    let mut reply = vec![0; usize::from(len)];
    stream.read_exact(&mut reply).await.map_err(io)?;
    let garbage = || Failure::Garbage("the reply over TCP is not to the question".to_owned());
    reply_to(question, &reply)?.ok_or_else(garbage)
}

/// The reply, if this is the one to `question`. Some servers leave the question out of an error.
fn reply_to(question: &[u8], packet: &[u8]) -> Result<Option<Message>, Failure> {
    if packet.len() < HEADER || packet.get(..2) != question.get(..2) {
        return Ok(None);
    }
    let Ok(reply) = Message::from_vec(packet) else {
        return Err(Failure::Garbage("the reply is not a DNS message".to_owned()));
    };
    let asked = question.get(HEADER..).unwrap_or_default();
    let repeated = packet.get(HEADER..HEADER + asked.len()).is_some_and(|same| same.eq_ignore_ascii_case(asked));
    let is_bare_error = reply.queries.is_empty() && u16::from(reply.metadata.response_code) != rcode::NOERROR;
    let is_ours = reply.queries.len() == 1 && repeated || is_bare_error;
    Ok(Some(reply).filter(|reply| is_ours && reply.metadata.message_type == MessageType::Response))
}

fn judge(spec: &DnsSpec, reply: &Message) -> Result<(), Failure> {
    let got = u16::from(reply.metadata.response_code);
    if got != spec.rcode {
        return Err(Failure::Unwell(format!("{}, expected {}", named(got), named(spec.rcode))));
    }
    let Some(wanted) = &spec.rdata else { return Ok(()) };
    let found =
        reply.answers.iter().any(|record| u16::from(record.record_type()) == spec.qtype && says(record, wanted));
    match found {
        true => Ok(()),
        false if reply.answers.is_empty() => Err(Failure::Unwell(format!("no answer, expected {wanted}"))),
        false => Err(Failure::Unwell(format!("no answer is {wanted}"))),
    }
}

fn says(record: &Record, wanted: &DnsRdata) -> bool {
    match (wanted, &record.data) {
        (DnsRdata::Address(IpAddr::V4(wanted)), RData::A(a)) => a.0 == *wanted,
        (DnsRdata::Address(IpAddr::V6(wanted)), RData::AAAA(aaaa)) => aaaa.0 == *wanted,
        (DnsRdata::Text(wanted), RData::TXT(txt)) => txt.txt_data.concat() == wanted.as_bytes(),
        (DnsRdata::Address(_) | DnsRdata::Text(_), _) => false,
    }
}

fn named(code: u16) -> String {
    let known = rcode::MNEMONICS.into_iter().find(|(known, _)| *known == code);
    known.map_or_else(|| format!("rcode {code}"), |(_, name)| name.to_owned())
}
