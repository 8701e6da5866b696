//! The metrics of the sinks of events.

use crate::sinks::{SinkReport, SinkState};
use crate::telemetry::families::{self as family, Family};
use crate::telemetry::text::Exposition;

/// A family, and its value in a report.
type SinkValue = (&'static Family, fn(&SinkReport) -> u64);

const VALUES: [SinkValue; 7] = [
    (&family::SINK_UP, |sink| u64::from(sink.state == SinkState::Ok)),
    (&family::SINK_WAITING, |sink| sink.behind),
    (&family::SINK_POSITION, |sink| sink.position),
    (&family::SINK_DELIVERED, |sink| sink.delivered),
    (&family::SINK_FAILURES, |sink| sink.failed),
    (&family::SINK_DEAD_LETTERS, |sink| sink.dead_letters),
    (&family::SINK_LOST, |sink| sink.lost),
];

/// Writes what is known of each sink.
pub(super) fn write(text: &mut Exposition, sinks: &[SinkReport]) {
    for (family, value) in VALUES {
        let mut samples = text.family(family);
        for sink in sinks {
            samples.sample(&[&sink.name], value(sink));
        }
    }
}
