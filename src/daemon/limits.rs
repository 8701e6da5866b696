//! What the process may use of descriptors and memory, and for what. The shares are fixed at the start, so that clients
//! can't take what probes need in the middle of an outage, and can't exhaust the memory.
//!
//! Descriptors: first those of listening sockets and files; then at least half of the rest is for probes, and the
//! other half at most for connections of clients. Memory: half of it at most is for connections, of which a quarter is
//! for octets that wait for clients. Where a limit is too small for the connections of `[limits]`, all kinds of
//! connections get the same part of what the settings want, and a line of the log says so.

mod memory;
#[cfg(test)]
mod tests;

use crate::config::{Limits, Listen};

/// More descriptors than this are of no use to one node: judgment, 10,000 probes at a time with all their attempts.
const ENOUGH_DESCRIPTORS: u64 = 65_536;

/// For files that are read and written, standard streams, and what threads wait with. An idle server has 40.
const FILES: u64 = 96;

/// One in so many of the descriptors of probes is for held connections. Judgment: probes give more evidence, and need
/// more descriptors where nothing answers.
const HELD_PARTS: u64 = 4;

/// A probe that nothing answers holds a socket for each of its attempts, eight at most; one over a path that loses
/// packets twelve, and over TLS half as many again, but hardly ever all of them.
const DESCRIPTORS_A_PROBE: u64 = 12;

/// Fewer probes at a time than this would starve the schedule, whatever the limit.
const FEWEST_PROBES: u64 = 4;

/// More than this would only send more at once.
const MOST_PROBES: u64 = 4096;

/// With fewer probes at a time an outage is noticed late: 16 that wait 2 s for nothing are 8 endpoints a second
/// (judgment).
const GOOD_PROBES: u64 = 16;

/// What a connection takes while its client misbehaves: 64 KiB here, TLS and buffers, and as much in the kernel, which
/// a cgroup counts too.
const CONNECTION_OCTETS: u64 = 128 << 10;

/// One in so many parts of the memory is for connections. The rest is for the zones, twice during a reload.
const CONNECTIONS_PART: u64 = 2;

/// One in so many parts of the memory is for octets that wait for DNS clients, and as much for those of the API.
const WAITING_PART: u64 = 16;

/// More octets than this never wait: 1,000 connections with 64 KiB each.
const MOST_WAITING: u64 = 64 << 20;

/// Fewer would stop normal answers: 16 of the longest.
const LEAST_WAITING: u64 = 1 << 20;

/// What the system allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct System {
    /// The limit of open files.
    pub(crate) descriptors: u64,
    /// Octets; `None` if unknown.
    pub(crate) memory: Option<u64>,
}

/// What each use gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Connections of clients at a time.
    pub(crate) connections: Limits,
    /// Octets that may wait for DNS clients, and as many for those of the API.
    pub(crate) waiting_octets: usize,
    /// Descriptors for probes and held connections.
    pub(crate) probe_descriptors: u64,
    /// What a warning says, if the limit of open files is small.
    pub(crate) warning: Option<String>,
    /// What a line of the log says, if the memory is.
    pub(crate) note: Option<String>,
}

impl System {
    /// Raises the limit of open files as far as the system allows and as we need, and reads the limits.
    pub(crate) fn raise_and_read() -> System {
        let descriptors = rlimit::increase_nofile_limit(ENOUGH_DESCRIPTORS).unwrap_or_else(|error| {
            tracing::warn!(%error, "the limit of open files can't be raised");
            rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(1024, |(soft, _)| soft)
        });
        System { descriptors, memory: memory::available() }
    }

    /// What each use gets. `wanted` is `[limits]`.
    pub(crate) fn share(self, wanted: Limits, listening: u64, vantages: usize) -> Shares {
        let Limits { connections, quic_connections, api_connections } = wanted;
        let usable = self.descriptors.saturating_sub(FILES + listening);
        let by_descriptors = (usable / 2).max(1);
        // DoQ takes no descriptor for each connection.
        let with_descriptor = (connections + api_connections) as u64;
        let waiting = self.memory.map_or(MOST_WAITING, |memory| memory / WAITING_PART);
        let waiting = waiting.clamp(LEAST_WAITING, MOST_WAITING);
        let by_memory = self
            .memory
            .map_or(u64::MAX, |memory| (memory / CONNECTIONS_PART).saturating_sub(2 * waiting) / CONNECTION_OCTETS);
        let all = with_descriptor + quic_connections as u64;
        let for_memory = |count: usize| part(count, by_memory, all);
        let fitting = (for_memory(connections) + for_memory(api_connections)) as u64;
        let for_both = |count: usize| part(for_memory(count), by_descriptors, fitting);
        let granted = Limits {
            connections: for_both(connections),
            quic_connections: for_memory(quic_connections),
            api_connections: for_both(api_connections),
        };
        let taken = (granted.connections + granted.api_connections) as u64;
        let probe_descriptors = usable.saturating_sub(taken);
        let probes = probes_in_flight(probe_descriptors, vantages);
        // Half of the rest is for probes, and of that the part that is not for held connections.
        let for_probes = GOOD_PROBES * DESCRIPTORS_A_PROBE * vantages as u64 * HELD_PARTS / (HELD_PARTS - 1);
        let needed = FILES + listening + 2 * with_descriptor.max(for_probes);
        let is_few = granted.connections < for_memory(connections) || (probes as u64) < GOOD_PROBES;
        let warning = (is_few && self.descriptors < needed).then(|| {
            let Limits { connections, api_connections, .. } = granted;
            format!(
                "the limit of {} open files allows only {probes} probes at a time, {connections} connections of DNS \
                 clients over TCP and {api_connections} of the API: raise it to {needed} (`ulimit -n {needed}`, \
                 LimitNOFILE={needed} of systemd)",
                self.descriptors
            )
        });
        let is_less = for_memory(connections) < connections || granted.quic_connections < quic_connections;
        let note = self.memory.filter(|_| is_less).map(|memory| {
            format!(
                "{} MiB of memory allow {} connections of DNS clients over TCP, {} over QUIC, and {} of the API",
                memory >> 20,
                for_memory(connections),
                granted.quic_connections,
                for_memory(api_connections)
            )
        });
        Shares { connections: granted, waiting_octets: waiting as usize, probe_descriptors, warning, note }
    }
}

/// The part of `count` where only `limit` of `wanted` are possible; at least one.
fn part(count: usize, limit: u64, wanted: u64) -> usize {
    match limit >= wanted {
        true => count,
        false => (u128::from(limit) * count as u128 / u128::from(wanted.max(1))).max(1) as usize,
    }
}

/// How many sockets listen. With 0 workers each core has one.
pub(crate) fn listening(listen: &Listen) -> u64 {
    let workers = match listen.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        some => some,
    };
    // The API has one.
    let sockets = listen.dns.len() * (workers + 1) + listen.tls.len() + listen.https.len() + listen.quic.len() + 1;
    // Each has a second descriptor, for the process that takes over.
    2 * sockets as u64
}

/// How many probes `vantages` may each have under way with so many descriptors for probes in all.
pub(crate) fn probes_in_flight(descriptors: u64, vantages: usize) -> usize {
    let share = (descriptors - descriptors / HELD_PARTS) / DESCRIPTORS_A_PROBE / vantages.max(1) as u64;
    share.clamp(FEWEST_PROBES, MOST_PROBES) as usize
}

/// How many connections each of `vantages` may hold, in addition to its probes.
pub(crate) fn held_connections(descriptors: u64, vantages: usize) -> usize {
    (descriptors / HELD_PARTS / vantages.max(1) as u64) as usize
}
