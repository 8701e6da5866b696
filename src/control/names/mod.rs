//! What steered names give now: `GET /v1/names`. The metrics, the page and `portolan status` show the same.
//!
//! Everything is read from the snapshot that is being served. [`cache`] keeps a state for each policy, so a reader
//! computes only the policies that changed since the last reader.

pub(in crate::control) mod cache;
mod report;
mod reporter;
mod respond;
mod rows;
mod sentence;
#[cfg(test)]
mod tests;

pub use cache::{NameState, NameStateCache};
pub use report::{ClassReport, MeasuredEndpoint, MeasuredSplit, NameReport};
pub(crate) use reporter::Reporter;
pub(super) use respond::{NamesQuery, respond};
pub use rows::{AnswerRow, merge};
