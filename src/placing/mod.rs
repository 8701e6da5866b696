//! The class of a client, found by its address, and the prefix length for which it holds. `config` calls [`place`] at
//! each load: this gives every address its class. `snapshot` compiles a [`ClientTable`] for each set of classes that
//! policies distinguish. `answer` looks addresses up in it. `control` calls [`explain()`]. Pure: databases are decoded
//! from bytes.
//!
//! Two things determine the class of an address: the nets around it (`nets` calls what they mean together its
//! *ground*), and its facts in the databases (`rules` calls the part that regions or selectors use their *essence*, and
//! what it means for a client its *kind*). `classify` joins grounds and kinds into classes.

pub(crate) mod address;
mod classify;
mod client_net;
mod database;
mod explain;
pub mod mmdb;
mod nets;
mod rules;
mod sweep;
mod table;
#[cfg(test)]
mod test_addresses;
#[cfg(test)]
mod tests;

pub use classify::{TooManyClasses, place};
pub use client_net::{ClientNet, SplitMix, mix};
pub use database::{DatabaseBuilder, facts_of};
pub use explain::{ClientPlacement, explain};
pub use rules::RegionSource;
pub use table::ClientTable;
