//! Connections to NATS: the only files that name the NATS library. Nothing here decides anything: messages and values
//! go in and come out as octets, and `daemon` connects them with the pure parts of this module.
//!
//! - [`NatsLink`] is a connection. It connects in the background and retries for ever.
//! - [`Nats`] is that of a fleet. Without it a node goes on alone.
//! - [`NatsLink::store`] publishes into a stream that somebody else has made, and [`FollowedStream`] reads one.
//! - [`Bucket`] is a table of keys with revisions, which JetStream replicates: [`Bucket::put`] writes a key, where
//!   wanted only over a revision that the writer knows (compare and set), and [`Bucket::watch`] follows all keys.
//! - [`LeaseStore`] is the bucket of the leases of exclusive names.
//! - [`EventStream`] is the stream of the numbered events of all servers.
//! - [`NatsFeed`] is a set of subscriptions that changes.
//! - [`Subjects`] has the names of all subjects and buckets.

mod bucket;
mod bucket_event;
mod connection;
mod copies;
mod credentials;
mod event_stream;
mod feed;
mod followed_stream;
mod jetstream;
mod leader;
mod leases;
mod link;
mod status;
mod stored;
mod subjects;
mod watch;

pub use bucket::{Bucket, BucketKind, PutError};
pub use bucket_event::{BucketEntry, BucketEvent, StoredTime};
pub use connection::Nats;
pub use credentials::Credentials;
pub use event_stream::{EventStream, StreamEvents, StreamInfo};
pub use feed::NatsFeed;
pub use followed_stream::{FollowedStream, StoredMessage, StoredMessages};
pub use leases::{LeaseStore, stored_lease};
pub use link::{ConnectError, LinkSettings, NatsLink, NatsMessage, NatsSubscription};
pub use status::{ConnectionStatus, NatsUse};
pub use stored::{OutgoingMessage, Unstored};
pub use subjects::{Subjects, name_of, own_inbox, token};
pub use watch::BucketWatch;
