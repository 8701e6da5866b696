//! Whether what fails is the world or this vantage. Pure: it is shown what the last probe of each check found, and says
//! whether a verdict of Down may go out. The prober asks it before each report and does what it says.
//!
//! ```text
//!           a check that was Up is judged Down             most of the world fails (and most control targets)
//!   ┌────────┐ ──────────────────────────▶ ┌─────────┐ ──────────────────────────────────────▶ ┌───────┐
//!   │ Seeing │                             │ Looking │                                         │ Blind │
//!   └────────┘ ◀────────────────────────── └─────────┘                                         └───────┘
//!        ▲        others answer: it goes out                                                       │
//!        └─────────────────────────────────────────────────────────────────────────────────────────┘
//!            most regions answer again, or most control targets do: every check begins afresh
//! ```
//!
//! *Looking* takes no time where enough others were heard of since that check's first failure; else it asks a few of
//! each region for a probe at once, so that it lasts a round trip, and no longer than [`MAX_LOOK`]. Hosts are counted,
//! not checks: a hundred services of one host that dies are one failure.

use std::time::Duration;

use crate::model::{Health, Moment};

/// Others of each region whose word decides where not all of them were heard of (judgment: three of five are a majority
/// that chance loss of packets does not make).
pub const WITNESSES: usize = 5;
/// Fewer regions than this are no world: that one of them fails whole is what failover is for.
const LEAST_REGIONS: usize = 2;
/// Fewer hosts than this are no world: two pairs that die for two reasons must not pass for blindness.
const LEAST_HOSTS: usize = 4;
/// After this those that were asked and have not answered count as failing (judgment: four default time-outs).
pub const MAX_LOOK: Duration = Duration::from_secs(2);

/// What is known of one check.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Its region, from 0.
    pub region: usize,
    /// Its host, from 0: checks of one host fail together.
    pub host: usize,
    /// What the last report said of it.
    pub believed: Health,
    /// What its detector says.
    pub judged: Health,
    /// When its last probe ended.
    pub heard: Option<Moment>,
    /// When the first of the failures ended that nothing has interrupted since; `None` when the last probe succeeded.
    pub failing_since: Option<Moment>,
}

/// What is known of one control target.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    /// When the last attempt to reach it ended.
    pub heard: Option<Moment>,
    /// Whether it failed.
    pub is_failing: bool,
}

/// What the report may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// Whatever the detectors say.
    Clear,
    /// That too, but of the checks that were Up only those may go Down whose failures began by then; the others are being
    /// looked into.
    Looking {
        /// The last failure that has been looked into, if any.
        settled: Option<Moment>,
        /// Checks that should be probed at once, by their place.
        ask: Vec<usize>,
        /// Whether the control targets should be.
        ask_controls: bool,
    },
    /// What it said before.
    Blind,
    /// What it said before, and every detector begins afresh from there.
    Thawed,
}

/// Tells the world's trouble from this vantage's own.
#[derive(Debug, Default)]
pub struct Blindness {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Seeing,
    Looking(Looking),
    Blind(Blind),
}

#[derive(Debug, Clone, Copy)]
struct Looking {
    /// The failures that began by then are looked into.
    since: Moment,
    until: Moment,
}

#[derive(Debug)]
struct Blind {
    since: Moment,
    why: String,
}

impl Blindness {
    /// Why it is blind, in words; `None` while it sees.
    pub fn why(&self) -> Option<&str> {
        match &self.state {
            State::Seeing | State::Looking(_) => None,
            State::Blind(blind) => Some(&blind.why),
        }
    }

    /// Whether some verdict waits to be looked into.
    pub fn is_looking(&self) -> bool {
        matches!(self.state, State::Looking(_))
    }

    /// When to ask again though nothing was heard; `None` when only news can change what was said.
    pub fn deadline(&self) -> Option<Moment> {
        match &self.state {
            State::Seeing | State::Blind(_) => None,
            State::Looking(looking) => Some(looking.until),
        }
    }

    /// What may be reported at `now`.
    pub fn look(&mut self, looks: &[Look], controls: &[Control], now: Moment) -> Sight {
        if let State::Blind(blind) = &self.state {
            if !sees_again(looks, controls, blind.since) {
                return Sight::Blind;
            }
            self.state = State::Seeing;
            return Sight::Thawed;
        }
        let mut settled = None;
        // Twice at most: a look that is opened takes in all that is waiting.
        while let Some(looking) = self.looking_into(looks, settled, now) {
            match Tally::of(looks, controls, looking.since).finding(now >= looking.until) {
                Finding::Sees => {
                    settled = Some(looking.since);
                    self.state = State::Seeing;
                }
                Finding::Blind(why) => {
                    self.state = State::Blind(Blind { since: now, why });
                    return Sight::Blind;
                }
                Finding::Unsure { ask, ask_controls } => {
                    self.state = State::Looking(looking);
                    return Sight::Looking { settled, ask, ask_controls };
                }
            }
        }
        self.state = State::Seeing;
        Sight::Clear
    }

    /// What is looked into: as before while one of those verdicts still waits, else all that wait.
    fn looking_into(&self, looks: &[Look], settled: Option<Moment>, now: Moment) -> Option<Looking> {
        let waiting = || looks.iter().filter(|look| look.is_lost()).filter_map(|look| look.failing_since);
        if let State::Looking(looking) = self.state
            && waiting().any(|since| since <= looking.since)
        {
            return Some(looking);
        }
        let since = waiting().filter(|since| settled.is_none_or(|settled| *since > settled)).max()?;
        Some(Looking { since, until: now + MAX_LOOK })
    }
}

impl Look {
    /// Whether it was Up in the last report and is judged Down.
    fn is_lost(&self) -> bool {
        self.believed == Health::Up && self.judged == Health::Down
    }
}

/// Whether most regions answer again, or most of the control targets.
fn sees_again(looks: &[Look], controls: &[Control], since: Moment) -> bool {
    let tally = Tally::of(looks, controls, since);
    let answering = tally.regions.iter().filter(|region| region.well * 2 >= region.hosts()).count();
    let is_world_back = answering * 2 >= tally.regions.len();
    is_world_back || (!controls.is_empty() && tally.controls.well * 2 > controls.len())
}

/// What a look comes to.
enum Finding {
    Sees,
    Blind(String),
    Unsure { ask: Vec<usize>, ask_controls: bool },
}

/// Hosts whose checks were Up, counted by what was heard of them since some moment.
struct Tally {
    /// Regions that have any.
    regions: Vec<Region>,
    controls: Region,
}

/// One region's hosts.
#[derive(Default)]
struct Region {
    /// Judged Down, with failures that began by then.
    lost: usize,
    /// Their last probe failed.
    failing: usize,
    /// It succeeded.
    well: usize,
    /// Not heard of since: a check of each.
    unheard: Vec<usize>,
}

/// What was heard of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Lost,
    Failing,
    Well,
    Unheard(usize),
}

impl Word {
    /// What two checks of one host say of it: it is well if one of them is; and one that is lost and one that was not
    /// heard of leave it open.
    fn joined(self, other: Word) -> Word {
        match (self.min(other), self.max(other)) {
            (Word::Well, _) | (_, Word::Well) => Word::Well,
            (Word::Lost, Word::Unheard(at)) => Word::Unheard(at),
            (first, _) => first,
        }
    }
}

impl Tally {
    fn of(looks: &[Look], controls: &[Control], since: Moment) -> Tally {
        let mut words: Vec<((usize, usize), Word)> = looks
            .iter()
            .enumerate()
            .filter(|(_, look)| look.believed == Health::Up)
            .map(|(at, look)| ((look.region, look.host), look.word(at, since)))
            .collect();
        words.sort_unstable();
        let mut regions: Vec<(usize, Region)> = Vec::new();
        for of_host in words.chunk_by(|(one, _), (other, _)| one == other) {
            let ((region, _), first) = of_host[0];
            let word = of_host.iter().fold(first, |joined, (_, word)| joined.joined(*word));
            match regions.last_mut() {
                Some((last, tally)) if *last == region => tally.add(word),
                _ => {
                    let mut tally = Region::default();
                    tally.add(word);
                    regions.push((region, tally));
                }
            }
        }
        let mut targets = Region::default();
        for (at, control) in controls.iter().enumerate() {
            targets.add(match (control.heard.is_some_and(|heard| heard >= since), control.is_failing) {
                (false, _) => Word::Unheard(at),
                (true, true) => Word::Failing,
                (true, false) => Word::Well,
            });
        }
        Tally { regions: regions.into_iter().map(|(_, region)| region).collect(), controls: targets }
    }

    /// `is_late`: those that were not heard of count as failing.
    fn finding(&self, is_late: bool) -> Finding {
        let has_controls = self.controls.hosts() > 0;
        let hosts: usize = self.regions.iter().map(Region::hosts).sum();
        if !has_controls && (self.regions.len() < LEAST_REGIONS || hosts < LEAST_HOSTS) {
            return Finding::Sees;
        }
        let at_worst = self.regions.iter().filter(|region| region.fails(true)).count();
        let at_best = self.regions.iter().filter(|region| region.fails(is_late)).count();
        let is_most = |count: usize| count * 2 > self.regions.len();
        let controls_fail = |failing: usize| !has_controls || failing * 2 > self.controls.hosts();
        let of_controls = self.controls.failing + self.controls.unheard.len();
        if !is_most(at_worst) || !controls_fail(of_controls) {
            return Finding::Sees;
        }
        if is_most(at_best) && controls_fail(if is_late { of_controls } else { self.controls.failing }) {
            return Finding::Blind(self.why(at_best, hosts));
        }
        let ask = self.regions.iter().flat_map(|region| region.unheard.iter().take(region.wanted()).copied());
        Finding::Unsure { ask: ask.collect(), ask_controls: !self.controls.unheard.is_empty() }
    }

    fn why(&self, regions: usize, hosts: usize) -> String {
        let of = self.regions.len();
        let world = format!("most endpoints of {regions} of {of} regions ({hosts} hosts were up) failed at once");
        match self.controls.hosts() {
            0 => world,
            all => format!("{world}, and {} of {all} control targets", all - self.controls.well),
        }
    }
}

impl Region {
    fn add(&mut self, word: Word) {
        match word {
            Word::Lost => self.lost += 1,
            Word::Failing => self.failing += 1,
            Word::Well => self.well += 1,
            Word::Unheard(at) => self.unheard.push(at),
        }
    }

    fn hosts(&self) -> usize {
        self.lost + self.failing + self.well + self.unheard.len()
    }

    /// How many more must be heard of, so that those of whom there was word stand for the rest.
    fn wanted(&self) -> usize {
        let others = self.hosts() - self.lost;
        WITNESSES.min(others).saturating_sub(self.failing + self.well)
    }

    /// Whether over a half fail: those that are lost, and of the others the share that those have of whom there was
    /// word; those that are still wanted are taken to fail, or to be well.
    fn fails(&self, wanted_fail: bool) -> bool {
        let wanted = self.wanted();
        let failing = self.failing + if wanted_fail { wanted } else { 0 };
        let heard = (self.failing + self.well + wanted).max(1);
        let others = self.hosts() - self.lost;
        // lost + others * failing / heard > hosts / 2, in whole numbers.
        2 * (self.lost * heard + others * failing) > self.hosts() * heard
    }
}

impl Look {
    fn word(&self, at: usize, since: Moment) -> Word {
        if self.is_lost() && self.failing_since.is_some_and(|first| first <= since) {
            return Word::Lost;
        }
        match (self.heard.is_some_and(|heard| heard >= since), self.failing_since) {
            (false, _) => Word::Unheard(at),
            (true, Some(_)) => Word::Failing,
            (true, None) => Word::Well,
        }
    }
}

#[cfg(test)]
mod tests;
