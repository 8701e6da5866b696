//! Queries to resolvers, over UDP and then over TCP. Who does not see a query must not be able to forge its reply: ID
//! and port can't be predicted (RFC 5452), and a packet that does not repeat both and the question is ignored.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hickory_proto::op::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::clock;
use crate::discovery::dns::reading::{Found, found};
use crate::discovery::dns::resolvers::{of_system, written};
use crate::discovery::{Trouble, TroubleState};
use crate::source::{files, reason};
use crate::wire::Name;
use crate::wire::code::{class, flag};

const HEADER: usize = 12;
/// Octets that a reply over UDP may have, as the query says (the size of the DNS Flag Day 2020).
const UDP_SIZE: u16 = 1232;
/// How long a resolver may take: a resolver that has to query others answers within seconds, or its client queries
/// again.
const WITHIN: Duration = Duration::from_secs(2);
/// How often each resolver is queried, as the C library does (`RES_DFLRETRY`).
const ROUNDS: usize = 2;
/// Longest `/etc/resolv.conf` that is read, in octets (judgment).
const MAX_CONF: u64 = 64 << 10;

/// The resolvers of a source, in order.
pub(super) struct Resolver {
    servers: Vec<SocketAddr>,
}

impl Resolver {
    /// Those that are written, or those of the system as they are now.
    pub(super) async fn of(texts: &[String]) -> Result<Resolver, String> {
        if !texts.is_empty() {
            return Ok(Resolver { servers: written(texts) });
        }
        let path = Path::new("/etc/resolv.conf");
        let read = tokio::task::spawn_blocking(move || files::read(path, MAX_CONF)).await;
        let read = read.map_err(|error| error.to_string())?;
        let text = match read {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("{} can't be read: {}", path.display(), reason(&error))),
        };
        Ok(Resolver { servers: of_system(&String::from_utf8_lossy(&text)) })
    }

    /// The records of a name, from the first resolver that answers.
    pub(super) async fn query(&self, name: &Name, qtype: u16) -> Result<Found, Trouble> {
        let mut last = Trouble::away("there is no resolver");
        for server in std::iter::repeat_n(&self.servers, ROUNDS).flatten() {
            let exchanged = tokio::time::timeout(WITHIN, exchange(*server, name, qtype)).await;
            let exchanged = exchanged.unwrap_or_else(|_| Err(format!("no reply within {} s", WITHIN.as_secs())));
            match exchanged.map_err(Trouble::away).and_then(|reply| found(&reply, name, qtype)) {
                Ok(found) => return Ok(found),
                Err(why) => last = Trouble { problem: format!("{server}: {}", why.problem), ..why },
            }
        }
        let problem = match last.state {
            TroubleState::Bad => format!("{name} can't be used ({})", last.problem),
            TroubleState::Away => {
                let last = last.problem;
                format!("{name} can't be looked up ({last}): check `resolvers`, and that they serve this name")
            }
        };
        Err(Trouble { problem, ..last })
    }
}

async fn exchange(server: SocketAddr, name: &Name, qtype: u16) -> Result<Message, String> {
    let query = query(name, qtype).map_err(|error| error.to_string())?;
    let reply = over_udp(server, &query).await.map_err(|error| reason(&error))?;
    if !reply.metadata.truncation {
        return Ok(reply);
    }
    over_tcp(server, &query).await.map_err(|error| reason(&error))
}

/// A query with recursion desired and EDNS0.
fn query(name: &Name, qtype: u16) -> std::io::Result<Vec<u8>> {
    let id: [u8; 2] = clock::secret()?;
    let mut query = Vec::with_capacity(HEADER + name.as_wire().len() + 15);
    query.extend(id);
    query.extend(flag::RD.to_be_bytes());
    query.extend([0, 1, 0, 0, 0, 0, 0, 1]);
    query.extend(name.as_wire());
    query.extend(qtype.to_be_bytes());
    query.extend(class::IN.to_be_bytes());
    // OPT (RFC 6891, 6.1.2): the root, type 41, the size, no flags, no options.
    query.extend([0, 0, 41]);
    query.extend(UDP_SIZE.to_be_bytes());
    query.extend([0; 6]);
    Ok(query)
}

async fn over_udp(server: SocketAddr, query: &[u8]) -> std::io::Result<Message> {
    let any = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    // A connected socket receives only from this server, and the ICMP errors about it.
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut packet = vec![0; usize::from(UDP_SIZE)];
    loop {
        let octets = socket.recv(&mut packet).await?;
        if let Some(reply) = reply_to(query, packet.get(..octets).unwrap_or_default()) {
            return Ok(reply);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).unwrap_or_default();
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let length = stream.read_u16().await?;
    let mut packet = vec![0; usize::from(length)];
    stream.read_exact(&mut packet).await?;
    match reply_to(query, &packet) {
        Some(reply) if reply.metadata.truncation => Err(std::io::Error::other("the reply over TCP is not whole")),
        Some(reply) => Ok(reply),
        None => Err(std::io::Error::other("the reply over TCP is not to the question")),
    }
}

/// The message, if it is the reply to this query.
fn reply_to(query: &[u8], packet: &[u8]) -> Option<Message> {
    let end = query.len() - 11;
    let question = query.get(HEADER..end)?;
    let is_response = packet.get(2)? & 0x80 != 0;
    let repeated = packet.get(HEADER..end)?;
    let is_ours = packet.get(..2) == query.get(..2) && packet.get(4..6)? == [0, 1] && is_response;
    let is_ours = is_ours && repeated.eq_ignore_ascii_case(question);
    is_ours.then(|| Message::from_vec(packet).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_does_not_repeat_the_query_is_no_reply() {
        let sent = query(&Name::parse("www.internal.").unwrap(), 1).unwrap();
        let mut reply = sent.clone();
        reply[2] |= 0x80;
        assert!(reply_to(&sent, &reply).is_some());
        assert!(reply_to(&sent, &sent).is_none(), "a query");
        for at in [0, 1, 5, HEADER + 1, sent.len() - 13] {
            let mut other = reply.clone();
            other[at] ^= 1;
            assert!(reply_to(&sent, &other).is_none(), "octet {at}");
        }
        assert!((0..reply.len() - 11).all(|end| reply_to(&sent, &reply[..end]).is_none()));
    }
}
