//! The rule of blindness over random mixtures: hosts that answer, fail by an answer or fall silent, each at random
//! times and for random times, in simulated time. Detectors are replaced by a count of failures, as the prober's are.

use proptest::prelude::*;

use super::tests::at;
use super::*;

/// Failures in a row that make Down.
const FALL: u32 = 3;
/// Steps of 100 ms; every host is probed once in [`EVERY`] of them.
const STEPS: u32 = 120;
const EVERY: u32 = 10;

/// How a host behaves: until the step that is named the first, then the second.
#[derive(Debug, Clone, Copy)]
struct Host {
    region: usize,
    before: Mood,
    turns_at: u32,
    after: Mood,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// It answers, and fails.
    Fails,
    Silent,
    /// The kernel grants connections, the process answers nothing.
    Hangs,
    /// The same, until the accept queue is full: by the first probe.
    HangsFull,
}

impl Host {
    fn mood(&self, step: u32) -> Mood {
        if step < self.turns_at { self.before } else { self.after }
    }
}

/// A vantage that watches these hosts. `link` says in which steps its own link works.
struct Watch<'a> {
    hosts: &'a [Host],
    looks: Vec<Look>,
    failures: Vec<u32>,
    blindness: Blindness,
}

/// What was reported in one step.
struct Reported {
    silent: Vec<usize>,
    /// Hosts that went Down.
    fallen: Vec<usize>,
}

impl<'a> Watch<'a> {
    fn new(hosts: &'a [Host]) -> Watch<'a> {
        let look = |(host, of): (usize, &Host)| {
            let mut contact = Contact::default();
            contact.note(Found::Success, at(1));
            let up = Health::Up;
            Look { region: of.region, host, believed: up, judged: up, probed: Some(at(1)), contact }
        };
        let looks = hosts.iter().enumerate().map(look).collect();
        Watch { hosts, looks, failures: vec![0; hosts.len()], blindness: Blindness::default() }
    }

    fn probe(&mut self, nth: usize, step: u32, is_linked: bool) {
        let now = at(1000 + step * 100);
        let silence = |answered| Found::Silence { answered };
        let found = match self.hosts[nth].mood(step) {
            _ if !is_linked => silence(None),
            Mood::Well => Found::Success,
            Mood::Fails => Found::Answer,
            Mood::Silent => silence(None),
            Mood::Hangs => silence(Some(now)),
            Mood::HangsFull if self.failures[nth] == 0 => Found::Hang { answered: now },
            Mood::HangsFull => silence(None),
        };
        let look = &mut self.looks[nth];
        look.contact.note(found, now);
        look.probed = Some(now);
        self.failures[nth] = if found == Found::Success { 0 } else { self.failures[nth] + 1 };
        look.judged = match self.failures[nth] {
            0 => Health::Up,
            FALL.. => Health::Down,
            _ => look.judged,
        };
    }

    /// Probes whoever's turn it is, and whoever failed and is to be verified; then looks and reports.
    fn step(&mut self, step: u32, is_linked: bool) -> Reported {
        for nth in 0..self.hosts.len() {
            let is_verified = self.failures[nth] > 0 && self.looks[nth].judged == Health::Up;
            if nth as u32 % EVERY == step % EVERY || is_verified {
                self.probe(nth, step, is_linked);
            }
        }
        let now = at(1000 + step * 100);
        let mut sight = self.blindness.look(&self.looks, &[], now);
        let mut fallen = Vec::new();
        for _ in 0..2 {
            for (nth, look) in self.looks.iter_mut().enumerate() {
                if look.believed != look.judged && sight.lets_pass(look) {
                    if look.judged == Health::Down {
                        fallen.push(nth);
                    }
                    look.believed = look.judged;
                }
                if sight.reopened.contains(&look.region) && look.believed == Health::Up && self.failures[nth] > 0 {
                    (self.failures[nth], look.judged) = (0, Health::Up);
                    look.contact.begin_afresh();
                }
            }
            let due = std::mem::take(&mut sight.ask);
            if due.is_empty() {
                break;
            }
            for nth in due {
                self.probe(nth, step, is_linked);
            }
            sight = self.blindness.look(&self.looks, &[], now);
        }
        Reported { silent: sight.silent, fallen }
    }
}

fn mood() -> impl Strategy<Value = Mood> + Clone {
    prop_oneof![Just(Mood::Well), Just(Mood::Fails), Just(Mood::Silent), Just(Mood::Hangs)]
}

fn hosts(after: impl Strategy<Value = Mood> + Clone + 'static) -> impl Strategy<Value = Vec<Host>> {
    let host = (0usize..5, 0u32..60, after).prop_map(|(region, turns_at, after)| Host {
        region,
        before: Mood::Well,
        turns_at,
        after,
    });
    prop::collection::vec(host, 1..40)
}

/// The share of a fall's time that a look may add, in steps.
const LOOK_STEPS: u32 = 21;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// However many fail, by whatever answers and in whatever order: all of them go Down, and no sooner or later than
    /// each would alone.
    #[test]
    fn without_silence_nothing_is_held_back(
        hosts in hosts(prop_oneof![
            Just(Mood::Well), Just(Mood::Fails), Just(Mood::Hangs), Just(Mood::HangsFull)
        ]),
    ) {
        let mut watch = Watch::new(&hosts);
        for step in 0..STEPS {
            let Reported { silent, .. } = watch.step(step, true);
            prop_assert!(silent.is_empty() && watch.blindness.why().is_none());
            for look in &watch.looks {
                prop_assert_eq!(look.believed, look.judged, "at once");
            }
        }
        for (host, look) in hosts.iter().zip(&watch.looks) {
            prop_assert_eq!(look.believed == Health::Up, host.after == Mood::Well);
        }
    }

    /// A region is held back only while nothing comes from it; and what is not held back is reported within a look.
    #[test]
    fn only_silent_regions_are_held_back(hosts in hosts(mood())) {
        let mut watch = Watch::new(&hosts);
        let mut silent_since: BTreeMap<usize, u32> = BTreeMap::new();
        for step in 0..STEPS {
            let Reported { silent, .. } = watch.step(step, true);
            silent_since.retain(|region, _| silent.contains(region));
            for region in &silent {
                let since = at(1000 + *silent_since.entry(*region).or_insert(step) * 100);
                let last = watch.looks.iter().filter(|l| l.region == *region).filter_map(|l| l.contact.answered()).max();
                prop_assert!(last < Some(since), "region {} answered at {:?}", region, last);
            }
            for look in watch.looks.iter().filter(|look| look.is_lost() && look.contact.is_proven()) {
                prop_assert!(silent.contains(&look.region), "an answer waits: {:?}", look);
            }
        }
        // All is as it will be since step 60. Regions with a host that answers are as their hosts are.
        let counted: std::collections::BTreeSet<usize> = hosts.iter().map(|host| host.region).collect();
        let talks = |region: usize| hosts.iter().any(|h| h.region == region && h.after != Mood::Silent);
        let mute = counted.iter().filter(|region| !talks(**region)).count();
        for (host, look) in hosts.iter().zip(&watch.looks) {
            let is_down = look.believed == Health::Down;
            match host.after {
                Mood::Well => prop_assert!(!is_down),
                Mood::Fails | Mood::Hangs | Mood::HangsFull => prop_assert!(is_down, "{:?}", look),
                Mood::Silent if talks(host.region) || mute * 2 <= counted.len() || hosts.len() < 4 => {
                    prop_assert!(is_down, "{:?}", look);
                }
                Mood::Silent => {}
            }
        }
    }

    /// The own link is cut: nothing that was well goes Down, and all is as it was when the link is back.
    #[test]
    fn a_cut_link_withdraws_nothing(
        regions in 2usize..5, each in 2usize..6, cut_at in 10u32..40, lasts in 1u32..60,
    ) {
        let hosts: Vec<Host> = (0..regions * each)
            .map(|nth| Host { region: nth % regions, before: Mood::Well, turns_at: 0, after: Mood::Well })
            .collect();
        let mut watch = Watch::new(&hosts);
        for step in 0..STEPS {
            let is_linked = step < cut_at || step >= cut_at + lasts;
            let Reported { fallen, .. } = watch.step(step, is_linked);
            prop_assert!(fallen.is_empty(), "step {}: {:?}", step, fallen);
            if !is_linked && step > cut_at + EVERY + FALL + LOOK_STEPS {
                prop_assert!(watch.blindness.why().is_some(), "step {}", step);
            }
        }
        prop_assert!(watch.blindness.why().is_none());
    }

    /// The same while some fail for their own reasons: only those go Down, and what died behind the cut does
    /// afterwards.
    #[test]
    fn behind_a_cut_link_only_what_fails_by_itself_goes_down(
        moods in prop::collection::vec(mood(), 12), cut_at in 10u32..30, lasts in 20u32..50,
    ) {
        let host = |(nth, after): (usize, &Mood)| {
            Host { region: nth % 3, before: Mood::Well, turns_at: cut_at + 5, after: *after }
        };
        let hosts: Vec<Host> = moods.iter().enumerate().map(host).collect();
        let mut watch = Watch::new(&hosts);
        for step in 0..STEPS {
            let is_linked = step < cut_at || step >= cut_at + lasts;
            let Reported { fallen, .. } = watch.step(step, is_linked);
            prop_assert!(is_linked || fallen.is_empty(), "step {}: {:?}", step, fallen);
            prop_assert!(fallen.iter().all(|nth| hosts[*nth].after != Mood::Well), "step {}: {:?}", step, fallen);
        }
    }
}
