//! The regions as they look since some moment: which answer, which are silent, and who should be probed to know. Pure.

use std::collections::BTreeMap;

use crate::health::blindness::{Control, Look, WITNESSES};
use crate::model::{Health, Moment};

/// Fewer regions than this are no world: that one of them fails whole is what failover is for.
const LEAST_REGIONS: usize = 2;
/// Fewer hosts than this are no world: two pairs that die for two reasons must not pass for blindness.
const LEAST_HOSTS: usize = 4;

/// What a look comes to.
pub(super) enum Finding {
    /// What waits may be reported.
    Sees,
    /// These regions are silent, and that is most of the world.
    Blind { silent: Vec<usize>, why: String },
    /// These checks, by their place, should be probed to know.
    Unsure { ask: Vec<usize>, ask_controls: bool },
}

/// The hosts of each region, counted by what came from them since some moment.
pub(super) struct Tally {
    /// Regions with a host that counts.
    regions: BTreeMap<usize, Region>,
    /// Hosts that were Up.
    hosts: usize,
    controls: Controls,
}

#[derive(Default)]
struct Region {
    /// It was found silent before.
    is_silent: bool,
    /// Something came from one of its hosts.
    is_answering: bool,
    /// A check of each host from which nothing came and whose failures are not what is looked into, in the plan's
    /// order; `None` where it is known to be silent.
    others: Vec<Option<usize>>,
}

#[derive(Default)]
struct Controls {
    answering: usize,
    silent: usize,
    unknown: usize,
}

/// What is known of a check since some moment. Of the checks of one host the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// It doesn't count: it was Down without an answer before, or there is only the exit code of a program.
    Nothing,
    /// Its silence is what is looked into.
    Lost,
    Silent,
    /// Not probed since; its place.
    Unknown(usize),
    Answering,
}

impl Tally {
    /// `silent`: the regions that were found silent before.
    pub(super) fn of(looks: &[Look], controls: &[Control], since: Moment, silent: &BTreeMap<usize, Moment>) -> Tally {
        let mut checks: Vec<((usize, usize), State, bool)> = looks
            .iter()
            .enumerate()
            .map(|(at, look)| ((look.region, look.host), look.state(at, since), look.believed == Health::Up))
            .collect();
        checks.sort_unstable();
        let mut tally = Tally { regions: BTreeMap::new(), hosts: 0, controls: Controls::of(controls, since) };
        for of_host in checks.chunk_by(|(one, ..), (other, ..)| one == other) {
            tally.hosts += usize::from(of_host.iter().any(|(_, _, was_up)| *was_up));
            let state = of_host.iter().map(|(_, state, _)| *state).max().unwrap_or(State::Nothing);
            if state != State::Nothing {
                tally.regions.entry(of_host[0].0.0).or_default().add(state);
            }
        }
        for region in silent.keys() {
            tally.regions.entry(*region).or_default().is_silent = true;
        }
        tally
    }

    /// Whether so many regions are more than half of those that count.
    pub(super) fn is_most(&self, regions: usize) -> bool {
        regions * 2 > self.regions.len()
    }

    /// Whether most control targets answered; there may be none.
    pub(super) fn is_answered_by_controls(&self) -> bool {
        self.controls.answering * 2 > self.controls.count()
    }

    /// `is_late`: those of which nothing is known count as silent.
    pub(super) fn finding(&self, is_late: bool) -> Finding {
        let has_controls = self.controls.count() > 0;
        if !has_controls && (self.regions.len() < LEAST_REGIONS || self.hosts < LEAST_HOSTS) {
            return Finding::Sees;
        }
        let silent: Vec<usize> =
            self.regions.iter().filter(|(_, region)| region.may_be_silent()).map(|(at, _)| *at).collect();
        if !self.is_most(silent.len()) || (has_controls && !self.controls.may_fail()) {
            return Finding::Sees;
        }
        let ask: Vec<usize> = self.regions.values().flat_map(Region::to_ask).collect();
        let is_unsure = self.controls.unknown > 0 || self.regions.values().any(Region::is_unsure);
        match is_unsure && !is_late {
            true => Finding::Unsure { ask, ask_controls: self.controls.unknown > 0 },
            false => Finding::Blind { why: self.why(silent.len()), silent },
        }
    }

    fn why(&self, silent: usize) -> String {
        let (of, hosts) = (self.regions.len(), self.hosts);
        let world =
            format!("nothing answers from {silent} of {of} regions ({hosts} hosts were up), they failed at once");
        match self.controls.count() {
            0 => world,
            all => format!("{world}, and {} of {all} control targets", all - self.controls.answering),
        }
    }
}

impl Region {
    fn add(&mut self, state: State) {
        match state {
            State::Nothing | State::Lost => {}
            State::Silent => self.others.push(None),
            State::Unknown(at) => self.others.push(Some(at)),
            State::Answering => self.is_answering = true,
        }
    }

    fn may_be_silent(&self) -> bool {
        self.is_silent || !self.is_answering
    }

    fn is_unsure(&self) -> bool {
        !self.is_silent && !self.is_answering && self.others.iter().any(Option::is_some)
    }

    /// Witnesses that were not probed yet. They are chosen evenly from all hosts, as neighbours in the files fail
    /// together.
    fn to_ask(&self) -> Vec<usize> {
        if !self.is_unsure() {
            return Vec::new();
        }
        let (hosts, wanted) = (self.others.len(), self.others.len().min(WITNESSES));
        (0..wanted).filter_map(|nth| self.others[nth * hosts / wanted]).collect()
    }
}

impl Controls {
    fn of(controls: &[Control], since: Moment) -> Controls {
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

    fn count(&self) -> usize {
        self.answering + self.silent + self.unknown
    }

    /// Whether it may be that most of them fail.
    fn may_fail(&self) -> bool {
        (self.silent + self.unknown) * 2 > self.count()
    }
}

impl Look {
    fn state(&self, at: usize, since: Moment) -> State {
        let was_up = self.believed == Health::Up;
        let is_probed = self.probed.is_some_and(|probed| probed >= since);
        match self.contact.unanswered_since() {
            _ if self.contact.has_answered_since(since) => State::Answering,
            // What was Down and answered can tell as well as what was Up.
            None if was_up || self.contact.answered().is_some() => State::Unknown(at),
            None => State::Nothing,
            // Long silence is nobody's news, and the exit code of a program proves nothing.
            Some(_) if !was_up || !self.contact.is_silent() => State::Nothing,
            Some(first) if self.is_lost() && first <= since => State::Lost,
            Some(_) if is_probed => State::Silent,
            Some(_) => State::Unknown(at),
        }
    }
}
