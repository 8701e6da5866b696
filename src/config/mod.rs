//! Reads the files of the user: settings, policy files and master files. A file becomes a Spec (as written), and that a
//! [`crate::model::Model`] (valid). Every problem is collected, with its place and what to write instead. Each zone,
//! and each file that the settings name, is accepted as a whole or not at all. `daemon` calls [`start`] and [`again`],
//! `cli` calls [`load`] and [`reload`]. No other module reads files of the user.
//!
//! `load` reads everything, `settings` reads `portolan.toml`, and `zones` reads the zones directory. For each policy
//! file `spec` reads the keys that it declares with `keys`, and `validate` adds the zone to the model. `zonefile` reads
//! master files. `clients` places the clients.

mod certificate;
mod client_lists;
mod client_settings;
mod clients;
mod fields;
mod files;
mod guard;
mod in_force;
mod interfaces;
mod keys;
mod load;
mod log;
mod manual;
mod mmdb;
mod monitor;
mod net_files;
mod node;
mod notes;
mod operators;
mod problem;
mod reach;
mod regions;
mod schema;
mod settings;
mod source;
mod spec;
mod texts;
mod validate;
mod zonefile;
mod zones;

#[cfg(test)]
mod tests;

pub use certificate::{Certificate, CertificateError, Tls};
pub use client_settings::ClientSettings;
pub(crate) use files::open;
pub use guard::Guard;
pub use load::{InForce, LoadOptions, Loaded, again, load, load_after, log_format, reload, start};
pub use log::LogFormat;
pub use notes::notes;
pub use operators::{Holder, Operators, Role, Tokens};
pub(crate) use problem::did_you_mean;
pub use problem::{Label, Problem, Severity, to_human, to_json};
pub use schema::{SchemaOf, schema};
pub use settings::{Flags, Listen, Settings};
pub(crate) use source::{text_without_mark, without_mark};
pub use texts::TextsByPath;
pub use zones::{Disappearance, Version, VersionStatus, ZoneState};
