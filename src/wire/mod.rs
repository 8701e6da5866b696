//! DNS as bytes: names, questions, replies. Parses without allocating and writes into the caller's buffer. It never
//! decides what to answer; `answer` calls it, and the other modules use its [`Name`].

mod name;
pub mod query;

pub use name::{MAX_LABEL, MAX_NAME, Name, NameError};
pub use query::Reject;
