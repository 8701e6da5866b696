//! What `rustc` and clippy don't check of the sources: the import order and purity of modules (`walls.rs`), import
//! circles between files (`circles.rs`), the shape of files (`shape.rs`) and the language of names and comments
//! (`language.rs`). The checks read the sources as text (`sources.rs`, `rust_text.rs`). Each complaint says what to do.
//! Each check has a test that it finds what it should.

mod circles;
mod language;
mod rust_text;
mod shape;
mod sources;
mod walls;
