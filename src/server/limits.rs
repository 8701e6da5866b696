//! How much the streams may take: connections, and octets that wait for their clients.

use crate::admission::{Seats, WaitingOctets};

/// Connections of TCP, DoT and DoH in all. Half of 1,024, the usual limit of open files, so that probes and the API
/// have the other half.
const CONNECTIONS: usize = 512;

/// Connections of DoQ. They take no descriptor each; as many as the others have.
const QUIC_CONNECTIONS: usize = 512;

/// Octets that wait for their peers in all: an eighth of 128 MiB, a small container. 4,000 normal replies, or
/// 250 of the longest, at the same time.
const WAITING_OCTETS: usize = 16 << 20;

/// The limits of the streams. The default is for 1,024 open files and 128 MiB. Clones share what is taken.
#[derive(Debug, Clone)]
pub struct StreamLimits {
    /// Connections of TCP, DoT and DoH at a time. Each takes a descriptor, and up to about 128 KiB while its client
    /// misbehaves, half of it in the kernel.
    pub connections: Seats,
    /// Connections of DoQ at a time, handshakes too. Each takes up to about 128 KiB while its client misbehaves.
    pub quic_connections: Seats,
    /// The octets that wait for their peers. The API has a total of its own.
    pub octets: WaitingOctets,
}

impl Default for StreamLimits {
    fn default() -> StreamLimits {
        StreamLimits {
            connections: Seats::new(CONNECTIONS),
            quic_connections: Seats::new(QUIC_CONNECTIONS),
            octets: WaitingOctets::new(WAITING_OCTETS),
        }
    }
}
