//! How many connections there may be, in all and of one client net. At the limit, the connection that was idle for
//! longest is closed for the new one, so that clients with idle connections cannot keep others out. Plain values: time
//! is an argument, and closing is a token that the connection's task watches.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::model::Moment;

/// Connections in all. Half of 1,024, the usual limit of open files, so that probes and the API have the other half.
/// Each takes 64 KiB at most while its client misbehaves, so 32 MiB.
const MAX_CONNECTIONS: usize = 512;

/// Connections of one client net: half, so that no net can take all, and a busy resolver has enough.
const MAX_PER_NET: usize = 256;

/// A client net of IPv6 is a /64, the least that one customer gets (RFC 6177). Of IPv4, one address.
const NET_BITS_V6: u32 = 64;

/// The open connections. Clones share one set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    slots: Arc<Mutex<Slots>>,
}

#[derive(Debug, Default)]
struct Slots {
    used: Vec<Arc<Connection>>,
    per_net: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Connection {
    net: IpAddr,
    /// When it was last used (accepted, or a message answered), in milliseconds since the first moment.
    used_at: AtomicU64,
    closed: CancellationToken,
}

/// One connection's place below the limit, freed when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    connection: Arc<Connection>,
    connections: Connections,
}

impl Connections {
    /// A place for a connection from `source`, always; and whether another connection was closed to make room.
    pub(crate) fn admit(&self, source: IpAddr, now: Moment) -> (ConnectionSlot, bool) {
        let net = net_of(source);
        let mut slots = self.lock();
        let has_displaced = if slots.per_net.get(&net).is_some_and(|&count| count >= MAX_PER_NET) {
            slots.close_longest_idle(|connection| connection.net == net)
        } else if slots.used.len() >= MAX_CONNECTIONS {
            slots.close_longest_idle(|_| true)
        } else {
            false
        };
        let closed = CancellationToken::new();
        let connection = Arc::new(Connection { net, used_at: AtomicU64::new(millis(now)), closed });
        slots.used.push(connection.clone());
        *slots.per_net.entry(net).or_default() += 1;
        (ConnectionSlot { connection, connections: self.clone() }, has_displaced)
    }

    /// Closes the connection that was idle for longest, when the system is out of files; false when there is none.
    pub(crate) fn make_room(&self) -> bool {
        self.lock().close_longest_idle(|_| true)
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn close_longest_idle(&mut self, is_meant: impl Fn(&Connection) -> bool) -> bool {
        let meant = self.used.iter().filter(|connection| is_meant(connection));
        let Some(connection) = meant.min_by_key(|connection| connection.used_at.load(Relaxed)).cloned() else {
            return false;
        };
        connection.closed.cancel();
        self.remove(&connection);
        true
    }

    /// Removes it, unless it is removed already.
    fn remove(&mut self, connection: &Arc<Connection>) {
        let Some(at) = self.used.iter().position(|other| Arc::ptr_eq(other, connection)) else { return };
        self.used.swap_remove(at);
        if let Some(count) = self.per_net.get_mut(&connection.net) {
            *count -= 1;
            if *count == 0 {
                self.per_net.remove(&connection.net);
            }
        }
    }
}

impl ConnectionSlot {
    /// A message was answered: of all connections this one is now closed last.
    pub(crate) fn mark_used(&self, now: Moment) {
        self.connection.used_at.store(millis(now), Relaxed);
    }

    /// Ends when this connection must make room for another.
    pub(crate) async fn displaced(&self) {
        self.connection.closed.cancelled().await;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.connection);
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

    fn is_closed(slot: &ConnectionSlot) -> bool {
        slot.connection.closed.is_cancelled()
    }

    #[test]
    fn a_full_net_closes_the_one_that_was_idle_for_longest() {
        let connections = Connections::default();
        let slots: Vec<ConnectionSlot> =
            (0..MAX_PER_NET as u64).map(|n| connections.admit(ip("192.0.2.1"), at(n)).0).collect();
        slots[0].mark_used(at(1000));
        let other = connections.admit(ip("192.0.2.2"), at(1001));
        assert!(!other.1 && slots.iter().all(|slot| !is_closed(slot)), "another net has room of its own");
        let (newest, has_displaced) = connections.admit(ip("192.0.2.1"), at(1002));
        assert!(has_displaced && is_closed(&slots[1]) && !is_closed(&slots[0]) && !is_closed(&newest));
        assert!(!is_closed(&other.0));
    }

    #[test]
    fn when_all_places_are_taken_a_new_net_still_gets_one() {
        let connections = Connections::default();
        let slots: Vec<ConnectionSlot> = (0..MAX_CONNECTIONS as u32)
            .map(|n| connections.admit(IpAddr::V4((0x0a00_0000 + n).into()), at(u64::from(n))).0)
            .collect();
        let (_newest, has_displaced) = connections.admit(ip("2001:db8::1"), at(5000));
        assert!(has_displaced && is_closed(&slots[0]));
        assert_eq!(connections.lock().used.len(), MAX_CONNECTIONS);
    }

    #[test]
    fn places_are_freed_once_whether_left_or_displaced() {
        let connections = Connections::default();
        let (left, _) = connections.admit(ip("2001:db8::1"), at(0));
        let (displaced, _) = connections.admit(ip("2001:db8::2"), at(1));
        assert_eq!(connections.lock().per_net.len(), 1, "one /64 is one net");
        drop(left);
        assert!(connections.make_room() && is_closed(&displaced));
        drop(displaced);
        assert!(!connections.make_room());
        assert!(connections.lock().used.is_empty() && connections.lock().per_net.is_empty());
    }
}
