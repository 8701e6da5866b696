//! A message that came in, parsed without allocating and without trust.

/// Why a message gets no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reject {
    /// Shorter than a header (12 octets): there is no id to answer to.
    Short,
    /// QR is set: a response. Answering it could make two servers talk to each other for ever.
    Response,
    /// From source port 0, where nobody listens.
    PortZero,
}

impl Reject {
    /// All of them, in the order of their numbers.
    pub const ALL: [Reject; 3] = [Reject::Short, Reject::Response, Reject::PortZero];

    /// The word for it on metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reject::Short => "short",
            Reject::Response => "response",
            Reject::PortZero => "port_zero",
        }
    }
}
