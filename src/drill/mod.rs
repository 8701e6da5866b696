//! Drills: a rehearsed outage. The server counts the probes of some endpoints as silence, so that detection, agreement,
//! steering and publishing do what they do in an outage, and ends that by itself. A client measures from outside how
//! long stale answers are given. Pure: values and functions of time; `daemon::drill` runs a drill in the server,
//! `cli::drill` is its client.
//!
//! - [`DrillPlan`] is what will be lost, who goes where, and which questions the client repeats.
//! - [`DrillRun`] decides in the server when the drill ends.
//! - [`Watch`] is what the client measures at one server.
//! - [`DrillReport`] is the result, as JSON, as text and as a page to print.

mod html;
mod human;
mod kind;
mod loss;
mod plan;
mod report;
mod run;
mod status;
mod verdict;
mod watch;

pub use html::html;
pub use human::{human, planned};
pub use kind::DrillKind;
pub use loss::LostSet;
pub use plan::{DrillPlan, DrillQuestion, LostEndpoint, MAX_QUESTIONS, ShareMove};
pub use report::{DrillReport, DrilledServer, QuestionReport};
pub use run::{DrillEnd, DrillObservation, DrillRun, RENEW_WITHIN, RESTORE_WITHIN};
pub use status::DrillStatus;
pub use verdict::{DEFAULT_RTO, DrillMeasurements, report};
pub use watch::{Answer, Watch, WatchedAnswers};
