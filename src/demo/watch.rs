//! Asks the demo's server all the time, as clients of every region do, and remembers when each address was last in an
//! answer. What the demo says about recovery is measured here, on the wire, not taken from the server's own mind.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;

use crate::clock;
use crate::demo::region::REGIONS;
use crate::model::Moment;

/// How often each client asks each name: the resolution of what is measured.
const EVERY: Duration = Duration::from_millis(20);

/// Host part of the addresses that it asks from.
const ASKER: u8 = 99;

/// When each address was last in an answer.
#[derive(Clone, Default)]
pub(crate) struct LastNamed(Arc<Mutex<HashMap<IpAddr, Moment>>>);

impl LastNamed {
    /// The last moment that any of `addresses` was in an answer.
    pub(crate) fn of(&self, addresses: &[SocketAddr]) -> Option<Moment> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.iter().filter_map(|address| seen.get(&address.ip()).copied()).max()
    }

    fn mark(&self, address: IpAddr, at: Moment) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(address, at);
    }
}

/// Asks `server` for `names` until its task is dropped.
pub(crate) async fn watch(server: SocketAddr, names: Vec<String>, seen: LastNamed) -> std::io::Result<()> {
    let mut clients = Vec::new();
    for (_, octet) in REGIONS {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, octet, 0, ASKER), 0)).await?;
        socket.connect(server).await?;
        clients.push(socket);
    }
    let questions: Vec<Vec<u8>> = names.iter().filter_map(|name| question(name)).collect();
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut buffer = [0; 1232];
    loop {
        tick.tick().await;
        for client in &clients {
            for question in &questions {
                // A full buffer or a refused port only costs this question.
                let _ = client.try_send(question);
            }
            while let Ok(len) = client.try_recv(&mut buffer) {
                addresses(&buffer[..len]).for_each(|address| seen.mark(address, clock::now()));
            }
        }
    }
}

fn question(name: &str) -> Option<Vec<u8>> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).ok()?, RecordType::A));
    message.to_vec().ok()
}

fn addresses(reply: &[u8]) -> impl Iterator<Item = IpAddr> {
    let answers = Message::from_vec(reply).map(|message| message.answers).unwrap_or_default();
    answers.into_iter().filter_map(|record| match record.data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        _ => None,
    })
}
