//! What must hold of any octets, as plain functions that panic when it doesn't: the targets of cargo-fuzz, and of the
//! smoke that runs a million mutated inputs on stable Rust. Nothing here reads a clock or draws chance.

mod files;
mod fleet;
mod message;
pub mod mutate;
mod shape;
mod world;

pub use files::{policy_file, zone_file};
pub use fleet::fleet_message;
pub use message::{answer, query_parse};
