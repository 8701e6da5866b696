//! Sends queries to the demo's server all the time, from a client in each region, and logs the last answer to each
//! client and when each address was last in an answer. So the demo shows what is measured on the wire, and not what
//! the server has in its memory.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use crate::clock;
use crate::demo::region::REGIONS;
use crate::model::Moment;

/// How often each client sends a query for each name: the resolution of the measurement.
const EVERY: Duration = Duration::from_millis(20);

/// Host part of the clients' addresses.
const CLIENT: u8 = 99;

/// The answers on the wire.
#[derive(Clone, Default)]
pub(crate) struct AnswerLog(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// When each address was last in an answer.
    named: HashMap<IpAddr, Moment>,
    /// The last reply to each client, in the order of [`REGIONS`], for the name that is shown.
    replies: [Option<LastReply>; REGIONS.len()],
}

/// The last reply to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastReply {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) at: Moment,
    /// The addresses before these, and when they changed.
    pub(crate) before: Option<(Vec<IpAddr>, Moment)>,
}

impl AnswerLog {
    /// The last moment that any of `addresses` was in an answer.
    pub(crate) fn of(&self, addresses: &[SocketAddr]) -> Option<Moment> {
        let log = self.inner();
        addresses.iter().filter_map(|address| log.named.get(&address.ip()).copied()).max()
    }

    /// The last reply to the client of a region, by its index in [`REGIONS`].
    pub(crate) fn reply(&self, client: usize) -> Option<LastReply> {
        self.inner().replies.get(client).cloned().flatten()
    }

    fn note(&self, client: usize, addresses: Vec<IpAddr>, is_shown: bool, at: Moment) {
        let mut log = self.inner();
        log.named.extend(addresses.iter().map(|address| (*address, at)));
        let Some(reply) = log.replies.get_mut(client).filter(|_| is_shown) else { return };
        let before = reply.take().and_then(|last| match last.addresses == addresses {
            true => last.before,
            false => Some((last.addresses, at)),
        });
        *reply = Some(LastReply { addresses, at, before });
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address of the client of a region.
pub(crate) fn client(octet: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, octet, 0, CLIENT)
}

/// Sends queries for `names` to `server` until its task is dropped. For the name `shown`, the last reply to each
/// client is logged.
pub(crate) async fn watch(
    server: SocketAddr,
    names: Vec<String>,
    shown: String,
    log: AnswerLog,
) -> std::io::Result<()> {
    let mut clients = Vec::new();
    for (_, octet) in REGIONS {
        let socket = UdpSocket::bind((client(octet), 0)).await?;
        socket.connect(server).await?;
        clients.push(socket);
    }
    let questions: Vec<Vec<u8>> = names.iter().filter_map(|name| question(name)).collect();
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut buffer = [0; 1232];
    loop {
        tick.tick().await;
        for (at, client) in clients.iter().enumerate() {
            for question in &questions {
                // A full buffer or a refused port only costs this question.
                let _ = client.try_send(question);
            }
            while let Ok(len) = client.try_recv(&mut buffer) {
                if let Some((name, addresses)) = answer(&buffer[..len]) {
                    log.note(at, addresses, name == shown, clock::now());
                }
            }
        }
    }
}

fn question(name: &str) -> Option<Vec<u8>> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).ok()?, RecordType::A));
    message.to_vec().ok()
}

/// The name that a reply is for, and its addresses in order.
fn answer(reply: &[u8]) -> Option<(String, Vec<IpAddr>)> {
    let message = Message::from_vec(reply).ok()?;
    let name = message.queries.first()?.name().to_string();
    let address = |record: Record| match record.data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        _ => None,
    };
    let mut addresses: Vec<IpAddr> = message.answers.into_iter().filter_map(address).collect();
    addresses.sort();
    Some((name, addresses))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_clients_answer_is_remembered() {
        let (log, at) = (AnswerLog::default(), |secs| Moment::from_start(Duration::from_secs(secs)));
        let address = |octet| vec![IpAddr::from([127, octet, 0, 10])];
        log.note(1, address(2), true, at(1));
        log.note(1, address(3), false, at(2));
        assert_eq!(log.reply(1), Some(LastReply { addresses: address(2), at: at(1), before: None }), "another name");
        log.note(1, address(1), true, at(3));
        log.note(1, address(1), true, at(4));
        let before = Some((address(2), at(3)));
        assert_eq!(log.reply(1), Some(LastReply { addresses: address(1), at: at(4), before }));
        assert_eq!((log.reply(0), log.reply(9)), (None, None));
        assert_eq!(log.of(&[SocketAddr::from(([127, 3, 0, 10], 80))]), Some(at(2)));
    }
}
