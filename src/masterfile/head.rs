//! What an entry of a master file is: a directive or a record.

/// What an entry is, from its first tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EntryHead {
    /// `$ORIGIN`, `$TTL`, `$INCLUDE` or another, upper case.
    Directive(String),
    /// A record.
    Record {
        /// The type in upper case; empty when the entry ends before it.
        rtype: String,
        /// The TTL in seconds and its token, if one is written; a larger number is `u64::MAX`.
        ttl: Option<(u64, usize)>,
    },
}
