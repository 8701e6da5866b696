//! How many octets may wait for peers, of one connection and in all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::connection::{Connection, Displacement};
use super::{Seat, SourceNet};

/// Octets of each account that are not taken from the total: a normal reply. So a connection that waits for nothing
/// gets its reply whatever others do. With 1,024 connections 4 MiB.
pub(crate) const FREE: usize = 4 << 10;

/// The octets that wait for their peers, on all transports together. Clones share one total.
#[derive(Debug, Clone)]
pub struct WaitingOctets {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    /// One permit for each octet.
    left: Semaphore,
    total: usize,
    accounts: Mutex<Accounts>,
}

#[derive(Debug, Default)]
struct Accounts {
    next: u64,
    open: HashMap<u64, Arc<Figures>>,
    /// What those who wait for octets need.
    demand: usize,
    /// How many reservations were released: the order of releases without a clock.
    releases: u64,
}

/// The octets of one connection that go in one direction. Clones share them.
#[derive(Debug, Clone)]
pub struct Account {
    state: Arc<State>,
}

/// What decides which connection is displaced.
#[derive(Debug)]
struct Figures {
    connection: Arc<Connection>,
    /// Octets that were taken from the total.
    pooled: AtomicUsize,
    /// [`Accounts::releases`] at the last release.
    last_release: AtomicU64,
}

#[derive(Debug)]
struct State {
    pool: Arc<Pool>,
    number: u64,
    figures: Arc<Figures>,
    room: usize,
    /// Of `room`, one permit for each octet.
    left: Semaphore,
    /// Of [`FREE`], one permit for each octet.
    free_left: Semaphore,
    reserved: AtomicUsize,
    releases: AtomicU64,
}

/// Octets that may wait, until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    state: Arc<State>,
    octets: usize,
    of_room: usize,
    of_free: usize,
    of_pool: usize,
}

/// Octets with their reservation, in one owner for [`Bytes`].
struct Reserved<T> {
    octets: T,
    _reservations: Vec<Reservation>,
}

impl WaitingOctets {
    /// At most `total` octets in all, and in addition 4 KiB for each account.
    pub fn new(total: usize) -> WaitingOctets {
        let total = total.clamp(1, u32::MAX as usize);
        let pool = Pool { left: Semaphore::new(total), total, accounts: Mutex::default() };
        WaitingOctets { pool: Arc::new(pool) }
    }

    /// An account of a connection: `room` octets that may wait for it in one direction.
    pub fn account(&self, seat: &Seat, room: usize) -> Account {
        let mut accounts = self.pool.lock();
        let number = accounts.next;
        accounts.next += 1;
        let room = room.clamp(1, u32::MAX as usize);
        let last_release = AtomicU64::new(accounts.releases);
        let figures =
            Arc::new(Figures { connection: seat.connection.clone(), pooled: AtomicUsize::new(0), last_release });
        accounts.open.insert(number, figures.clone());
        let state = State {
            pool: self.pool.clone(),
            number,
            figures,
            room,
            left: Semaphore::new(room),
            free_left: Semaphore::new(FREE),
            reserved: AtomicUsize::new(0),
            releases: AtomicU64::new(0),
        };
        Account { state: Arc::new(state) }
    }

    /// Octets that are taken from the total now.
    pub fn waiting(&self) -> usize {
        self.pool.total - self.pool.left.available_permits()
    }

    /// How many octets may be taken from the total.
    pub fn total(&self) -> usize {
        self.pool.total
    }
}

impl Account {
    /// Octets for a reply or a request of this connection. Waits in order: first for room in the account, where one
    /// reservation of any size is possible when there is no other; then for the total. When the total is exhausted, a
    /// connection of the site with the most octets is displaced; of this one's own site only a deaf one. The caller
    /// limits how long it waits.
    pub async fn reserve(&self, octets: usize) -> Reservation {
        let mut reservation = Reservation::empty(&self.state);
        let of_room = octets.min(self.state.room);
        // Errors mean that a semaphore is closed, which none is.
        if let Ok(permit) = self.state.left.acquire_many(of_room as u32).await {
            permit.forget();
            reservation.of_room = of_room;
        }
        if !reservation.take_shared(octets) {
            let of_pool = octets.min(self.state.pool.total);
            let _demand = Demand::new(&self.state, of_pool);
            if let Ok(permit) = self.state.pool.left.acquire_many(of_pool as u32).await {
                permit.forget();
                reservation.add_pooled(of_pool);
            }
        }
        reservation.add_octets(octets);
        reservation
    }

    /// As [`Account::reserve`] where it need not wait.
    pub fn try_reserve(&self, octets: usize) -> Option<Reservation> {
        let mut reservation = Reservation::empty(&self.state);
        reservation.try_grow(octets).then_some(reservation)
    }

    /// Octets that are reserved now.
    pub fn reserved(&self) -> usize {
        self.state.reserved.load(Relaxed)
    }

    /// How many reservations were released. If it does not change while octets are reserved, the peer takes nothing.
    pub fn releases(&self) -> u64 {
        self.state.releases.load(Relaxed)
    }
}

impl Reservation {
    fn empty(state: &Arc<State>) -> Reservation {
        Reservation { state: state.clone(), octets: 0, of_room: 0, of_free: 0, of_pool: 0 }
    }

    /// Reserves `more` octets in addition; false, without a change, where it would have to wait.
    pub fn try_grow(&mut self, more: usize) -> bool {
        // One reservation of any size is possible when there is no other.
        let of_room = (self.octets + more).min(self.state.room) - self.of_room;
        if !take(&self.state.left, of_room) {
            return false;
        }
        if !self.take_shared(more) {
            self.state.left.add_permits(of_room);
            // Whoever has most makes room for the next attempt.
            drop(Demand::new(&self.state, more.min(self.state.pool.total)));
            return false;
        }
        self.of_room += of_room;
        self.add_octets(more);
        true
    }

    /// Frees what is over `octets`.
    pub fn shrink_to(&mut self, octets: usize) {
        let less = self.octets.saturating_sub(octets);
        let of_room = self.of_room - octets.min(self.of_room);
        // What is more than the total is in neither, and goes first.
        let uncounted = self.octets.saturating_sub(self.of_pool + self.of_free);
        let counted = less.saturating_sub(uncounted);
        let of_pool = counted.min(self.of_pool);
        let of_free = (counted - of_pool).min(self.of_free);
        let freed = Reservation { state: self.state.clone(), octets: less, of_room, of_free, of_pool };
        self.octets -= less;
        self.of_room -= of_room;
        self.of_pool -= of_pool;
        self.of_free -= of_free;
        drop(freed);
    }

    /// `octets` with this reservation, which ends when the last part of them is dropped.
    pub fn into_bytes(self, octets: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Reservation::join(vec![self], octets)
    }

    /// As [`Reservation::into_bytes`], with several reservations.
    pub fn join(reservations: Vec<Reservation>, octets: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Reserved { octets, _reservations: reservations })
    }

    /// How many octets it is for.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Takes octets from the free part of the account, or from the total, if there are so many.
    fn take_shared(&mut self, octets: usize) -> bool {
        let of_pool = octets.min(self.state.pool.total);
        if octets <= FREE && take(&self.state.free_left, octets) {
            self.of_free += octets;
            return true;
        }
        let is_taken = take(&self.state.pool.left, of_pool);
        if is_taken {
            self.add_pooled(of_pool);
        }
        is_taken
    }

    fn add_pooled(&mut self, octets: usize) {
        self.of_pool += octets;
        self.state.figures.pooled.fetch_add(octets, Relaxed);
    }

    fn add_octets(&mut self, octets: usize) {
        self.octets += octets;
        self.state.reserved.fetch_add(octets, Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let state = &self.state;
        state.reserved.fetch_sub(self.octets, Relaxed);
        state.figures.pooled.fetch_sub(self.of_pool, Relaxed);
        if self.octets > 0 {
            state.releases.fetch_add(1, Relaxed);
        }
        if self.of_pool > 0 {
            let mut accounts = state.pool.lock();
            accounts.releases += 1;
            state.figures.last_release.store(accounts.releases, Relaxed);
        }
        state.free_left.add_permits(self.of_free);
        state.pool.left.add_permits(self.of_pool);
        state.left.add_permits(self.of_room);
    }
}

/// Takes permits, which are free again when they are added.
fn take(semaphore: &Semaphore, permits: usize) -> bool {
    semaphore.try_acquire_many(permits as u32).map(|permit| permit.forget()).is_ok()
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Reserved<T> {
    fn as_ref(&self) -> &[u8] {
        self.octets.as_ref()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.pool.lock().open.remove(&self.number);
    }
}

/// A need for octets that the total does not have, until it is dropped.
struct Demand<'a> {
    pool: &'a Pool,
    octets: usize,
}

impl Demand<'_> {
    /// Displaces connections until those that are displaced have what all demands need.
    fn new(state: &State, octets: usize) -> Demand<'_> {
        let mut accounts = state.pool.lock();
        accounts.demand += octets;
        while let Some(connection) = accounts.heaviest(&state.figures, octets) {
            connection.displace(Displacement::Octets);
        }
        Demand { pool: &state.pool, octets }
    }
}

impl Drop for Demand<'_> {
    fn drop(&mut self) {
        self.pool.lock().demand -= self.octets;
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    /// The connection to displace for `octets` of `own`: of the site with the most octets the one that takes nothing,
    /// for the longest time. Its own site loses only connections that are deaf. `None` when enough octets will be free
    /// soon, or when nobody has more.
    fn heaviest(&self, own: &Figures, octets: usize) -> Option<Arc<Connection>> {
        let own_site = own.connection.net.site();
        let mut leaving = 0;
        let mut by_site: HashMap<SourceNet, usize> = HashMap::from([(own_site, octets)]);
        for figures in self.open.values() {
            let pooled = figures.pooled.load(Relaxed);
            match figures.connection.is_displaced() {
                true => leaving += pooled,
                false => *by_site.entry(figures.connection.net.site()).or_default() += pooled,
            }
        }
        if leaving >= self.demand {
            return None;
        }
        let most = *by_site.values().max()?;
        let own_is_heaviest = by_site[&own_site] == most;
        let candidates = self.open.values().filter(|figures| {
            let connection = &figures.connection;
            let (site, is_own) = (connection.net.site(), Arc::ptr_eq(connection, &own.connection));
            let is_of_heaviest = match own_is_heaviest {
                true => site == own_site && !is_own && connection.is_deaf(),
                false => by_site.get(&site) == Some(&most),
            };
            is_of_heaviest && !connection.is_displaced() && figures.pooled.load(Relaxed) > 0
        });
        let first =
            candidates.min_by_key(|figures| (!figures.connection.is_deaf(), figures.last_release.load(Relaxed)));
        first.map(|figures| figures.connection.clone())
    }
}
