//! The results of TLS and QUIC handshakes.

/// How a TLS or QUIC handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeResult {
    /// There is a connection.
    Done,
    /// It failed, took too long, or was displaced.
    Failed,
    /// It was not begun: its client net makes too many, or there are too many in all.
    Refused,
}

impl HandshakeResult {
    /// All of them, in the order of their numbers.
    pub const ALL: [HandshakeResult; 3] = [HandshakeResult::Done, HandshakeResult::Failed, HandshakeResult::Refused];

    /// Its name on metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            HandshakeResult::Done => "done",
            HandshakeResult::Failed => "failed",
            HandshakeResult::Refused => "refused",
        }
    }
}
