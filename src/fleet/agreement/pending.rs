//! The checks that have to be counted again: after a verdict at once, after a round-trip time at their turn.

use std::time::Duration;

use crate::fleet::ballots::{Effect, Slot};
use crate::model::checks::CHUNK;
use crate::model::{CheckId, Cycle, Moment, RegionId};

/// The round-trip times of a check are counted again once in so long, while nothing else of it changes. Judgment: they
/// move with each report of each vantage, and each other time makes all names that rank by it be decided again. Ranking
/// has 10 s to follow a path, most of which it needs to be sure that the path is another one.
pub(super) const RTT_EVERY: Duration = Duration::from_millis(500);

/// What changed since the last view.
#[derive(Debug)]
pub(super) struct PendingChecks {
    /// By check: whether it is in `verdicts`.
    is_noted: Vec<bool>,
    verdicts: Vec<CheckId>,
    /// By region: a bit for each check whose round-trip time from there may be another, a word for each chunk of the
    /// table of checks.
    rtts: Vec<Vec<u64>>,
    cycle: Cycle,
}

const _: () = assert!(CHUNK == u64::BITS as usize, "a word has the bits of a chunk");

/// What to count again, each check in one of both lists.
pub(super) struct Recounts {
    /// In the order of the checks.
    pub(super) verdicts: Vec<CheckId>,
    /// Only the round-trip time of a region.
    pub(super) rtts: Vec<(CheckId, RegionId)>,
}

impl PendingChecks {
    /// All checks.
    pub(super) fn all(checks: usize) -> PendingChecks {
        let verdicts = (0..checks as u32).map(CheckId).collect();
        PendingChecks { is_noted: vec![true; checks], verdicts, rtts: Vec::new(), cycle: Cycle::of(RTT_EVERY) }
    }

    /// Notes what a ballot of a vantage of `region` changed. Slots without a check of the model are left out.
    pub(super) fn note(&mut self, slot: Slot, effect: Effect, region: Option<RegionId>) {
        let (at, checks) = (slot.index(), self.is_noted.len());
        match (effect, region, self.is_noted.get_mut(at)) {
            (Effect::None, _, _) | (_, _, None | Some(true)) => {}
            (Effect::Rtt, Some(region), Some(false)) => {
                let region = usize::from(region.0);
                if self.rtts.len() <= region {
                    self.rtts.resize(region + 1, Vec::new());
                }
                let words = &mut self.rtts[region];
                words.resize(checks.div_ceil(CHUNK), 0);
                words[at / CHUNK] |= 1 << (at % CHUNK);
            }
            (Effect::Rtt | Effect::Verdict, _, Some(is_noted)) => {
                *is_noted = true;
                self.verdicts.push(CheckId(at as u32));
            }
        }
    }

    /// Takes all verdicts, and the round-trip times whose turn has come at `now`.
    pub(super) fn take(&mut self, now: Moment) -> Recounts {
        let mut verdicts = std::mem::take(&mut self.verdicts);
        verdicts.sort_unstable();
        for check in &verdicts {
            let at = check.0 as usize;
            self.is_noted[at] = false;
            // A verdict is counted with all round-trip times.
            for word in self.rtts.iter_mut().filter_map(|words| words.get_mut(at / CHUNK)) {
                *word &= !(1 << (at % CHUNK));
            }
        }
        let (passed, mut rtts) = (self.cycle.advance(now), Vec::new());
        for chunk in (0..self.is_noted.len().div_ceil(CHUNK)).filter(|chunk| passed.has(*chunk)) {
            for (words, region) in self.rtts.iter_mut().zip(0..) {
                let mut word = words.get_mut(chunk).map(std::mem::take).unwrap_or_default();
                while word != 0 {
                    let check = chunk * CHUNK + word.trailing_zeros() as usize;
                    rtts.push((CheckId(check as u32), RegionId(region)));
                    word &= word - 1;
                }
            }
        }
        Recounts { verdicts, rtts }
    }
}
