//! DNS as bytes: names, questions, replies. Parses without allocating and writes into the caller's buffer. It never
//! decides what to answer; `answer` calls it, and the other modules use its [`Name`].

pub mod code;
mod compress;
pub mod cookie;
pub mod edns;
mod name;
mod namebuf;
pub mod query;
mod record;
pub mod reply;
pub mod tsig;

pub use name::{MAX_LABEL, MAX_NAME, Name, NameError};
pub use namebuf::{MAX_LABELS, NameBuf};
pub use query::Reject;
