//! Where a client is: from its address to its class, and the prefix length for which that holds. `config` calls
//! [`place`] once a load; `snapshot` compiles a [`ClientTable`] for each set of questions that policies ask; `answer`
//! looks addresses up in it; `explain` shows why an address has its class. Pure: databases are decoded from bytes.

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
mod tests;

pub use classify::{TooManyClasses, place};
pub use client_net::{ClientNet, mix};
pub use database::{DatabaseBuilder, facts_of};
pub use explain::{ClientPlacement, explain};
pub use rules::RegionSource;
pub use table::ClientTable;
