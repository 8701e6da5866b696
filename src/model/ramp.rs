//! Warm return: how much of its weight an endpoint has after it came back from being down. It is cold then (caches,
//! connections, compiled code), and its full share at once may take it down again. Arithmetic of moments: `snapshot`
//! passes a recovery from view to view, `steering` uses it.

use std::time::Duration;

use crate::model::{Health, Moment};

/// Steps of a ramp, give or take one; its first share is a twentieth. Judgment, because: names are decided again at
/// each step, and finer steps have no effect, since resolvers cache an answer for longer.
const MOST_STEPS: u32 = 19;
/// No step is shorter: a TTL is in whole seconds.
const SHORTEST_STEP: Duration = Duration::from_secs(1);

/// Whether a check was down, as far as this process has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recovery {
    /// It wasn't down, or so long ago that no ramp needs it. The first verdict after a start is no recovery.
    #[default]
    None,
    /// It was down, and has not been up since.
    Awaited,
    /// It was down, and has been up since this moment. A time of Unknown does not end it.
    Since(Moment),
}

impl Recovery {
    /// The recovery after the verdict `health` at `now`.
    pub fn then(self, health: Health, now: Moment) -> Recovery {
        match (health, self) {
            (Health::Down, _) => Recovery::Awaited,
            (Health::Up, Recovery::Awaited) => Recovery::Since(now),
            (Health::Up | Health::Unknown, before) => before,
        }
    }

    /// The same; [`Recovery::None`] where every ramp of `longest` or shorter has ended at `now`.
    pub fn within(self, longest: Duration, now: Moment) -> Recovery {
        match self {
            Recovery::Since(_) if Growth::of(longest, self, now).is_none() => Recovery::None,
            Recovery::None | Recovery::Awaited | Recovery::Since(_) => self,
        }
    }
}

/// How far a ramp has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    /// The part of its weight that an endpoint has now; over 0, under 1.
    pub share: f64,
    /// When it grows next.
    pub next: Moment,
    /// When it has all of it.
    pub full: Moment,
}

impl Growth {
    /// The growth at `now` of an endpoint with this `ramp` and recovery; `None` where it has its full weight. It grows
    /// evenly from a twentieth, or from more where steps of a second are too few for that.
    ///
    /// Steps are not counted from the recovery: they are at the same moments for all ramps of this length. The
    /// endpoints of a region come back one after another, and a name that has many of them is decided once a step, not
    /// once for each.
    pub fn of(ramp: Duration, recovery: Recovery, now: Moment) -> Option<Growth> {
        let Recovery::Since(since) = recovery else { return None };
        let full = since + ramp;
        if full <= now {
            return None;
        }
        let steps = (ramp.as_nanos() / SHORTEST_STEP.as_nanos()).clamp(1, MOST_STEPS.into()) as u32;
        let step = (ramp / steps).as_nanos().max(1);
        let taken = now.from_first().as_nanos() / step;
        let moment =
            |nth: u128| Moment::from_start(Duration::from_nanos(u64::try_from(nth * step).unwrap_or(u64::MAX)));
        let gone = moment(taken).since(since).as_secs_f64() / ramp.as_secs_f64();
        let share = (1.0 + f64::from(steps) * gone) / f64::from(steps + 1);
        Some(Growth { share, next: moment(taken + 1).min(full), full })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn only_what_was_down_recovers() {
        use Health::{Down, Unknown, Up};
        let check = |sentence: &str, verdicts: &[Health], expected: Recovery| {
            let then =
                |(before, second): (Recovery, u64), health: &Health| (before.then(*health, at(second)), second + 1);
            assert_eq!(verdicts.iter().fold((Recovery::None, 0), then).0, expected, "{sentence}");
        };
        check("the first verdict is none", &[Unknown, Unknown, Up, Up], Recovery::None);
        check("down", &[Up, Down], Recovery::Awaited);
        check("and up", &[Up, Down, Down, Up, Up], Recovery::Since(at(3)));
        check("down at the start", &[Down, Up], Recovery::Since(at(1)));
        check("by way of unknown", &[Down, Unknown, Up], Recovery::Since(at(2)));
        check("unknown for a while", &[Down, Up, Unknown, Up], Recovery::Since(at(1)));
        check("again", &[Down, Up, Down, Up], Recovery::Since(at(3)));
    }

    #[test]
    fn a_ramp_grows_in_even_steps() {
        const SINCE: u64 = 1_000_000;
        let check = |sentence: &str, ramp: u64, after: u64, expected: Option<(f64, u64)>| {
            let growth = Growth::of(Duration::from_secs(ramp), Recovery::Since(at(SINCE)), at(SINCE + after));
            assert_eq!(
                growth.map(|growth| (growth.share, growth.next)),
                expected.map(|(s, n)| (s, at(SINCE + n))),
                "{sentence}"
            );
            assert!(growth.is_none_or(|growth| growth.full == at(SINCE + 1000 * ramp)), "{sentence}");
        };
        check("a twentieth first", 190, 0, Some((0.05, 10_000)));
        check("until the first step", 190, 9_999, Some((0.05, 10_000)));
        check("the first step", 190, 10_000, Some((0.1, 20_000)));
        check("half of it", 190, 90_500, Some((0.5, 100_000)));
        check("the last", 190, 189_999, Some((0.95, 190_000)));
        check("all", 190, 190_000, None);
        check("no step is shorter than a second", 3, 0, Some((0.25, 1_000)));
        check("none", 0, 0, None);
        assert_eq!(Growth::of(Duration::from_millis(300), Recovery::Since(at(0)), at(299)).map(|g| g.share), Some(0.5));
        assert_eq!(Growth::of(Duration::from_secs(60), Recovery::Awaited, at(0)), None);
    }

    #[test]
    fn ramps_of_one_length_take_their_steps_together() {
        let of = |since: u64, now: u64| Growth::of(Duration::from_secs(190), Recovery::Since(at(since)), at(now));
        let next = |since, now| of(since, now).map(|growth| growth.next);
        assert_eq!(next(12_300, 12_300), Some(at(20_000)));
        assert_eq!(next(14_900, 14_900), Some(at(20_000)));
        let shares = [12_300, 14_900].map(|since| of(since, 20_000).map_or(1.0, |growth| growth.share));
        assert!(shares[0] > shares[1] && shares[1] > 0.05 && shares[0] < 0.1, "{shares:?}");
        assert_eq!(next(12_300, 200_000), Some(at(202_300)), "but each ends after its own time");
    }

    #[test]
    fn a_recovery_that_no_ramp_needs_is_forgotten() {
        let since = Recovery::Since(at(0));
        assert_eq!(since.within(Duration::from_secs(10), at(9_999)), since);
        assert_eq!(since.within(Duration::from_secs(10), at(10_000)), Recovery::None);
        assert_eq!(Recovery::Awaited.within(Duration::ZERO, at(10_000)), Recovery::Awaited);
    }

    proptest! {
        #[test]
        fn every_ramp_grows_and_ends(ramp in 1_u64..3_600_000, after in 0_u64..4_000_000) {
            let of = |now| Growth::of(Duration::from_millis(ramp), Recovery::Since(at(5)), now);
            let now = at(5 + after);
            let Some(growth) = of(now) else {
                prop_assert!(after >= ramp);
                return Ok(());
            };
            prop_assert!(growth.share >= 0.05 && growth.share < 1.0 && growth.next > now && growth.next <= growth.full);
            let just_before = growth.next - Duration::from_nanos(1);
            prop_assert_eq!(of(just_before.max(now)), Some(growth), "nothing changes before the next step");
            prop_assert!(of(growth.next).is_none_or(|next| next.share > growth.share));
        }
    }
}
