//! Measuring and judging. A probe measures, the detector judges, the prober runs them by the schedule and tells what
//! it believes as [`Observation`]s. It knows nothing of policies or answers.

pub mod blindness;
pub mod damping;
pub mod detector;
pub mod heartbeat;
pub mod heartbeats;
pub mod held;
pub mod observation;
pub mod pace;
pub mod phi;
pub mod probe;
pub mod prober;
pub mod rtt;
pub mod schedule;
#[cfg(test)]
mod test_simulation;

pub use blindness::{Blindness, Contact, Control, Found, Look, Sight};
pub use damping::{Damping, Flaps};
pub use detector::{Detector, DetectorState, Event, Transition};
pub use heartbeat::{Heartbeat, HeartbeatState, Sign};
pub use heartbeats::{Beat, Beats, Busy, Heartbeats};
pub use observation::{CheckState, Observation};
pub use pace::{NextStep, Pace};
pub use phi::Phi;
pub use probe::{Failure, Measurement, ProbeClients, SourceAddresses, check_rights, reap_orphans};
pub use prober::{Plan, Prober, ProberHandle, ProberSettings, RetainedCheck, Round, control_check};
pub use rtt::Rtt;
pub use schedule::{Schedule, SlotId};
