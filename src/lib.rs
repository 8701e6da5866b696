//! # Portolan: an authoritative DNS server that steers clients
//!
//! A *portolan* was the sailor's chart of harbours and of the measured courses between them. This crate answers
//! DNS queries for delegated zones; which endpoint a name resolves to is decided from measured health, measured
//! round-trip times, weights and the client's region.
//!
//! ```text
//!  files ──> config ──> MODEL ─────────────┐                        queries
//!                         │                v                           │
//!  endpoints ─> health ─> fleet ─> WORLD VIEW ─> snapshot::compile ─> SNAPSHOT ──> answer() ──> replies
//!               (probe,   (reports,              (steering::decide   (ArcSwap,     ^    ^
//!               detector)  quorum)                per policy, class)  one writer)  udp  streams
//!                                                                       └──> explain, status, metrics (readers)
//! ```
//!
//! ## The way of a query
//!
//! 1. [`server::udp`] receives a batch of datagrams (one thread a core); [`server::streams`] reads a message off a connection.
//! 2. Both call [`answer::answer`], bytes in and bytes out, with the [`snapshot::Snapshot`] of this moment.
//! 3. [`wire::query`] parses the question, EDNS and client subnet without allocating.
//! 4. [`snapshot`] finds the zone and the name. A static name has prepared records. A steered name has a *cell* a
//!    client class: the [`steering::decision::Decision`] that was taken when the world last changed, with its records prepared.
//! 5. [`answer`] picks from the cell by chance, copies records through [`wire::reply`], and says what it did
//!    in an [`answer::Outcome`] that the server counts.
//!
//! Nothing is decided while a packet waits: [`steering::decide`] ran when the snapshot was compiled, and `explain`
//! prints the very decision that is being served.
//!
//! ## Modules, in import order
//!
//! A module may use only what stands before it; modules joined by "and" are neighbours and may use each other
//! from left to right. `tests/tidy/walls.rs` checks this.
//!
//! | modules | what |
//! |---|---|
//! | [`wire`] | names, questions and replies as bytes |
//! | [`model`] | what the files say, valid: values only |
//! | [`placing`] | a client's address to its class; pure |
//! | [`config`] | how files are read, from text to model |
//! | [`steering`] | policy, world view and client class to a decision; pure |
//! | [`health`] | probes, and the detector that judges them |
//! | [`fleet`] and [`snapshot`] | what the vantages agree on; what is being served |
//! | [`answer`] and [`server`] | one answering function, and the sockets over it |
//! | [`control`] and [`telemetry`] | HTTP, explain, simulate, overrides, status, metrics |
//! | [`daemon`], [`demo`], [`cli`] | wiring, the demo's scene, and the command line |
//!
//! Pure (no socket, clock, chance or metrics): `wire`, `model`, `placing`, `steering`, `health::{schedule, detector}`,
//! `fleet::{report, quorum}`, `snapshot::{mod, compile}`, `answer`.
//!
//! ## Invariants
//!
//! - Time and entropy are arguments; [`clock`] is the only reader of either.
//! - One writer publishes snapshots; readers never wait for it.
//! - `health` and `steering` don't know each other: they meet in [`model::view`].
//! - Nothing from the network panics, allocates without bound or blocks.

pub mod clock;

pub mod wire;

pub mod model;

pub mod placing;

pub mod config;

pub mod steering;

pub mod health;

pub mod fleet;
pub mod snapshot;

pub mod answer;
pub mod server;

pub mod control;
pub mod telemetry;

pub mod cli;
pub mod daemon;
pub mod demo;
