//! What the checks of a zone cost together. A file of a megabyte could ask for millions of checks (each endpoint has
//! several addresses, and each address several monitors), so the sum is bounded and not only the file.

use crate::model::{MAX_ZONE_CHECKS, Monitor};
use crate::source::{At, ManualSection, Problems};
use crate::wire::Name;

/// Most octets of texts of all checks of a zone, the texts of a monitor counted once for each check that has it. The
/// checks share the texts in memory, but each probe sends them, and in a fleet each check is identified by a digest of
/// them. Judgment: a second or two of a core to digest them all, and ten times what 100,000 checks with a kilobyte of
/// headers have.
const MAX_TEXTS: usize = 1 << 30;

/// The checks of one zone that are not also of a zone before. It counts up to the first check that is too much, and no
/// further: later ones may be equal to those that were not added, so that their number is unknown.
#[derive(Debug, Default)]
pub(super) struct CheckCosts {
    checks: usize,
    octets: usize,
}

impl CheckCosts {
    /// Counts one check more. `false`: it is too much, and the check must not be added.
    pub(super) fn add(&mut self, monitor: &Monitor) -> bool {
        if self.are_bounded() {
            self.checks += 1;
            self.octets = self.octets.saturating_add(monitor.text_octets());
        }
        self.are_bounded()
    }

    fn are_bounded(&self) -> bool {
        self.checks <= MAX_ZONE_CHECKS && self.octets <= MAX_TEXTS
    }

    /// An error if it is too much. Its numbers are never greater than those of all checks of the zone.
    pub(super) fn check(&self, zone: &At<Name>, problems: &mut Problems) {
        let (apex, checks) = (&zone.value, self.checks);
        if checks > MAX_ZONE_CHECKS {
            let message = format!("the endpoints of {apex} need at least {checks} checks, more than {MAX_ZONE_CHECKS}");
            let problem = problems.error(&zone.place, message).see(ManualSection::Monitor);
            problem.hint("each monitor of an endpoint is a check of each of its addresses: use fewer monitors");
        } else if self.octets > MAX_TEXTS {
            let (octets, most) = (self.octets >> 20, MAX_TEXTS >> 20);
            let message = format!(
                "the first {checks} checks of {apex} alone send {octets} MiB of headers, arguments and other texts, \
                 and {most} MiB is the most for all of them"
            );
            let problem = problems.error(&zone.place, message).see(ManualSection::Monitor);
            problem.hint("shorten the texts of the monitors that many endpoints use");
        }
    }
}
