//! Asks the demo's server all the time, as clients of every region do, and remembers what each was answered and when each
//! address was last in an answer. What the demo shows is measured here, on the wire, not read from the server's memory.

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

/// How often each client asks each name: the resolution of what is measured.
const EVERY: Duration = Duration::from_millis(20);

/// Host part of the addresses that it asks from.
const ASKER: u8 = 99;

/// What was seen in answers.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// When each address was last in an answer.
    named: HashMap<IpAddr, Moment>,
    /// The last reply to each client, in the order of [`REGIONS`], for the name that is shown.
    replies: [Option<Reply>; REGIONS.len()],
}

/// The last reply to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) at: Moment,
    /// The addresses before these, and when they changed.
    pub(crate) before: Option<(Vec<IpAddr>, Moment)>,
}

impl Seen {
    /// The last moment that any of `addresses` was in an answer.
    pub(crate) fn of(&self, addresses: &[SocketAddr]) -> Option<Moment> {
        let seen = self.inner();
        addresses.iter().filter_map(|address| seen.named.get(&address.ip()).copied()).max()
    }

    /// The last reply to the client of a region, by its place in [`REGIONS`].
    pub(crate) fn reply(&self, client: usize) -> Option<Reply> {
        self.inner().replies.get(client).cloned().flatten()
    }

    fn note(&self, client: usize, addresses: Vec<IpAddr>, is_shown: bool, at: Moment) {
        let mut seen = self.inner();
        seen.named.extend(addresses.iter().map(|address| (*address, at)));
        let Some(reply) = seen.replies.get_mut(client).filter(|_| is_shown) else { return };
        let before = reply.take().and_then(|last| match last.addresses == addresses {
            true => last.before,
            false => Some((last.addresses, at)),
        });
        *reply = Some(Reply { addresses, at, before });
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address that the client of a region asks from.
pub(crate) fn client(octet: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, octet, 0, ASKER)
}

/// Asks `server` for `names` until its task is dropped; of `shown` the replies are remembered for each client.
pub(crate) async fn watch(server: SocketAddr, names: Vec<String>, shown: String, seen: Seen) -> std::io::Result<()> {
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
                    seen.note(at, addresses, name == shown, clock::now());
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
        let (seen, at) = (Seen::default(), |secs| Moment::from_start(Duration::from_secs(secs)));
        let address = |octet| vec![IpAddr::from([127, octet, 0, 10])];
        seen.note(1, address(2), true, at(1));
        seen.note(1, address(3), false, at(2));
        assert_eq!(seen.reply(1), Some(Reply { addresses: address(2), at: at(1), before: None }), "another name");
        seen.note(1, address(1), true, at(3));
        seen.note(1, address(1), true, at(4));
        let before = Some((address(2), at(3)));
        assert_eq!(seen.reply(1), Some(Reply { addresses: address(1), at: at(4), before }));
        assert_eq!((seen.reply(0), seen.reply(9)), (None, None));
        assert_eq!(seen.of(&[SocketAddr::from(([127, 3, 0, 10], 80))]), Some(at(2)));
    }
}
