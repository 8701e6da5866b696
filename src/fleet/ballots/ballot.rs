//! One vantage's observation of one check, in 48 octets.

use std::sync::Arc;
use std::time::Duration;

use crate::health::Observation;
use crate::model::{Doubt, Health, Hold, Moment};

/// What one vantage observed last of one check.
#[derive(Debug, Clone)]
pub(crate) struct Ballot {
    pub(crate) probed_at: Option<Moment>,
    pub(crate) why: Option<Arc<str>>,
    /// The smoothed RTT in microseconds, 1 at least; 0: none.
    rtt_micros: u32,
    /// The smoothed RTT of which the agreement knows.
    agreed_micros: u32,
    may_change_millis: u32,
    pub(crate) health: Health,
    pub(crate) tried: bool,
    pub(crate) hold: Option<Hold>,
    pub(crate) doubt: Doubt,
}

/// What another ballot changes of what is agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// At most the round-trip time of the vantage's region.
    Rtt,
    /// Perhaps the verdict, or its cause.
    Verdict,
}

/// A smoothed RTT that moved by less than this part of itself, or by less than [`LEAST_MOVE`], counts as the same.
/// Judgment: it moves with every probe; a difference of 1.6 % decides nothing that a user could notice, and each other
/// value makes all names that rank by it be decided again.
const SAME_PART: u32 = 64;
/// In microseconds. Judgment: less than the noise of the scheduler in a probe.
const LEAST_MOVE: u32 = 20;

impl From<&Observation> for Ballot {
    fn from(observation: &Observation) -> Ballot {
        let rtt_micros = observation.srtt.map_or(0, |rtt| saturated(rtt.as_micros()).max(1));
        Ballot {
            probed_at: observation.probed_at,
            why: observation.why.clone(),
            rtt_micros,
            agreed_micros: rtt_micros,
            may_change_millis: saturated(observation.may_change_in.as_millis()),
            health: observation.health,
            tried: observation.tried,
            hold: observation.hold,
            doubt: observation.doubt,
        }
    }
}

impl Ballot {
    /// The smoothed RTT.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        (self.rtt_micros > 0).then(|| Duration::from_micros(self.rtt_micros.into()))
    }

    /// The least time until the verdict can change.
    pub(crate) fn may_change_in(&self) -> Duration {
        Duration::from_millis(self.may_change_millis.into())
    }

    /// Takes over from `before`, the ballot in whose place it is put.
    pub(super) fn follow(&mut self, before: &Ballot) -> Effect {
        let (is_measured, was_measured) = (self.rtt_micros > 0, before.agreed_micros > 0);
        let least = (before.agreed_micros / SAME_PART).max(LEAST_MOVE);
        let has_moved = self.rtt_micros.abs_diff(before.agreed_micros) > least;
        if is_measured == was_measured && !has_moved {
            self.agreed_micros = before.agreed_micros;
        }
        // The reason of one that is up is evidence alone.
        let has_reason = self.health != Health::Up && self.why != before.why;
        // Fractions of a second affect no TTL.
        let seconds = |of: &Ballot| of.may_change_millis / 1000;
        let is_other = (self.health, self.tried) != (before.health, before.tried);
        if is_other || has_reason || seconds(self) != seconds(before) {
            return Effect::Verdict;
        }
        match self.agreed_micros == before.agreed_micros {
            true => Effect::None,
            false => Effect::Rtt,
        }
    }
}

fn saturated(number: u128) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ballot_is_small() {
        assert_eq!(size_of::<Option<Ballot>>(), 48, "a million of them are 48 MB");
    }
}
