//! DNS as bytes: names, questions, replies. Parses without allocating and writes into the caller's buffer. It never
//! decides what to answer; `answer` calls it, and the other modules use its [`Name`].

pub mod code;
mod compress;
pub mod cookie;
pub mod edns;
mod made;
mod name;
mod namebuf;
mod prepared;
pub mod query;
pub mod question;
mod record;
pub mod reply;
pub mod tsig;

pub use compress::{Pieces, SharedEnd, common_end, common_end_of, compressed_names, name_len, share_ends};
pub use made::MadeName;
pub use name::{MAX_LABEL, MAX_NAME, Name, NameError};
pub use namebuf::{NameBuf, parent};
pub use prepared::{OWNER_IS_QUESTION, PREPARED_HEAD, each_prepared, put_prepared};
pub use query::Reject;

/// Octets of a message's header (RFC 1035, 4.1.1).
pub const HEADER_LEN: usize = 12;
