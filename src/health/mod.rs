//! Measures and judges the endpoints. A probe measures, a detector judges, and the prober runs both by the schedule and
//! publishes [`Observation`]s. This module does not know policies or answers.

pub mod blindness;
pub mod damping;
pub mod detector;
pub mod heartbeat;
pub mod heartbeats;
pub mod held;
pub mod injection;
pub mod observation;
pub mod pace;
mod path_mean;
pub mod phi;
pub mod probe;
pub mod prober;
pub mod rtt;
pub mod schedule;
#[cfg(test)]
mod test_simulation;

pub use blindness::{Blindness, ExaminedCheck, ExaminedControl, PathEvidence, PathState, ReportLimits};
pub use damping::{Damping, Flaps};
pub use detector::{Detector, DetectorEvent, DetectorState, VerdictChange};
pub use heartbeat::{Heartbeat, HeartbeatState, Sign};
pub use heartbeats::{Beat, BeatSender, Heartbeats, TooManyBeats};
pub use injection::{Injection, OnRealFailure};
pub use observation::{CheckState, Observation, RetainedCheck};
pub use pace::{NextStep, Pace};
pub use phi::Phi;
pub use probe::{Failure, Measurement, ProbeClients, SourceAddresses, check_rights, programs_ended, reap_orphans};
pub use prober::{Plan, Prober, ProberHandle, ProberSettings, Round, control_check};
pub use rtt::Rtt;
pub use schedule::{Schedule, SlotId};
