//! Reads the settings and the policy files, and puts the zones together. A file becomes a Spec (as written), and that a
//! [`crate::model::Model`] (valid). Every problem is collected, with its place and what to write instead. Each zone,
//! and each file that the settings name, is accepted as a whole or not at all. `daemon` calls [`start`] and [`again`],
//! `cli` calls [`load`] and [`reload`]. No later module reads files of the user.
//!
//! `load` reads everything, `settings` reads `portolan.toml`, and `zones` reads the zones directory. For each policy
//! file `spec` reads the keys that it declares with `keys`, and `validate` adds the zone to the model, with the records
//! that [`crate::masterfile`] has read. `clients` places the clients.

mod certificate;
mod classes;
mod client_lists;
mod client_settings;
mod clients;
mod dnstap;
mod fields;
mod follow;
mod guard;
mod in_force;
mod interfaces;
mod kafka;
mod keys;
pub mod kubeconfig;
mod limits;
mod load;
mod log;
mod mmdb;
mod monitor;
mod nats;
mod net_files;
mod node;
mod notes;
mod operators;
mod reach;
mod regions;
mod run;
mod schema;
mod secret_file;
mod settings;
mod sinks;
mod spec;
mod token_scope;
mod tokens;
mod validate;
mod zones;

#[cfg(test)]
mod tests;

pub use certificate::{Certificate, CertificateError, Tls};
pub use client_settings::ClientSettings;
pub use dnstap::Dnstap;
pub use follow::{FollowFrom, FollowSettings, FollowStart, KafkaFollow, NatsFollow};
pub use guard::Guard;
pub use kafka::{HAS_KAFKA, KafkaCluster};
pub use limits::Limits;
pub use load::{InForce, LoadOptions, Loaded, again, load, load_after, log_format, reload, settings_alone, start};
pub use log::LogFormat;
pub use nats::{NatsServers, NatsTls};
pub use notes::notes;
pub use operators::Operators;
pub use schema::{SchemaOf, schema};
pub(crate) use settings::LAST_GOOD_DIR;
pub use settings::{Flags, FleetSettings, Listen, Settings};
pub use sinks::{KafkaSinkSettings, NatsSinkSettings, SigningSecrets, SinkReceiver, SinkSettings, WebhookSettings};
pub use token_scope::{EndpointPattern, Rights, Role};
pub use tokens::{Holder, Tokens};
pub(crate) use zones::makes_zone;
pub use zones::{Disappearance, PolicyTexts, Version, VersionStatus, ZoneState, try_policies};
