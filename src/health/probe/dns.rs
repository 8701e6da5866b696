//! The dns probe: one query to the endpoint. It checks the response code and, if the monitor expects one, a record.
//! The query goes over UDP. If the response is truncated and a record is expected, it is repeated over TCP.
//!
//! Who does not see the query must not be able to forge its response: otherwise anyone could make an endpoint up or
//! down. The ID and the source port cannot be predicted, and the letters of the name are in upper or lower case at
//! random; a server repeats them as they are (draft-vixie-dnsext-dns0x20). A packet that does not repeat all of it is
//! ignored, and is no failure.
//!
//! Some servers repeat the name in lower case, leave the question out of an error response, or send what is no DNS
//! message at all. If such a packet comes that has the right ID, the question is sent once more, in lower case, with
//! another ID from another port, and the response to that need not repeat the case or, with an error, the question. A
//! forger would have to guess ID and port of both.

use std::future::pending;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use crate::clock;
use crate::health::probe::{Failure, ProbeClients, tcp};
use crate::model::{DnsRdata, DnsSpec, Moment};
use crate::wire::code::{class, flag, rcode};

/// Octets of a header.
const HEADER: usize = 12;
/// The longest response that is read over UDP, in octets. Without EDNS it has at most 512 (RFC 1035, 4.2.1); a server
/// that sends more is still understood.
const MAX_UDP_RESPONSE: usize = 4096;
/// Octets of chance in a query: 2 for its ID, and a bit for each octet of its name, which has at most 255.
const CHANCE: usize = 2 + 32;

/// How exactly a response must repeat the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// Octet by octet.
    Exact,
    /// In upper or lower case; an error response may leave it out.
    AnyCase,
}

/// What a packet is to a query.
#[derive(Debug)]
enum Reception {
    /// Its response.
    Response(Box<Message>),
    /// It has the ID of the query and could be its response, but does not repeat the question exactly.
    Inexact,
    /// Something else.
    Foreign,
}

/// A query that was sent from a socket of its own.
struct SentQuery {
    socket: UdpSocket,
    query: Vec<u8>,
    at: Moment,
}

/// Queries `to`. Returns the time from the query to the response over UDP.
pub(super) async fn probe(clients: &ProbeClients, spec: &DnsSpec, to: SocketAddr) -> Result<Duration, Failure> {
    let (response, rtt) = exchange_over_udp(clients, spec, to).await?;
    let is_truncated = response.metadata.truncation;
    match &spec.rdata {
        Some(_) if is_truncated => judge(spec, &exchange_over_tcp(clients, spec, to).await?)?,
        Some(_) | None => judge(spec, &response)?,
    }
    Ok(rtt)
}

/// A query with an ID that nobody can guess. Recursion is desired; servers without recursion ignore that.
fn query(spec: &DnsSpec, strictness: Strictness) -> Result<Vec<u8>, Failure> {
    let chance: [u8; CHANCE] = clock::secret().map_err(|error| Failure::from_io(&error))?;
    let [id_high, id_low, cases @ ..] = &chance;
    let mut query = Vec::with_capacity(HEADER + spec.name.as_wire().len() + 4);
    query.extend([*id_high, *id_low]);
    query.extend(flag::RD.to_be_bytes());
    query.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    let is_upper = |at: usize| cases.get(at / 8).is_some_and(|octet| octet >> (at % 8) & 1 == 1);
    // The lengths of the labels are at most 63, so they are no letters.
    query.extend(spec.name.as_wire().iter().enumerate().map(|(at, octet)| match strictness {
        Strictness::Exact if is_upper(at) => octet.to_ascii_uppercase(),
        Strictness::Exact | Strictness::AnyCase => octet.to_ascii_lowercase(),
    }));
    query.extend(spec.qtype.to_be_bytes());
    query.extend(class::IN.to_be_bytes());
    Ok(query)
}

/// Sends a query from a port that the kernel chooses.
async fn send(
    clients: &ProbeClients,
    spec: &DnsSpec,
    to: SocketAddr,
    strictness: Strictness,
) -> Result<SentQuery, Failure> {
    let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let from = clients.sources().towards(to.ip()).unwrap_or(SocketAddr::new(any, 0));
    let io = |error: std::io::Error| Failure::from_io(&error);
    let query = query(spec, strictness)?;
    let socket = UdpSocket::bind(from).await.map_err(io)?;
    // A connected socket receives only from this server, and the ICMP errors about it.
    socket.connect(to).await.map_err(io)?;
    let at = clock::now();
    socket.send(&query).await.map_err(io)?;
    Ok(SentQuery { socket, query, at })
}

impl SentQuery {
    /// Waits for the next packet that has to do with the query.
    async fn receive(&self, strictness: Strictness) -> Result<Reception, Failure> {
        let mut buffer = vec![0; MAX_UDP_RESPONSE];
        loop {
            let len = self.socket.recv(&mut buffer).await.map_err(|error| Failure::from_io(&error))?;
            match received(&self.query, buffer.get(..len).unwrap_or_default(), strictness)? {
                Reception::Foreign => {}
                other => return Ok(other),
            }
        }
    }
}

/// The response over UDP, and its time from the query that it answers.
async fn exchange_over_udp(
    clients: &ProbeClients,
    spec: &DnsSpec,
    to: SocketAddr,
) -> Result<(Message, Duration), Failure> {
    let first = send(clients, spec, to, Strictness::Exact).await?;
    let mut second: Option<SentQuery> = None;
    loop {
        let of_second = async {
            match &second {
                Some(sent) => sent.receive(Strictness::AnyCase).await,
                None => pending().await,
            }
        };
        let (reception, at) = tokio::select! {
            reception = first.receive(Strictness::Exact) => (reception?, first.at),
            reception = of_second => (reception?, second.as_ref().map_or(first.at, |sent| sent.at)),
        };
        match reception {
            Reception::Response(response) => return Ok((*response, clock::now().since(at))),
            Reception::Inexact if second.is_none() => {
                second = Some(send(clients, spec, to, Strictness::AnyCase).await?);
            }
            Reception::Inexact | Reception::Foreign => {}
        }
    }
}

async fn exchange_over_tcp(clients: &ProbeClients, spec: &DnsSpec, to: SocketAddr) -> Result<Message, Failure> {
    let io = |error: std::io::Error| Failure::from_io(&error);
    let query = query(spec, Strictness::AnyCase)?;
    let mut stream = tcp::connect(clients, to).await?;
    let len = u16::try_from(query.len()).unwrap_or_default();
    stream.write_all(&[&len.to_be_bytes(), &query[..]].concat()).await.map_err(io)?;
    let len = stream.read_u16().await.map_err(io)?;
    let mut packet = vec![0; usize::from(len)];
    stream.read_exact(&mut packet).await.map_err(io)?;
    match received(&query, &packet, Strictness::AnyCase)? {
        Reception::Response(response) => Ok(*response),
        Reception::Inexact | Reception::Foreign => {
            Err(Failure::Garbage("the reply over TCP is not to the question".to_owned()))
        }
    }
}

/// What a packet is to `query`. An error says what is wrong with the response of the server.
fn received(query: &[u8], packet: &[u8], strictness: Strictness) -> Result<Reception, Failure> {
    let question = query.get(HEADER..).unwrap_or_default();
    let is_response = packet.get(2).is_some_and(|flags| flags & 0x80 != 0);
    if packet.len() < HEADER || packet.get(..2) != query.get(..2) || !is_response {
        return Ok(Reception::Foreign);
    }
    let questions = packet.get(4..6);
    let repeated = packet.get(HEADER..HEADER + question.len()).filter(|_| questions == Some(&[0, 1]));
    let is_same = repeated.is_some_and(|repeated| repeated.eq_ignore_ascii_case(question));
    // Some servers leave the question out of an error response.
    let is_bare_error = questions == Some(&[0, 0]) && packet.get(3).is_some_and(|flags| flags & 0x0f != 0);
    let is_ours = match strictness {
        Strictness::Exact => repeated == Some(question),
        Strictness::AnyCase => is_same || is_bare_error,
    };
    match (Message::from_vec(packet), strictness) {
        (Ok(response), _) if is_ours => Ok(Reception::Response(Box::new(response))),
        (Ok(_), _) if !(is_same || is_bare_error) => Ok(Reception::Foreign),
        (Err(_), Strictness::AnyCase) => Err(Failure::Garbage("the reply is not a DNS message".to_owned())),
        (Ok(_), _) | (Err(_), Strictness::Exact) => Ok(Reception::Inexact),
    }
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
