//! The connection of a fleet: the only files that name the NATS library. Nothing here decides anything: messages and
//! values go in and come out as octets, and `daemon` connects them with the pure parts of this module.
//!
//! - [`Nats`] is the connection. It connects in the background and retries for ever. Without it a node goes on alone.
//! - [`Bucket`] is a table of keys with revisions, which JetStream replicates: [`Bucket::put`] writes a key, where
//!   wanted only over a revision that the writer knows (compare and set), and [`Bucket::watch`] follows all keys.
//! - [`LeaseStore`] is the bucket of the leases of exclusive names.
//! - [`EventStream`] is the stream of the numbered events of all servers.
//! - [`NatsFeed`] is a set of subscriptions that changes.
//! - [`Subjects`] has the names of all subjects and buckets.

mod bucket;
mod bucket_event;
mod connection;
mod credentials;
mod event_stream;
mod feed;
mod jetstream;
mod leases;
mod status;
mod subjects;
mod watch;

pub use bucket::{Bucket, BucketKind, PutError};
pub use bucket_event::{BucketEntry, BucketEvent, StoredTime};
pub use connection::{ConnectError, Nats, NatsMessage, NatsSubscription};
pub use credentials::Credentials;
pub use event_stream::{EventStream, StreamEvents, StreamInfo};
pub use feed::NatsFeed;
pub use leases::{LeaseStore, stored_lease};
pub use status::{ConnectionStatus, NatsUse};
pub use subjects::{Subjects, name_of, token};
pub use watch::BucketWatch;
