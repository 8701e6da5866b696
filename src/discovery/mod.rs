//! Endpoints that declare themselves. A *source* (`[discover.NAME]` of a policy) lists instances of a service; its
//! *driver* follows the source and sends [`Update`]s. The pure core makes of them the set of endpoints that a model can
//! have: [`set`] has the instances of a source, [`endpoints`] makes endpoints of them, [`leaving`] has those that are
//! not listed any more and stay until others are up, [`tracked`] has all of this for one source, and [`stated`] has
//! what all sources state at one moment. `daemon::discovery` runs the drivers and passes the sets to the steering task.
//!
//! A driver is `async fn run(spec, updates: UpdateSender, stop: CancellationToken)`. It returns only after `stop`. It
//! never judges what it reads: instances are passed on as texts ([`Instance`]), with at most `max` of them
//! ([`InstanceList`]). Whatever the source does, it bounds its memory, backs off after failures (with jitter from
//! `clock`), and reports them by [`Update::Away`] with what to do.

pub mod consul;
pub mod dns;
pub mod endpoints;
pub mod etcd;
pub mod http;
pub(crate) mod http_client;
pub mod instance;
pub mod kubernetes;
pub mod leaving;
pub mod set;
pub mod stated;
#[cfg(test)]
pub(crate) mod test_driver;
#[cfg(test)]
pub(crate) mod test_server;
pub mod tracked;
pub mod update;

pub use instance::{Instance, InstanceList, RefusedInstances, StatedHealth};
pub use leaving::{Leaving, Served};
pub use set::{Applied, SourceSet, SourceState};
pub use stated::{SourceKey, SourceStating, Stating};
pub use tracked::{Restated, TrackedSource};
pub use update::{InstanceChanges, Trouble, TroubleState, Update, UpdateReceiver, UpdateSender, updates};

#[cfg(test)]
mod leaving_tests;
#[cfg(test)]
mod tests;
