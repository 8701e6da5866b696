//! The rule of blindness in random worlds, in simulated time: hosts that answer, fail by an answer or become silent, at
//! random times. A count of failures takes the place of the detectors.

use proptest::prelude::*;

use super::tests::at;
use super::*;
use crate::model::Health;

/// Failures in a row that make Down.
const FALL: u32 = 3;
/// Steps of 100 ms; every host is probed once in [`EVERY`] of them.
const STEPS: u32 = 120;
const EVERY: u32 = 10;

/// A host that behaves in one way until the step `turns_at`, and then in another.
#[derive(Debug, Clone, Copy)]
struct Host {
    region: usize,
    before: Behaviour,
    turns_at: u32,
    after: Behaviour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Healthy,
    /// It answers, but the check fails.
    Fails,
    Silent,
    /// The kernel grants connections, the process answers nothing.
    Hangs,
    /// The same, until its accept queue is full, which the first probe causes.
    HangsFull,
}

impl Host {
    fn behaviour(&self, step: u32) -> Behaviour {
        if step < self.turns_at { self.before } else { self.after }
    }
}

/// A vantage that probes these hosts.
struct Vantage<'a> {
    hosts: &'a [Host],
    checks: Vec<ExaminedCheck>,
    failures: Vec<u32>,
    blindness: Blindness,
}

/// The report of one step.
struct Reported {
    silent: Vec<usize>,
    /// The hosts that went Down.
    newly_down: Vec<usize>,
}

impl<'a> Vantage<'a> {
    fn new(hosts: &'a [Host]) -> Vantage<'a> {
        let check = |(host, of): (usize, &Host)| {
            let mut path = PathState::default();
            path.update(PathEvidence::Success, at(1));
            let up = Health::Up;
            ExaminedCheck { region: of.region, host, reported: up, judged: up, probed: Some(at(1)), path }
        };
        let checks = hosts.iter().enumerate().map(check).collect();
        Vantage { hosts, checks, failures: vec![0; hosts.len()], blindness: Blindness::default() }
    }

    fn probe(&mut self, nth: usize, step: u32, is_linked: bool) {
        let now = at(1000 + step * 100);
        let silence = |answered| PathEvidence::Silence { answered };
        let evidence = match self.hosts[nth].behaviour(step) {
            _ if !is_linked => silence(None),
            Behaviour::Healthy => PathEvidence::Success,
            Behaviour::Fails => PathEvidence::Answer,
            Behaviour::Silent => silence(None),
            Behaviour::Hangs => silence(Some(now)),
            Behaviour::HangsFull if self.failures[nth] == 0 => PathEvidence::Hang { answered: now },
            Behaviour::HangsFull => silence(None),
        };
        let check = &mut self.checks[nth];
        check.path.update(evidence, now);
        check.probed = Some(now);
        self.failures[nth] = if evidence == PathEvidence::Success { 0 } else { self.failures[nth] + 1 };
        check.judged = match self.failures[nth] {
            0 => Health::Up,
            FALL.. => Health::Down,
            _ => check.judged,
        };
    }

    /// Probes the hosts that are due and those whose failure is to be verified; then reports.
    fn step(&mut self, step: u32, is_linked: bool) -> Reported {
        for nth in 0..self.hosts.len() {
            let is_verified = self.failures[nth] > 0 && self.checks[nth].judged == Health::Up;
            if nth as u32 % EVERY == step % EVERY || is_verified {
                self.probe(nth, step, is_linked);
            }
        }
        let now = at(1000 + step * 100);
        let mut limits = self.blindness.examine(&self.checks, &[], now);
        let mut newly_down = Vec::new();
        for _ in 0..2 {
            for (nth, check) in self.checks.iter_mut().enumerate() {
                if check.reported != check.judged && limits.allow(check) {
                    if check.judged == Health::Down {
                        newly_down.push(nth);
                    }
                    check.reported = check.judged;
                }
                if limits.reopened.contains(&check.region) && check.reported == Health::Up && self.failures[nth] > 0 {
                    (self.failures[nth], check.judged) = (0, Health::Up);
                    check.path.forget_failures();
                }
            }
            let due = std::mem::take(&mut limits.probe_now);
            if due.is_empty() {
                break;
            }
            for nth in due {
                self.probe(nth, step, is_linked);
            }
            limits = self.blindness.examine(&self.checks, &[], now);
        }
        Reported { silent: limits.silent, newly_down }
    }
}

fn behaviour() -> impl Strategy<Value = Behaviour> + Clone {
    prop_oneof![Just(Behaviour::Healthy), Just(Behaviour::Fails), Just(Behaviour::Silent), Just(Behaviour::Hangs)]
}

fn hosts(after: impl Strategy<Value = Behaviour> + Clone + 'static) -> impl Strategy<Value = Vec<Host>> {
    let host = (0usize..5, 0u32..60, after).prop_map(|(region, turns_at, after)| Host {
        region,
        before: Behaviour::Healthy,
        turns_at,
        after,
    });
    prop::collection::vec(host, 1..40)
}

/// The most time that an examination adds, in steps.
const EXAMINATION_STEPS: u32 = 21;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any number of hosts fails, by any answers and in any order. All of them go Down, as early as each would alone.
    #[test]
    fn without_silence_no_verdict_waits(
        hosts in hosts(prop_oneof![
            Just(Behaviour::Healthy), Just(Behaviour::Fails), Just(Behaviour::Hangs), Just(Behaviour::HangsFull)
        ]),
    ) {
        let mut vantage = Vantage::new(&hosts);
        for step in 0..STEPS {
            let Reported { silent, .. } = vantage.step(step, true);
            prop_assert!(silent.is_empty() && vantage.blindness.why().is_none());
            for check in &vantage.checks {
                prop_assert_eq!(check.reported, check.judged, "at once");
            }
        }
        for (host, check) in hosts.iter().zip(&vantage.checks) {
            prop_assert_eq!(check.reported == Health::Up, host.after == Behaviour::Healthy);
        }
    }

    /// The verdicts of a region wait only while nothing comes from it. Others are reported within an examination.
    #[test]
    fn only_the_verdicts_of_silent_regions_wait(hosts in hosts(behaviour())) {
        let mut vantage = Vantage::new(&hosts);
        let mut silent_since: BTreeMap<usize, u32> = BTreeMap::new();
        for step in 0..STEPS {
            let Reported { silent, .. } = vantage.step(step, true);
            silent_since.retain(|region, _| silent.contains(region));
            for region in &silent {
                let since = at(1000 + *silent_since.entry(*region).or_insert(step) * 100);
                let of_region = vantage.checks.iter().filter(|check| check.region == *region);
                let last = of_region.filter_map(|check| check.path.last_answer()).max();
                prop_assert!(last < Some(since), "region {} answered at {:?}", region, last);
            }
            for check in vantage.checks.iter().filter(|check| check.is_newly_down() && check.path.is_proven()) {
                prop_assert!(silent.contains(&check.region), "an answer waits: {:?}", check);
            }
        }
        // Nothing changes after step 60. In a region with a host that answers, every verdict is reported.
        let counted: std::collections::BTreeSet<usize> = hosts.iter().map(|host| host.region).collect();
        let answers = |region: usize| hosts.iter().any(|h| h.region == region && h.after != Behaviour::Silent);
        let silent_regions = counted.iter().filter(|region| !answers(**region)).count();
        for (host, check) in hosts.iter().zip(&vantage.checks) {
            let is_down = check.reported == Health::Down;
            match host.after {
                Behaviour::Healthy => prop_assert!(!is_down),
                Behaviour::Fails | Behaviour::Hangs | Behaviour::HangsFull => prop_assert!(is_down, "{:?}", check),
                Behaviour::Silent if answers(host.region) || silent_regions * 2 <= counted.len() || hosts.len() < 4 => {
                    prop_assert!(is_down, "{:?}", check);
                }
                Behaviour::Silent => {}
            }
        }
    }

    /// The link of the vantage is cut. No healthy host goes Down, and everything is as before when the link is back.
    #[test]
    fn a_cut_link_withdraws_nothing(
        regions in 2usize..5, each in 2usize..6, cut_at in 10u32..40, lasts in 1u32..60,
    ) {
        let hosts: Vec<Host> = (0..regions * each)
            .map(|nth| nth % regions)
            .map(|region| Host { region, before: Behaviour::Healthy, turns_at: 0, after: Behaviour::Healthy })
            .collect();
        let mut vantage = Vantage::new(&hosts);
        for step in 0..STEPS {
            let is_linked = step < cut_at || step >= cut_at + lasts;
            let Reported { newly_down, .. } = vantage.step(step, is_linked);
            prop_assert!(newly_down.is_empty(), "step {}: {:?}", step, newly_down);
            if !is_linked && step > cut_at + EVERY + FALL + EXAMINATION_STEPS {
                prop_assert!(vantage.blindness.why().is_some(), "step {}", step);
            }
        }
        prop_assert!(vantage.blindness.why().is_none());
    }

    /// The same while some hosts fail for their own reasons. Only those go Down, after the link is back.
    #[test]
    fn behind_a_cut_link_only_what_fails_by_itself_goes_down(
        behaviours in prop::collection::vec(behaviour(), 12), cut_at in 10u32..30, lasts in 20u32..50,
    ) {
        let host = |(nth, after): (usize, &Behaviour)| {
            Host { region: nth % 3, before: Behaviour::Healthy, turns_at: cut_at + 5, after: *after }
        };
        let hosts: Vec<Host> = behaviours.iter().enumerate().map(host).collect();
        let mut vantage = Vantage::new(&hosts);
        for step in 0..STEPS {
            let is_linked = step < cut_at || step >= cut_at + lasts;
            let Reported { newly_down, .. } = vantage.step(step, is_linked);
            prop_assert!(is_linked || newly_down.is_empty(), "step {}: {:?}", step, newly_down);
            let is_healthy = |nth: &usize| hosts[*nth].after == Behaviour::Healthy;
            prop_assert!(!newly_down.iter().any(is_healthy), "step {}: {:?}", step, newly_down);
        }
    }
}
