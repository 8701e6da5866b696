//! The metrics of the streams that are followed.

use crate::control::follow::{FollowReport, FollowState};
use crate::telemetry::families::{self as family, Family};
use crate::telemetry::text::Exposition;

/// A family, and its value in a report.
type FollowValue = (&'static Family, fn(&FollowReport) -> u64);

const VALUES: [FollowValue; 7] = [
    (&family::FOLLOW_UP, |follow| u64::from(follow.state == FollowState::Ok)),
    (&family::FOLLOW_BEHIND, |follow| follow.behind),
    (&family::FOLLOW_POSITION, |follow| follow.position),
    (&family::FOLLOW_APPLIED, |follow| follow.applied),
    (&family::FOLLOW_IGNORED, |follow| follow.ignored),
    (&family::FOLLOW_REFUSED, |follow| follow.refused),
    (&family::FOLLOW_MISSED, |follow| follow.missed),
];

/// Writes what is known of each stream.
pub(super) fn write(text: &mut Exposition, follows: &[FollowReport]) {
    for (family, value) in VALUES {
        let mut samples = text.family(family);
        for follow in follows {
            samples.sample(&[&follow.name], value(follow));
        }
    }
}
