//! `[limits]` of `portolan.toml`: how many connections there may be.

use crate::config::keys::{integer, keys};

/// How many connections of clients there may be at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of DNS over TCP, TLS and HTTPS together.
    pub connections: usize,
    /// Of DNS over QUIC.
    pub quic_connections: usize,
    /// Of the API. A quarter of them may be event streams, and at most 64.
    pub api_connections: usize,
}

/// Half of 1,024, the usual limit of open files, and more than a busy resolver opens (judgment).
const CONNECTIONS: usize = 512;
/// Enough for people, scrapers, heartbeats and event streams (judgment).
const API_CONNECTIONS: usize = 256;
/// More would need 12 GiB at their worst (judgment).
const MAX_CONNECTIONS: i64 = 100_000;
/// As many heartbeats at once as a node has endpoints (judgment).
const MAX_API_CONNECTIONS: i64 = 10_000;

impl Default for Limits {
    fn default() -> Limits {
        Limits { connections: CONNECTIONS, quic_connections: CONNECTIONS, api_connections: API_CONNECTIONS }
    }
}

keys! {
    /// `[limits]`.
    LimitKeys in Settings {
        /// connections of clients over TCP, DoT and DoH at a time, together; see
        /// [operating](../docs/operating.md#connections-memory-and-open-files)
        connections: usize = integer(1..=MAX_CONNECTIONS), default CONNECTIONS;
        /// connections over DoQ at a time
        quic_connections: usize = integer(1..=MAX_CONNECTIONS), default CONNECTIONS;
        /// connections of the API at a time; a quarter of them, and at most 64, may be event streams
        api_connections: usize = integer(1..=MAX_API_CONNECTIONS), default API_CONNECTIONS;
    }
}

impl From<LimitKeys> for Limits {
    fn from(keys: LimitKeys) -> Limits {
        Limits {
            connections: keys.connections.value,
            quic_connections: keys.quic_connections.value,
            api_connections: keys.api_connections.value,
        }
    }
}
