//! The act of choosing. Pure: a policy, a world view and a client class in, a [`Decision`] out. It never probes,
//! never picks (chance belongs to the packet path) and knows nothing of packets. `snapshot::compile` calls it.

pub mod decision;

pub use decision::{Decision, Distribution, Given, Reason, Share, Stage, Tier};
