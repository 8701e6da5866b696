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

use std::path::{Path, PathBuf};

/// The directory of all of this, with the kept inputs and the world: `tests/fuzz`.
pub fn dir() -> PathBuf {
    // The targets are built by two packages: portolan, and the one that is here.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let in_portolan = package.join("tests/fuzz");
    if in_portolan.is_dir() { in_portolan } else { package.to_path_buf() }
}
