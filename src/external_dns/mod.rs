//! `portolan external-dns`: the webhook provider of external-dns (protocol version 1). It stores the records that
//! external-dns wants, and writes a policy file for each of its zones, which the server loads as it loads any other.
//!
//! The pure core: [`record`] has the JSON of the protocol, [`property`] the properties that steer, [`adjust`] the form
//! in which a record is stored, [`book`] all records and how changes apply, [`policy`] the policy file of a zone.
//! [`files`] is the directory, [`provider`] joins all of it, and [`http`] speaks the protocol.
//!
//! What is answered to `POST /adjustendpoints` is what `GET /records` has after the changes were applied; otherwise
//! external-dns would send the same changes for ever.

pub mod adjust;
pub mod book;
mod files;
mod http;
pub mod policy;
pub mod property;
mod provider;
pub mod record;
mod run;
#[cfg(test)]
mod tests;

pub use run::{ProviderOptions, run};
