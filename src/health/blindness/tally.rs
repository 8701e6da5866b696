//! Counts the regions by what came from them since some moment: which answer, which are silent, and which checks should
//! be probed to find out. Pure.

use std::collections::BTreeMap;

use crate::health::blindness::view::{ExaminedCheck, ExaminedControl};
use crate::model::{Health, Moment};

/// The hosts of each region that are probed at once during an examination. Judgment: chance loss of packets does not
/// silence five hosts at a time.
pub const WITNESSES: usize = 5;
/// The least number of regions. With fewer, the failure of a whole region is what failover is for.
const LEAST_REGIONS: usize = 2;
/// The least number of hosts. Two pairs that fail for two reasons must not count as blindness.
const LEAST_HOSTS: usize = 4;

/// The result of a tally.
pub(super) enum Conclusion {
    /// The vantage is not blind. The verdicts that wait may be reported.
    Sees,
    /// These regions are silent, and they are most of the world.
    Blind { silent: Vec<usize>, why: String },
    /// These checks, by their positions, should be probed to find out.
    Unsure { probe_now: Vec<usize>, probe_controls: bool },
}

/// The hosts of each region, counted by what came from them since some moment.
pub(super) struct RegionTally {
    /// The regions with a host that counts.
    regions: BTreeMap<usize, Region>,
    /// The number of hosts that were Up.
    hosts: usize,
    controls: Controls,
}

#[derive(Default)]
struct Region {
    /// Whether it was found silent before.
    was_silent: bool,
    /// Whether something came from one of its hosts.
    is_answering: bool,
    /// Its other hosts, from which nothing came, in the order of the plan: the position of a check that was not probed
    /// since, or `None` if the host is known to be silent. A host whose silence is examined is not among them.
    others: Vec<Option<usize>>,
}

#[derive(Default)]
struct Controls {
    answering: usize,
    silent: usize,
    unknown: usize,
}

/// What is known about a check since some moment. Among the checks of one host the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CheckEvidence {
    /// It doesn't count: it was Down before without an answer, or there is only the exit code of a program.
    Ignored,
    /// Its silence is examined.
    Examined,
    /// It was probed and did not answer.
    Silent,
    /// It was not probed since. Its position.
    Unknown(usize),
    /// It answered.
    Answering,
}

impl RegionTally {
    /// Counts what came since `since`. `silent`: the regions that were found silent before.
    pub(super) fn count(
        checks: &[ExaminedCheck],
        controls: &[ExaminedControl],
        since: Moment,
        silent: &BTreeMap<usize, Moment>,
    ) -> RegionTally {
        let mut states: Vec<((usize, usize), CheckEvidence, bool)> = checks
            .iter()
            .enumerate()
            .map(|(at, check)| ((check.region, check.host), state_of(check, at, since), check.reported == Health::Up))
            .collect();
        states.sort_unstable();
        let mut tally = RegionTally { regions: BTreeMap::new(), hosts: 0, controls: Controls::count(controls, since) };
        for of_host in states.chunk_by(|(one, ..), (other, ..)| one == other) {
            tally.hosts += usize::from(of_host.iter().any(|(_, _, was_up)| *was_up));
            let state = of_host.iter().map(|(_, state, _)| *state).max().unwrap_or(CheckEvidence::Ignored);
            if state != CheckEvidence::Ignored {
                tally.regions.entry(of_host[0].0.0).or_default().add(state);
            }
        }
        for region in silent.keys() {
            tally.regions.entry(*region).or_default().was_silent = true;
        }
        tally
    }

    /// Whether this number of regions is more than half of those that count.
    pub(super) fn is_most(&self, regions: usize) -> bool {
        regions * 2 > self.regions.len()
    }

    /// Whether most control targets answered. False without control targets.
    pub(super) fn do_most_controls_answer(&self) -> bool {
        self.controls.answering * 2 > self.controls.total()
    }

    /// Decides. After the end of an examination (`is_over`), hosts about which nothing is known count as silent.
    pub(super) fn conclude(&self, is_over: bool) -> Conclusion {
        let has_controls = self.controls.total() > 0;
        if !has_controls && (self.regions.len() < LEAST_REGIONS || self.hosts < LEAST_HOSTS) {
            return Conclusion::Sees;
        }
        let silent: Vec<usize> =
            self.regions.iter().filter(|(_, region)| region.may_be_silent()).map(|(at, _)| *at).collect();
        if !self.is_most(silent.len()) || (has_controls && !self.controls.may_most_fail()) {
            return Conclusion::Sees;
        }
        let is_unsure = self.controls.unknown > 0 || self.regions.values().any(Region::is_unsure);
        match is_unsure && !is_over {
            true => Conclusion::Unsure {
                probe_now: self.regions.values().flat_map(Region::witnesses_to_probe).collect(),
                probe_controls: self.controls.unknown > 0,
            },
            false => Conclusion::Blind { why: self.why(silent.len()), silent },
        }
    }

    fn why(&self, silent: usize) -> String {
        let (of, hosts) = (self.regions.len(), self.hosts);
        let world =
            format!("nothing answers from {silent} of {of} regions ({hosts} hosts were up), they failed at once");
        match self.controls.total() {
            0 => world,
            all => format!("{world}, and {} of {all} control targets", all - self.controls.answering),
        }
    }
}

impl Region {
    fn add(&mut self, state: CheckEvidence) {
        match state {
            CheckEvidence::Ignored | CheckEvidence::Examined => {}
            CheckEvidence::Silent => self.others.push(None),
            CheckEvidence::Unknown(at) => self.others.push(Some(at)),
            CheckEvidence::Answering => self.is_answering = true,
        }
    }

    fn may_be_silent(&self) -> bool {
        self.was_silent || !self.is_answering
    }

    fn is_unsure(&self) -> bool {
        !self.was_silent && !self.is_answering && self.others.iter().any(Option::is_some)
    }

    /// The witnesses that were not probed yet. They are chosen evenly among all hosts, because hosts that are
    /// neighbours in the files often fail together.
    fn witnesses_to_probe(&self) -> Vec<usize> {
        if !self.is_unsure() {
            return Vec::new();
        }
        let (hosts, wanted) = (self.others.len(), self.others.len().min(WITNESSES));
        (0..wanted).filter_map(|nth| self.others[nth * hosts / wanted]).collect()
    }
}

impl Controls {
    fn count(controls: &[ExaminedControl], since: Moment) -> Controls {
        let mut all = Controls::default();
        for control in controls {
            let is_since = |at: Option<Moment>| at.is_some_and(|at| at >= since);
            match (is_since(control.answered), is_since(control.probed)) {
                (true, _) => all.answering += 1,
                (false, true) => all.silent += 1,
                (false, false) => all.unknown += 1,
            }
        }
        all
    }

    fn total(&self) -> usize {
        self.answering + self.silent + self.unknown
    }

    /// Whether most of them fail, or may turn out to fail.
    fn may_most_fail(&self) -> bool {
        (self.silent + self.unknown) * 2 > self.total()
    }
}

/// The state of the check at position `at`.
fn state_of(check: &ExaminedCheck, at: usize, since: Moment) -> CheckEvidence {
    let was_up = check.reported == Health::Up;
    let is_probed = check.probed.is_some_and(|probed| probed >= since);
    match check.path.unanswered_since() {
        _ if check.path.has_answered_since(since) => CheckEvidence::Answering,
        // A check that was Down and answered shows as much as one that was Up.
        None if was_up || check.path.last_answer().is_some() => CheckEvidence::Unknown(at),
        None => CheckEvidence::Ignored,
        // Old silence is nothing new, and the exit code of a program proves nothing.
        Some(_) if !was_up || !check.path.is_silent() => CheckEvidence::Ignored,
        Some(first) if check.is_newly_down() && first <= since => CheckEvidence::Examined,
        Some(_) if is_probed => CheckEvidence::Silent,
        Some(_) => CheckEvidence::Unknown(at),
    }
}
