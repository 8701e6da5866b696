//! The checks that have to be counted again.

use crate::fleet::ballots::{Effect, Slot};
use crate::model::{CheckId, RegionId};

/// What changed since the last view.
#[derive(Debug)]
pub(super) struct PendingChecks {
    /// By check: whether it is in `verdicts`.
    is_noted: Vec<bool>,
    verdicts: Vec<CheckId>,
    rtts: Vec<(CheckId, RegionId)>,
}

/// What to count again, each check in one of both lists.
pub(super) struct Recounts {
    pub(super) verdicts: Vec<CheckId>,
    /// Only the round-trip time of a region.
    pub(super) rtts: Vec<(CheckId, RegionId)>,
}

impl PendingChecks {
    /// All checks.
    pub(super) fn all(checks: usize) -> PendingChecks {
        let verdicts = (0..checks as u32).map(CheckId).collect();
        PendingChecks { is_noted: vec![true; checks], verdicts, rtts: Vec::new() }
    }

    /// Notes what a ballot of a vantage of `region` changed. Slots without a check of the model are left out.
    pub(super) fn note(&mut self, slot: Slot, effect: Effect, region: Option<RegionId>) {
        let (check, most) = (CheckId(slot.index() as u32), self.is_noted.len());
        match (effect, region, self.is_noted.get_mut(slot.index())) {
            (Effect::None, _, _) | (_, _, None | Some(true)) => {}
            // If nobody reads for long, the lists are no longer than the checks.
            (Effect::Rtt, Some(region), Some(false)) if self.rtts.len() < most => {
                self.rtts.push((check, region));
            }
            (Effect::Rtt | Effect::Verdict, _, Some(is_noted)) => {
                *is_noted = true;
                self.verdicts.push(check);
            }
        }
    }

    /// Takes all. Verdicts are in the order of the checks.
    pub(super) fn take(&mut self) -> Recounts {
        let (mut verdicts, mut rtts) = (std::mem::take(&mut self.verdicts), std::mem::take(&mut self.rtts));
        rtts.retain(|(check, _)| !self.is_noted[check.0 as usize]);
        rtts.sort_unstable();
        rtts.dedup();
        verdicts.iter().for_each(|check| self.is_noted[check.0 as usize] = false);
        verdicts.sort_unstable();
        Recounts { verdicts, rtts }
    }
}
