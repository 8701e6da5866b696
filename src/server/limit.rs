//! How many connections there may be, in all and of one client net. When there are as many as we keep, the one that
//! has been of no use for longest makes room for the new one: clients that hold connections without asking can't keep
//! anyone out. Plain values: time is an argument, closing is a token that the connection's task watches.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::model::Moment;

/// Connections in all. Half of 1,024, the usual limit of open files, so that probes and the API always have the other
/// half; each takes 64 KiB at most while its client misbehaves, so 32 MiB.
const MAX_CONNECTIONS: usize = 512;

/// Connections of one client net: half, so that no net can take all, and a busy resolver has enough.
const MAX_PER_NET: usize = 256;

/// A client net of IPv6 is what one customer gets as a rule (RFC 6177): its /64 at least. Of IPv4, one address.
const NET_BITS_V6: u32 = 64;

/// The connections there are. Clones are the same set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    seats: Arc<Mutex<Seats>>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: Vec<Arc<Taken>>,
    per_net: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Taken {
    net: IpAddr,
    /// Milliseconds since the first moment, when it was last of use: accepted, or a message answered.
    useful_at: AtomicU64,
    closed: CancellationToken,
}

/// One connection's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    taken: Arc<Taken>,
    connections: Connections,
}

impl Connections {
    /// A place for a connection from `source`, always. Says also whether another was closed to make room.
    pub(crate) fn admit(&self, source: IpAddr, now: Moment) -> (Seat, bool) {
        let net = net_of(source);
        let mut seats = self.lock();
        let has_displaced = if seats.per_net.get(&net).is_some_and(|&count| count >= MAX_PER_NET) {
            seats.close_least_useful(|taken| taken.net == net)
        } else if seats.taken.len() >= MAX_CONNECTIONS {
            seats.close_least_useful(|_| true)
        } else {
            false
        };
        let closed = CancellationToken::new();
        let taken = Arc::new(Taken { net, useful_at: AtomicU64::new(millis(now)), closed });
        seats.taken.push(taken.clone());
        *seats.per_net.entry(net).or_default() += 1;
        (Seat { taken, connections: self.clone() }, has_displaced)
    }

    /// Closes the connection that has been of no use for longest, when the system is out of files; says whether there
    /// was one.
    pub(crate) fn make_room(&self) -> bool {
        self.lock().close_least_useful(|_| true)
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    fn close_least_useful(&mut self, is_meant: impl Fn(&Taken) -> bool) -> bool {
        let meant = self.taken.iter().filter(|taken| is_meant(taken));
        let Some(taken) = meant.min_by_key(|taken| taken.useful_at.load(Relaxed)).cloned() else { return false };
        taken.closed.cancel();
        self.remove(&taken);
        true
    }

    /// Takes it out, unless it is out already.
    fn remove(&mut self, taken: &Arc<Taken>) {
        let Some(at) = self.taken.iter().position(|other| Arc::ptr_eq(other, taken)) else { return };
        self.taken.swap_remove(at);
        if let Some(count) = self.per_net.get_mut(&taken.net) {
            *count -= 1;
            if *count == 0 {
                self.per_net.remove(&taken.net);
            }
        }
    }
}

impl Seat {
    /// A message was answered: of all connections this is now the last to be closed.
    pub(crate) fn was_useful(&self, now: Moment) {
        self.taken.useful_at.store(millis(now), Relaxed);
    }

    /// Ends when this connection must make room for another.
    pub(crate) async fn displaced(&self) {
        self.taken.closed.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.taken);
    }
}

fn millis(moment: Moment) -> u64 {
    moment.from_first().as_millis() as u64
}

fn net_of(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> NET_BITS_V6)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(secs: u64) -> Moment {
        Moment::START + Duration::from_secs(secs)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_closed(seat: &Seat) -> bool {
        seat.taken.closed.is_cancelled()
    }

    #[test]
    fn a_full_net_gives_up_the_one_that_was_useless_for_longest() {
        let connections = Connections::default();
        let seats: Vec<Seat> = (0..MAX_PER_NET as u64).map(|n| connections.admit(ip("192.0.2.1"), at(n)).0).collect();
        seats[0].was_useful(at(1000));
        let other = connections.admit(ip("192.0.2.2"), at(1001));
        assert!(!other.1 && seats.iter().all(|seat| !is_closed(seat)), "another net has room of its own");
        let (newest, has_displaced) = connections.admit(ip("192.0.2.1"), at(1002));
        assert!(has_displaced && is_closed(&seats[1]) && !is_closed(&seats[0]) && !is_closed(&newest));
        assert!(!is_closed(&other.0));
    }

    #[test]
    fn when_all_places_are_taken_a_new_net_still_gets_one() {
        let connections = Connections::default();
        let seats: Vec<Seat> = (0..MAX_CONNECTIONS as u32)
            .map(|n| connections.admit(IpAddr::V4((0x0a00_0000 + n).into()), at(u64::from(n))).0)
            .collect();
        let (_newest, has_displaced) = connections.admit(ip("2001:db8::1"), at(5000));
        assert!(has_displaced && is_closed(&seats[0]));
        assert_eq!(connections.lock().taken.len(), MAX_CONNECTIONS);
    }

    #[test]
    fn places_are_given_back_once_whether_left_or_displaced() {
        let connections = Connections::default();
        let (left, _) = connections.admit(ip("2001:db8::1"), at(0));
        let (displaced, _) = connections.admit(ip("2001:db8::2"), at(1));
        assert_eq!(connections.lock().per_net.len(), 1, "one /64 is one net");
        drop(left);
        assert!(connections.make_room() && is_closed(&displaced));
        drop(displaced);
        assert!(!connections.make_room());
        assert!(connections.lock().taken.is_empty() && connections.lock().per_net.is_empty());
    }
}
