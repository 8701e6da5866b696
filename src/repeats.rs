//! Which of notices that repeat are reported at once, and which are counted and summed up later: for logs and events of
//! what may change all the time. Pure.
//!
//! A *subject* has a value that changes. Each value is reported at once when it is new within a window of time; a value
//! that was reported already is counted. When the window ends, what was counted is one summary, and the next window is
//! twice as long. A window in which nothing repeats is the last one: then everything is new again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Moment;

/// How long the first window is. Judgment: who looks at a change finds its summary a minute later.
pub const SHORTEST_WINDOW: Duration = Duration::from_secs(60);
/// The longest window. Judgment: four lines an hour for as long as something repeats.
pub const LONGEST_WINDOW: Duration = Duration::from_secs(900);

/// The notices of one place. See the module.
#[derive(Debug, Clone)]
pub struct Repeats<S, V> {
    /// How often one value of a subject is reported at once within a window.
    at_once: u32,
    /// Most subjects that are known at a time.
    most: usize,
    window: Option<Window<S, V>>,
}

#[derive(Debug, Clone)]
struct Window<S, V> {
    begun: Moment,
    length: Duration,
    subjects: BTreeMap<S, Noted<V>>,
    /// Notices of subjects beyond the most.
    others: u64,
}

#[derive(Debug, Clone)]
struct Noted<V> {
    /// How often each value was reported.
    reported: Vec<(V, u32)>,
    /// The last one that was reported.
    last: V,
    /// The value now.
    now: V,
    /// How many notices were counted in this window.
    counted: u64,
}

/// What was counted within a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatSummary<S, V> {
    /// How long the window was.
    pub within: Duration,
    /// The subjects whose values repeated, in their order.
    pub subjects: Vec<RepeatedSubject<S, V>>,
    /// How many notices there were of subjects that are not listed.
    pub others: u64,
}

/// One subject whose values repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatedSubject<S, V> {
    /// The subject.
    pub subject: S,
    /// How many notices were counted.
    pub count: u64,
    /// The value that was reported last, before this summary.
    pub reported: V,
    /// The value now.
    pub now: V,
}

impl<S, V> RepeatSummary<S, V> {
    /// How many notices were counted.
    pub fn count(&self) -> u64 {
        self.subjects.iter().map(|of| of.count).sum::<u64>() + self.others
    }
}

impl<S: Ord + Clone, V: PartialEq + Clone> Repeats<S, V> {
    /// Nothing was noted yet. `at_once`: how often one value is reported at once within a window, at least 1. `most`:
    /// of so many subjects, those of further ones are only counted.
    pub fn new(at_once: u32, most: usize) -> Repeats<S, V> {
        Repeats { at_once, most, window: None }
    }

    /// A subject has this value now. Returns whether to report that at once; if not, it is counted.
    pub fn note(&mut self, subject: S, value: V, now: Moment) -> bool {
        // A window that is over and has nothing to sum up is none.
        self.window = self.window.take().filter(|window| !window.is_over(now) || window.has_counted());
        let window = self.window.get_or_insert_with(|| Window {
            begun: now,
            length: SHORTEST_WINDOW,
            subjects: BTreeMap::new(),
            others: 0,
        });
        if !window.subjects.contains_key(&subject) && window.subjects.len() >= self.most {
            window.others += 1;
            return false;
        }
        let new = || Noted { reported: Vec::new(), last: value.clone(), now: value.clone(), counted: 0 };
        let noted = window.subjects.entry(subject).or_insert_with(new);
        noted.now = value.clone();
        let is_reported = match noted.reported.iter_mut().find(|(known, _)| *known == value) {
            Some((_, times)) if *times >= self.at_once => false,
            Some((_, times)) => {
                *times += 1;
                true
            }
            None => {
                noted.reported.push((value.clone(), 1));
                true
            }
        };
        match is_reported {
            true => noted.last = value,
            false => noted.counted += 1,
        }
        is_reported
    }

    /// When to call [`Repeats::sum_up`]; `None`: nothing was noted.
    pub fn next(&self) -> Option<Moment> {
        self.window.as_ref().map(|window| window.begun + window.length)
    }

    /// What was counted, if a window is over and something was.
    pub fn sum_up(&mut self, now: Moment) -> Option<RepeatSummary<S, V>> {
        let window = self.window.as_mut().filter(|window| window.is_over(now))?;
        if !window.has_counted() {
            self.window = None;
            return None;
        }
        let within = window.length;
        let others = std::mem::take(&mut window.others);
        // What did not repeat is new when it comes again.
        window.subjects.retain(|_, noted| noted.counted > 0);
        let repeated = window.subjects.iter_mut().map(|(subject, noted)| {
            let count = std::mem::take(&mut noted.counted);
            let reported = std::mem::replace(&mut noted.last, noted.now.clone());
            RepeatedSubject { subject: subject.clone(), count, reported, now: noted.now.clone() }
        });
        let subjects = repeated.collect();
        (window.begun, window.length) = (now, (window.length * 2).min(LONGEST_WINDOW));
        Some(RepeatSummary { within, subjects, others })
    }
}

impl<S, V> Window<S, V> {
    fn is_over(&self, now: Moment) -> bool {
        now >= self.begun + self.length
    }

    fn has_counted(&self) -> bool {
        self.others > 0 || self.subjects.values().any(|noted| noted.counted > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn each_value_is_reported_once_and_what_repeats_is_summed_up() {
        let mut repeats = Repeats::new(1, 10);
        assert_eq!((repeats.next(), repeats.sum_up(at(9))), (None, None));
        let noted: Vec<bool> =
            (0..40).map(|n| repeats.note("web", if n % 2 == 0 { "away" } else { "ok" }, at(10 + n))).collect();
        assert_eq!(noted.iter().filter(|is_reported| **is_reported).count(), 2);
        assert_eq!(noted[..2], [true, true], "the first ones");
        assert!(!repeats.note("web", "away", at(60)));
        assert!(repeats.note("web", "kept", at(61)), "a value that is new is reported in any case");
        assert!(!repeats.note("web", "away", at(62)));
        assert_eq!((repeats.next(), repeats.sum_up(at(69))), (Some(at(70)), None));
        let web = RepeatedSubject { subject: "web", count: 40, reported: "kept", now: "away" };
        let within = Duration::from_secs(60);
        assert_eq!(repeats.sum_up(at(70)), Some(RepeatSummary { within, subjects: vec![web], others: 0 }));
        assert!(!repeats.note("web", "ok", at(80)), "it has not ended");
        assert_eq!((repeats.next(), repeats.sum_up(at(189))), (Some(at(190)), None), "twice as long");
        assert_eq!(repeats.sum_up(at(190)).map(|sum| sum.count()), Some(1));
        assert_eq!((repeats.next(), repeats.sum_up(at(430))), (Some(at(430)), None), "nothing repeated");
        assert_eq!(repeats.next(), None);
        assert!(repeats.note("web", "ok", at(431)));
    }

    #[test]
    fn windows_grow_to_the_longest_and_a_summary_that_was_not_taken_stays() {
        let mut repeats = Repeats::new(1, 10);
        let mut now = at(0);
        repeats.note("a", (), now);
        for _ in 0..10 {
            assert!(!repeats.note("a", (), now));
            now = repeats.next().unwrap();
            assert!(!repeats.note("a", (), now + Duration::from_secs(1)), "the summary comes first");
            assert_eq!(repeats.sum_up(now + Duration::from_secs(1)).map(|sum| sum.count()), Some(2));
            now = now + Duration::from_secs(1);
        }
        assert_eq!(repeats.next().map(|next| next.since(now)), Some(LONGEST_WINDOW));
    }

    #[test]
    fn some_may_be_reported_several_times_and_subjects_beyond_the_most_are_counted() {
        let mut repeats = Repeats::new(3, 2);
        let noted: Vec<bool> = (0..5).map(|n| repeats.note("letter", (), at(n))).collect();
        assert_eq!(noted, [true, true, true, false, false]);
        assert!(repeats.note("b", (), at(6)) && !repeats.note("c", (), at(7)) && !repeats.note("d", (), at(8)));
        let sum = repeats.sum_up(at(60)).unwrap();
        assert_eq!((sum.count(), sum.others, sum.subjects.len()), (4, 2, 1));
        assert!(repeats.note("b", (), at(61)), "it did not repeat");
    }
}
