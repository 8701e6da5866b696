//! Why the API refuses requests and connections, and how often it did.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Why a request or a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It names a host that is not this server.
    Host,
    /// A page of another site sent it.
    Origin,
    /// Its token is not in the file of tokens.
    Token,
    /// Its token does not allow the call.
    Role,
    /// There were too many of the same client net.
    Rate,
    /// A connection that was closed for a newer one, when there were as many as the limit.
    Displaced,
    /// A connection whose client did not send its request, or did not take its response, in time.
    Stalled,
    /// An event stream, when there were as many as the limit.
    Streams,
    /// A large response, when too much was waiting for clients already.
    Octets,
}

impl Refusal {
    /// All of them, in the order of their numbers.
    pub const ALL: [Refusal; 9] = [
        Refusal::Host,
        Refusal::Origin,
        Refusal::Token,
        Refusal::Role,
        Refusal::Rate,
        Refusal::Displaced,
        Refusal::Stalled,
        Refusal::Streams,
        Refusal::Octets,
    ];

    /// Its name on metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Host => "host",
            Refusal::Origin => "origin",
            Refusal::Token => "token",
            Refusal::Role => "role",
            Refusal::Rate => "rate",
            Refusal::Displaced => "displaced",
            Refusal::Stalled => "stalled",
            Refusal::Streams => "streams",
            Refusal::Octets => "octets",
        }
    }
}

/// How often each happened.
#[derive(Debug, Default)]
pub struct RefusalCounters([AtomicU64; Refusal::ALL.len()]);

impl RefusalCounters {
    /// Counts one.
    pub fn count(&self, refusal: Refusal) {
        self.0[refusal as usize].fetch_add(1, Relaxed);
    }

    /// The counts, with zeroes.
    pub fn all(&self) -> [(Refusal, u64); Refusal::ALL.len()] {
        Refusal::ALL.map(|refusal| (refusal, self.0[refusal as usize].load(Relaxed)))
    }
}
