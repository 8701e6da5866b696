//! How many connections there may be, and which one makes room for a newcomer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::SourceNet;
use super::connection::{Activity, Connection, Displacement};
use super::order::{DisplacementOrder, Usefulness};
use crate::model::Moment;

/// Connections that were displaced and have not ended yet, above which [`Seats::settled`] waits. Judgment: ending takes
/// one turn of the runtime, so that more are a flood that is faster than the runtime.
const MAX_LEAVING: usize = 32;

/// The connections of one or several listeners. Clones share one set.
#[derive(Debug, Clone)]
pub struct Seats {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    capacity: usize,
    taken: Mutex<Taken>,
    /// A displaced connection has ended.
    left: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    connections: HashMap<u64, Recorded>,
    order: DisplacementOrder,
    /// Displaced connections that have not ended.
    leaving: usize,
}

/// A connection with the usefulness that `order` has for it. The real one may be higher: it is used without the lock.
#[derive(Debug)]
struct Recorded {
    connection: Arc<Connection>,
    usefulness: Usefulness,
}

/// A connection's place below the limit, freed when dropped.
#[derive(Debug)]
pub struct Seat {
    pub(super) connection: Arc<Connection>,
    shared: Arc<Shared>,
}

impl Seats {
    /// Seats for `capacity` connections, at least one.
    pub fn new(capacity: usize) -> Seats {
        let shared = Shared { capacity: capacity.max(1), taken: Mutex::default(), left: Notify::new() };
        Seats { shared: Arc::new(shared) }
    }

    /// A seat for a connection from `source`, always. When all are taken, another connection is displaced: see the
    /// module's rules.
    pub fn admit(&self, source: IpAddr, now: Moment) -> Seat {
        let net = SourceNet::of(source);
        let mut taken = self.shared.lock();
        while taken.connections.len() >= self.shared.capacity && taken.displace(Some(net)) {}
        let number = taken.next;
        taken.next += 1;
        let connection = Arc::new(Connection::new(number, net, Activity::New, now));
        let usefulness = connection.usefulness();
        taken.connections.insert(number, Recorded { connection: connection.clone(), usefulness });
        taken.order.insert(net, usefulness);
        Seat { connection, shared: self.shared.clone() }
    }

    /// Displaces a connection, because the system has no free descriptors; false when there is none.
    pub fn make_room(&self) -> bool {
        self.shared.lock().displace(None)
    }

    /// Waits while many displaced connections have not ended yet, so that a flood cannot hold more sockets than there
    /// are seats. An accept loop calls this before it accepts.
    pub async fn settled(&self) {
        loop {
            let left = self.shared.left.notified();
            if self.shared.lock().leaving <= MAX_LEAVING {
                return;
            }
            left.await;
        }
    }

    /// How many seats are taken.
    pub fn taken(&self) -> usize {
        self.shared.lock().connections.len()
    }

    /// How many seats there are.
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Displaces the first in order. Connections that were used since theirs was recorded get their real place first;
    /// each use causes at most one such step.
    fn displace(&mut self, newcomer: Option<SourceNet>) -> bool {
        while let Some(first) = self.order.first(newcomer) {
            let Some(recorded) = self.connections.get_mut(&first.1) else { return false };
            let connection = recorded.connection.clone();
            let real = connection.usefulness();
            self.order.remove(connection.net, first);
            if real > first {
                recorded.usefulness = real;
                self.order.insert(connection.net, real);
                continue;
            }
            self.connections.remove(&first.1);
            self.leaving += 1;
            connection.displace(Displacement::Seat);
            return true;
        }
        false
    }

    /// Records a connection whose usefulness went down.
    fn record(&mut self, connection: &Connection) {
        let Some(recorded) = self.connections.get_mut(&connection.number) else { return };
        self.order.remove(connection.net, recorded.usefulness);
        recorded.usefulness = connection.usefulness();
        self.order.insert(connection.net, recorded.usefulness);
    }
}

impl Seat {
    /// The connection was used: its handshake is finished, or it did a request. Of the connections of its net it is
    /// now displaced last.
    pub fn mark_used(&self, now: Moment) {
        self.connection.set(Activity::Established, now);
    }

    /// Its peer takes nothing while octets wait. [`Seat::mark_used`] ends this.
    pub fn mark_deaf(&self, now: Moment) {
        let mut taken = self.shared.lock();
        self.connection.set(Activity::Deaf, now);
        taken.record(&self.connection);
    }

    /// Ends when this connection must make room for another.
    pub async fn displaced(&self) -> Displacement {
        self.connection.displaced().await
    }

    /// Why this connection must end, if it must.
    pub fn displacement(&self) -> Option<Displacement> {
        self.connection.displacement()
    }

    /// The net of its client.
    pub fn net(&self) -> SourceNet {
        self.connection.net
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.shared.lock();
        match taken.connections.remove(&self.connection.number) {
            Some(recorded) => taken.order.remove(self.connection.net, recorded.usefulness),
            None => taken.leaving -= 1,
        }
        drop(taken);
        self.shared.left.notify_waiters();
    }
}
