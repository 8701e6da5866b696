//! The room that all connections of the API share: their seats, the seats of event streams, and the octets of responses
//! that wait for their clients.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::admission::{Account, Reservation, Seat, Seats, SourceNet, WaitingOctets};
use crate::model::Moment;

/// Most connections at a time. Judgment: enough for a few people, scrapers and event streams, and far below the usual
/// limit of 1024 open files.
const MAX_CONNECTIONS: usize = 256;

/// Most event streams at a time. Each has a connection too; the other connections stay free for requests.
const MAX_STREAMS: usize = 64;

/// Octets of responses that may wait for all clients together. Judgment: some clients that read the status of 10,000
/// endpoints (5 MB) at once, an eighth of a small container. A longer response is sent when no other one waits. The
/// streams of DNS have a budget of their own, so that the API takes nothing from them.
const MAX_OCTETS: usize = 16 << 20;

/// Most calls that wait for octets (judgment: each has its response in memory already, of up to some MB).
const MAX_WAITING: usize = 8;

/// How long they wait. Judgment: clients that read take a large response in less.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What connections share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiRoom {
    pub(super) seats: Seats,
    pub(super) octets: WaitingOctets,
    pub(super) streams: Arc<StreamSeats>,
    /// One permit for each call that may wait for octets.
    waiting: Arc<Semaphore>,
}

impl Default for ApiRoom {
    fn default() -> ApiRoom {
        ApiRoom::new(MAX_CONNECTIONS, MAX_OCTETS)
    }
}

impl ApiRoom {
    /// For so many connections, at least one, and so many octets that wait for their clients. Of the connections a
    /// quarter may be event streams, and at most 64.
    pub fn new(connections: usize, octets: usize) -> ApiRoom {
        ApiRoom {
            seats: Seats::new(connections),
            octets: WaitingOctets::new(octets),
            streams: Arc::new(StreamSeats::new((connections / 4).clamp(1, MAX_STREAMS))),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    /// The seats of all connections.
    pub fn seats(&self) -> &Seats {
        &self.seats
    }

    /// The seats of event streams.
    pub fn stream_seats(&self) -> &Seats {
        &self.streams.seats
    }

    /// The octets of responses that wait.
    pub fn octets(&self) -> &WaitingOctets {
        &self.octets
    }
}

/// A connection of the API.
#[derive(Debug)]
pub(super) struct ApiConnection {
    pub(super) client: IpAddr,
    /// Whether the client is a process of this host.
    pub(super) is_local: bool,
    pub(super) seat: Seat,
    /// What waits for the client, and what the client sends.
    account: Account,
    waiting: Arc<Semaphore>,
}

impl ApiConnection {
    /// A connection from `client` to the address `own` of this host. Another one may be displaced for it.
    pub(super) fn admit(room: &ApiRoom, client: IpAddr, own: Option<IpAddr>, now: Moment) -> ApiConnection {
        let seat = room.seats.admit(client, now);
        let account = room.octets.account(&seat, usize::MAX);
        ApiConnection { client, is_local: is_local(client, own), seat, account, waiting: room.waiting.clone() }
    }

    /// Octets that may wait for the client; `None` if there are none within some time, or if many wait for octets
    /// already: what they wait with is in memory too.
    pub(super) async fn reserve(&self, octets: usize) -> Option<Reservation> {
        if let Some(reservation) = self.account.try_reserve(octets) {
            return Some(reservation);
        }
        let _permit = self.waiting.try_acquire().ok()?;
        tokio::time::timeout(RESERVE_TIMEOUT, self.account.reserve(octets)).await.ok()
    }
}

/// Whether `client`, which is connected to the address `own`, is a process of this host. No other host can finish a
/// handshake from such an address: the kernel discards packets that come from outside with a loopback address or an
/// address of its own.
fn is_local(client: IpAddr, own: Option<IpAddr>) -> bool {
    let client = client.to_canonical();
    client.is_loopback() || own.is_some_and(|own| own.to_canonical() == client)
}

/// The seats of event streams. When all are taken, a newcomer displaces a stream of the client net that has the most,
/// but only if the newcomer's net still has fewer streams after that. Else it is refused: a browser opens a stream
/// again that ends, so that a net would otherwise displace its own streams without end.
#[derive(Debug)]
pub(super) struct StreamSeats {
    seats: Seats,
    /// Those that were admitted; some have ended.
    open: Mutex<Vec<Weak<Seat>>>,
}

impl StreamSeats {
    fn new(capacity: usize) -> StreamSeats {
        StreamSeats { seats: Seats::new(capacity), open: Mutex::default() }
    }

    /// How many streams there may be.
    pub(super) fn capacity(&self) -> usize {
        self.seats.capacity()
    }

    /// A seat for a stream of `client`; `None` if the client's net has its share already.
    pub(super) fn admit(&self, client: IpAddr, now: Moment) -> Option<Arc<Seat>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |seat: &Weak<Seat>| seat.upgrade().is_some_and(|seat| seat.displacement().is_none());
        open.retain(is_open);
        let nets: Vec<SourceNet> = open.iter().filter_map(Weak::upgrade).map(|seat| seat.net()).collect();
        if nets.len() >= self.seats.capacity() && !has_fewer(SourceNet::of(client), &nets) {
            return None;
        }
        let seat = Arc::new(self.seats.admit(client, now));
        seat.mark_used(now);
        open.push(Arc::downgrade(&seat));
        Some(seat)
    }
}

/// Whether the site of a net, with one stream more, has fewer than the site with the most; or, within the site with the
/// most, the same for nets. `nets` has the net of each stream.
fn has_fewer(net: SourceNet, nets: &[SourceNet]) -> bool {
    let site = net.site();
    let sites: Vec<SourceNet> = nets.iter().map(|net| net.site()).collect();
    let (own, most) = own_and_most(site, &sites);
    if own < most {
        return own + 1 < most;
    }
    let in_site: Vec<SourceNet> = nets.iter().copied().filter(|other| other.site() == site).collect();
    let (own, most) = own_and_most(net, &in_site);
    own + 1 < most
}

/// How often `own` is in `all`, and how often the most frequent one is.
fn own_and_most(own: SourceNet, all: &[SourceNet]) -> (usize, usize) {
    let mut counts: HashMap<SourceNet, usize> = HashMap::new();
    all.iter().for_each(|net| *counts.entry(*net).or_default() += 1);
    (counts.get(&own).copied().unwrap_or(0), counts.values().copied().max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_with_an_address_of_this_host_is_local() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (client, own, expected) in [
            ("127.0.0.1", Some("127.0.0.1"), true),
            ("127.9.9.9", Some("127.0.0.1"), true),
            ("::1", Some("::1"), true),
            ("::ffff:127.0.0.1", None, true),
            ("192.0.2.1", Some("192.0.2.1"), true),
            ("::ffff:192.0.2.1", Some("192.0.2.1"), true),
            ("2001:db8::1", Some("2001:db8::1"), true),
            ("192.0.2.2", Some("192.0.2.1"), false),
            ("10.0.0.1", None, false),
            ("2001:db8::2", Some("2001:db8::1"), false),
            ("::", None, false),
            ("0.0.0.0", None, false),
        ] {
            assert_eq!(is_local(ip(client), own.map(ip)), expected, "{client} {own:?}");
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn streams(capacity: usize) -> Arc<StreamSeats> {
        Arc::new(StreamSeats::new(capacity))
    }

    /// How many streams of `client` are admitted of `count` attempts.
    fn admit(streams: &Arc<StreamSeats>, client: &str, count: usize) -> Vec<Arc<Seat>> {
        (0..count)
            .filter_map(|at| streams.admit(ip(client), Moment::START + std::time::Duration::from_secs(at as u64)))
            .collect()
    }

    fn open(seats: &[Arc<Seat>]) -> usize {
        seats.iter().filter(|seat| seat.displacement().is_none()).count()
    }

    #[test]
    fn a_net_that_has_all_streams_gives_half_of_them_to_another_and_gets_none_back() {
        let streams = streams(8);
        let many = admit(&streams, "192.0.2.1", 100);
        assert_eq!(many.len(), 8, "of its own streams none is displaced");
        let others = admit(&streams, "192.0.2.2", 100);
        assert_eq!(open(&others), 4);
        // Those that were displaced leave.
        let many: Vec<Arc<Seat>> = many.into_iter().filter(|seat| seat.displacement().is_none()).collect();
        assert_eq!(many.len(), 4);
        assert_eq!(admit(&streams, "192.0.2.1", 100).len(), 0, "equal nets displace nothing");
        assert_eq!(open(&admit(&streams, "192.0.2.3", 100)), 2, "a third net has a share");
        drop((many, others));
        assert_eq!(admit(&streams, "192.0.2.1", 100).len(), 8);
    }

    #[test]
    fn the_nets_of_a_site_share_among_themselves() {
        let streams = streams(8);
        let first = admit(&streams, "2001:db8:1:1::1", 100);
        let second = admit(&streams, "2001:db8:1:2::1", 100);
        assert_eq!((open(&first), open(&second)), (4, 4));
        let elsewhere = admit(&streams, "2001:db8:2::1", 100);
        assert_eq!((open(&first) + open(&second), open(&elsewhere)), (4, 4));
    }
}
