//! Pictures of a fleet, compared with files in `tests`; `BLESS=1 cargo test --lib cli::top` writes them.

mod keys;
mod pictures;
mod scene;
