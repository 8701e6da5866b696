//! Measuring and judging. A probe measures, the detector judges, the prober runs them by the schedule and tells what
//! it believes as [`Observation`]s. It knows nothing of policies or answers.

pub mod observation;

pub use observation::Observation;
