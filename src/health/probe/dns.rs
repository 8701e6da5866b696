//! The dns probe: one query to the endpoint. It checks the response code and, if the monitor expects one, a record.
//! The query goes over UDP. If the response is truncated and a record is expected, it is repeated over TCP. A packet
//! with another ID or another question is ignored.

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
/// The longest response that is read over UDP, in octets. Without EDNS it has at most 512 (RFC 1035, 4.2.1); a server
/// that sends more is still understood.
const MAX_UDP_RESPONSE: usize = 4096;

/// Queries `to`. Returns the time from the query to the response over UDP.
pub(super) async fn probe(clients: &ProbeClients, spec: &DnsSpec, to: SocketAddr) -> Result<Duration, Failure> {
    let query = query(spec);
    let began = clock::now();
    let response = exchange_over_udp(clients, &query, to).await?;
    let rtt = clock::now().since(began);
    let is_truncated = response.metadata.truncation;
    match &spec.rdata {
        Some(_) if is_truncated => judge(spec, &exchange_over_tcp(clients, &query, to).await?)?,
        Some(_) | None => judge(spec, &response)?,
    }
    Ok(rtt)
}

/// A query with an ID that nobody can guess. Recursion is desired; servers without recursion ignore that.
fn query(spec: &DnsSpec) -> Vec<u8> {
    let mut query = Vec::with_capacity(HEADER + spec.name.as_wire().len() + 4);
    query.extend((clock::entropy() as u16).to_be_bytes());
    query.extend(flag::RD.to_be_bytes());
    query.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    query.extend(spec.name.as_wire());
    query.extend(spec.qtype.to_be_bytes());
    query.extend(class::IN.to_be_bytes());
    query
}

async fn exchange_over_udp(clients: &ProbeClients, query: &[u8], to: SocketAddr) -> Result<Message, Failure> {
    let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let from = clients.sources().towards(to.ip()).unwrap_or(SocketAddr::new(any, 0));
    let io = |error: std::io::Error| Failure::from_io(&error);
    let socket = UdpSocket::bind(from).await.map_err(io)?;
    // A connected socket receives only from this server, and the ICMP errors about it.
    socket.connect(to).await.map_err(io)?;
    socket.send(query).await.map_err(io)?;
    let mut buffer = vec![0; MAX_UDP_RESPONSE];
    loop {
        let len = socket.recv(&mut buffer).await.map_err(io)?;
        if let Some(response) = response_to(query, buffer.get(..len).unwrap_or_default())? {
            return Ok(response);
        }
    }
}

async fn exchange_over_tcp(clients: &ProbeClients, query: &[u8], to: SocketAddr) -> Result<Message, Failure> {
    let io = |error: std::io::Error| Failure::from_io(&error);
    let mut stream = tcp::connect(clients, to).await?;
    let len = u16::try_from(query.len()).unwrap_or_default();
    stream.write_all(&[&len.to_be_bytes(), query].concat()).await.map_err(io)?;
    let len = stream.read_u16().await.map_err(io)?;
    let mut packet = vec![0; usize::from(len)];
    stream.read_exact(&mut packet).await.map_err(io)?;
    let garbage = || Failure::Garbage("the reply over TCP is not to the question".to_owned());
    response_to(query, &packet)?.ok_or_else(garbage)
}

/// The response in `packet`, if it answers `query`. Some servers leave the question out of an error response.
fn response_to(query: &[u8], packet: &[u8]) -> Result<Option<Message>, Failure> {
    if packet.len() < HEADER || packet.get(..2) != query.get(..2) {
        return Ok(None);
    }
    let Ok(response) = Message::from_vec(packet) else {
        return Err(Failure::Garbage("the reply is not a DNS message".to_owned()));
    };
    let question = query.get(HEADER..).unwrap_or_default();
    let repeated = packet.get(HEADER..HEADER + question.len()).is_some_and(|same| same.eq_ignore_ascii_case(question));
    let is_bare_error = response.queries.is_empty() && u16::from(response.metadata.response_code) != rcode::NOERROR;
    let is_ours = response.queries.len() == 1 && repeated || is_bare_error;
    Ok(Some(response).filter(|response| is_ours && response.metadata.message_type == MessageType::Response))
}

fn judge(spec: &DnsSpec, response: &Message) -> Result<(), Failure> {
    let got = u16::from(response.metadata.response_code);
    if got != spec.rcode {
        return Err(Failure::Unhealthy(format!("{}, expected {}", rcode_name(got), rcode_name(spec.rcode))));
    }
    let Some(expected) = &spec.rdata else { return Ok(()) };
    let is_match = |record: &Record| u16::from(record.record_type()) == spec.qtype && has_rdata(record, expected);
    match response.answers.iter().any(is_match) {
        true => Ok(()),
        false if response.answers.is_empty() => Err(Failure::Unhealthy(format!("no answer, expected {expected}"))),
        false => Err(Failure::Unhealthy(format!("no record of the answer is {expected}"))),
    }
}

fn has_rdata(record: &Record, expected: &DnsRdata) -> bool {
    match (expected, &record.data) {
        (DnsRdata::Address(IpAddr::V4(expected)), RData::A(a)) => a.0 == *expected,
        (DnsRdata::Address(IpAddr::V6(expected)), RData::AAAA(aaaa)) => aaaa.0 == *expected,
        (DnsRdata::Text(expected), RData::TXT(txt)) => txt.txt_data.concat() == expected.as_bytes(),
        (DnsRdata::Address(_) | DnsRdata::Text(_), _) => false,
    }
}

fn rcode_name(code: u16) -> String {
    let known = rcode::MNEMONICS.into_iter().find(|(known, _)| *known == code);
    known.map_or_else(|| format!("rcode {code}"), |(_, name)| name.to_owned())
}
