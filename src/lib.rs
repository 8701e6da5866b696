//! # Portolan: an authoritative DNS server that steers clients
//!
//! A *portolan* was the sailor's chart of harbours and of the measured courses between them. This crate answers
//! DNS queries for delegated zones; which endpoint a name resolves to is decided from measured health, measured
//! round-trip times, weights and the client's region.
//!
//! ```text
//!  files ──> masterfile, config ──> MODEL ─┐                        queries
//!                         │                v                           │
//!  endpoints ─> health ─> fleet ─> WORLD VIEW ─> snapshot::compile ─> SNAPSHOT ──> answer() ──> replies
//!               (probe,   (reports,              (steering::decide   (ArcSwap,     ^    ^
//!               detector)  quorum)                per policy, class)  one writer)  udp  streams
//!                                                                       └──> explain, status, metrics (readers)
//! ```
//!
//! ## The way of a query
//!
//! 1. [`server::udp`] receives a batch of datagrams (one thread for each core). [`server::streams`] reads messages from
//!    connections.
//! 2. Both call [`answer::answer`], bytes in and bytes out, with the [`snapshot::Snapshot`] of this moment.
//! 3. [`wire::query`] parses the question, EDNS and client subnet without allocating.
//! 4. [`snapshot::names`] finds the zone and the name. A static name has prepared records. A steered name has a *cell*
//!    ([`snapshot::cell`]) for each client class: the latest [`steering::decision::Decision`], with prepared records.
//! 5. [`answer`] draws from the cell at random, copies records through [`wire::reply`], and returns an
//!    [`answer::Outcome`] that the server counts.
//! 6. Over UDP, the rate limit of [`server`] may withhold the reply, or replace it by a truncated one.
//!
//! No decision is made while a packet waits: [`steering::decide`] ran when the snapshot was compiled. `explain` prints
//! the decision that is being served. `CONTRIBUTING.md` follows a measurement, a line of a file and an override in the
//! same way, and has the words that the code uses.
//!
//! ## Modules, in import order
//!
//! A module may use only the modules above it in the table. A module may also use those to its left in its own row.
//! `tests/tidy/walls.rs` checks this.
//!
//! | modules | what |
//! |---|---|
//! | [`printable`] | text from strangers with escapes, for every printer; pure |
//! | [`wire`] | names, questions and replies as bytes |
//! | [`model`] | the content of the files, valid: values only |
//! | [`repeats`] | which notices that repeat are reported, and which are summed up; pure |
//! | [`report_board`] | the reports of tasks that run side by side; pure |
//! | `rate` | how often something may happen; pure |
//! | `timer` | waits that may have no end |
//! | [`placing`] | finds the class of a client by its address; pure |
//! | [`source`] | the files of the user as texts, places in them, and the problems that readers find |
//! | [`masterfile`] | reads master files, from text to RRsets |
//! | [`config`] | reads settings and policy files, and makes the model of all files |
//! | [`steering`] | makes a decision from a policy, the world view and a client class; pure |
//! | [`health`] | probes, and the detector that turns measurements into health |
//! | [`fleet`] | the agreement of the vantages |
//! | [`discovery`] | endpoints that declare themselves: sources that are followed, and the sets that they list |
//! | `kafka` | topics of Kafka, in a build with that feature |
//! | [`snapshot`] | what is being served |
//! | [`answer`] | one answering function |
//! | [`admission`] | who gets a connection, and how many octets may wait for a peer |
//! | [`server`] | the sockets of DNS |
//! | [`drill`] | rehearsed outages: plan, measurement and report; pure |
//! | [`sinks`] | sends events to other systems |
//! | [`control`] and [`telemetry`] | HTTP, explain, simulate, overrides, status, metrics |
//! | [`daemon`], [`demo`] | the wiring, and the demo |
//! | [`external_dns`] | the webhook provider of external-dns, a process of its own that writes policy files |
//! | [`cli`] | the command line |
//!
//! Pure (no socket, clock, entropy or metrics): `printable`, `wire`, `model`, `repeats`, `report_board`, `rate`,
//! `placing`, `steering`, `answer`, `drill`, and the files of `health`, `fleet`, `discovery`, `snapshot` and `sinks`
//! that `PURE` of `tests/tidy/walls.rs` lists.
//!
//! ## Threads
//!
//! Each kind of work has threads of its own, so that no kind waits for another: answering, steering, probing, control,
//! and what takes long and nobody waits for, such as compiling a reload. `src/daemon/runtimes.rs` has the table of
//! them, with their priorities.
//!
//! ## Invariants
//!
//! - Time and entropy are arguments; [`clock`] is the only reader of either.
//! - One writer publishes snapshots; readers never wait for it.
//! - `health` and `steering` don't use each other: both use [`model::view`].
//! - No input from the network causes a panic, an allocation without bound, or blocking.
//! - Nothing that one client does holds up another: [`admission`] has the rules.

pub mod clock;

pub mod printable;

pub mod wire;

pub mod model;

pub mod repeats;

pub mod report_board;

mod rate;

mod timer;

pub mod placing;

pub mod source;

pub mod masterfile;

pub mod config;

pub mod steering;

pub mod health;

pub mod fleet;

pub mod discovery;

#[cfg(feature = "kafka")]
pub mod kafka;

pub mod snapshot;

pub mod admission;
pub mod answer;
pub mod server;

pub mod drill;

pub mod sinks;

pub mod control;
pub mod telemetry;

pub mod cli;
pub mod daemon;
pub mod demo;
pub mod external_dns;
