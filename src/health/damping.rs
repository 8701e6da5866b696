//! Flap damping, as BGP damps a route that comes and goes (RFC 2439): each fall from Up to Down adds to a penalty that
//! decays by half in every half-life. A check whose penalty passes [`HOLD_ABOVE`] is *held down*: its verdict is Down,
//! whatever its probes say, until the penalty has decayed below [`RELEASE_BELOW`]. Falls count while it is held too, so
//! one that goes on flapping stays out. One fall alone never reaches that, however long the outage. Pure; the detector
//! owns one.

use std::time::Duration;

use crate::model::{Moment, Monitor};

/// Falls, decayed, beyond which a check is held down. Judgment: the second fall within some 18 intervals is flapping
/// already, as is one every 70 intervals for long; an outage, and another one a minute later, is not.
pub const HOLD_ABOVE: f64 = 1.8;
/// It is let go below this: half of the former, as the figures that routers come with (RFC 7196, 3) have it about.
pub const RELEASE_BELOW: f64 = 0.9;
/// The penalty grows no further, so that nothing is held for more than three half-lives after its last fall: with the
/// default interval three minutes.
pub const CEILING: f64 = 7.2;
/// The penalty halves in this many intervals, [`MIN_HALF_LIFE`] at least and [`MAX_HALF_LIFE`] at most. A check that is
/// probed rarely flaps slowly.
pub const HALF_LIFE_INTERVALS: u32 = 60;
/// Half-life of the penalty at least: what flaps is a service, and that takes no less for being probed often.
pub const MIN_HALF_LIFE: Duration = Duration::from_secs(30);
/// Half-life at most: that of BGP (RFC 2439, 4.2, its example).
pub const MAX_HALF_LIFE: Duration = Duration::from_secs(15 * 60);
/// A release is looked at so much after its time, as rounding must not bring it before.
const RELEASE_MARGIN: Duration = Duration::from_millis(1);
/// Beats of a heartbeat monitor come so many times in its ttl, as the manual asks for: that far apart they stand for
/// probes.
const BEATS_PER_TTL: u32 = 3;
/// Falls are counted for people until this little of the penalty is left.
const FORGOTTEN: f64 = 0.2;

/// The penalty of one check.
#[derive(Debug, Clone)]
pub struct Damping {
    /// `None`: nothing is damped.
    half_life: Option<Duration>,
    /// As it was at `at`; it has decayed since.
    penalty: f64,
    at: Moment,
    falls: u32,
    is_held: bool,
}

/// How a check has flapped, as a plain value that outlives its detector.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Flaps {
    /// The penalty, 0 to [`CEILING`].
    pub penalty: f64,
    /// Falls that it was got by.
    pub falls: u32,
    /// Whether it is held down for them.
    pub is_held: bool,
}

impl Damping {
    /// One that goes on from what was at `at`.
    pub fn restore(monitor: &Monitor, flaps: &Flaps, at: Moment) -> Damping {
        let fresh = Damping::new(monitor);
        let penalty = if flaps.penalty.is_finite() { flaps.penalty.clamp(0.0, CEILING) } else { 0.0 };
        let is_held = flaps.is_held && fresh.half_life.is_some();
        Damping { penalty, at, falls: flaps.falls, is_held, ..fresh }
    }

    /// What it has come to at `now`.
    pub fn flaps(&self, now: Moment) -> Flaps {
        Flaps { penalty: self.penalty_at(now), falls: self.falls, is_held: self.is_held }
    }

    /// Without a penalty.
    pub fn new(monitor: &Monitor) -> Damping {
        Damping { half_life: half_life(monitor), penalty: 0.0, at: Moment::START, falls: 0, is_held: false }
    }

    /// The same falls, judged by another monitor.
    pub fn judged_by(&self, monitor: &Monitor) -> Damping {
        let half_life = half_life(monitor);
        Damping { half_life, is_held: self.is_held && half_life.is_some(), ..self.clone() }
    }

    /// The probes have brought the check from Up to Down.
    pub fn fell(&mut self, now: Moment) {
        let left = self.penalty_at(now);
        if left < FORGOTTEN {
            self.falls = 0;
        }
        self.falls = self.falls.saturating_add(1);
        self.penalty = (left + 1.0).min(CEILING);
        self.at = now;
        self.is_held |= self.half_life.is_some() && self.penalty > HOLD_ABOVE;
    }

    /// Lets the check go if its penalty has decayed by `now`.
    pub fn settle(&mut self, now: Moment) {
        self.is_held &= self.penalty_at(now) >= RELEASE_BELOW;
    }

    /// Whether the verdict is Down, whatever the probes say.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// How much longer it will be held if it falls no more; zero when it isn't held.
    pub fn left(&self, now: Moment) -> Duration {
        match self.half_life {
            Some(half_life) if self.is_held => {
                let halvings = (self.penalty_at(now) / RELEASE_BELOW).log2();
                half_life.mul_f64(halvings.clamp(0.0, f64::from(u8::MAX)))
            }
            Some(_) | None => Duration::ZERO,
        }
    }

    /// Why it is down, for people: `held down for 42 s: flapped 5 times`; `None` when it isn't held.
    pub fn words(&self, now: Moment) -> Option<String> {
        let seconds = self.left(now).as_secs_f64().ceil();
        self.is_held.then(|| format!("held down for {seconds} s: flapped {} times", self.falls))
    }

    /// When [`Damping::settle`] will let it go if it falls no more; `None` when it isn't held.
    pub fn release_at(&self) -> Option<Moment> {
        self.is_held.then(|| self.at + self.left(self.at) + RELEASE_MARGIN)
    }

    fn penalty_at(&self, now: Moment) -> f64 {
        let Some(half_life) = self.half_life else { return 0.0 };
        self.penalty * (-now.since(self.at).as_secs_f64() / half_life.as_secs_f64()).exp2()
    }
}

/// Of the penalty under this monitor; `None` where nothing is damped.
fn half_life(monitor: &Monitor) -> Option<Duration> {
    let interval = match monitor.kind.heartbeat() {
        Some(spec) => spec.ttl / BEATS_PER_TTL,
        None => monitor.interval,
    };
    monitor.damping.then(|| (interval * HALF_LIFE_INTERVALS).clamp(MIN_HALF_LIFE, MAX_HALF_LIFE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProbeKind;

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    fn after(falls: &[u64]) -> Damping {
        let mut damping = Damping::new(&Monitor::new(ProbeKind::Tcp));
        falls.iter().for_each(|second| damping.fell(at(*second)));
        damping
    }

    #[test]
    fn two_falls_hold_when_they_are_near_each_other() {
        for (what, falls, is_held) in [
            ("an outage", &[100][..], false),
            ("two in quick succession", &[100, 106], true),
            ("18 seconds apart", &[100, 118], true),
            ("20 seconds apart", &[100, 120], false),
            ("a minute apart, again and again", &[0, 60, 120, 180, 240, 300], true),
            ("80 seconds apart, for ever", &[0, 80, 160, 240, 320, 400, 480, 560, 640, 720, 800], false),
        ] {
            assert_eq!(after(falls).is_held(), is_held, "{what}");
        }
    }

    #[test]
    fn it_is_held_until_the_penalty_has_decayed_and_longer_the_more_it_flaps() {
        let mut twice = after(&[100, 106]);
        assert_eq!(twice.left(at(106)).as_secs(), 66, "1.93 to 0.9: 1.1 half-lives");
        assert_eq!(twice.words(at(106)).as_deref(), Some("held down for 67 s: flapped 2 times"));
        twice.settle(at(172));
        assert!(twice.is_held());
        twice.settle(at(173));
        assert_eq!((twice.is_held(), twice.left(at(173)), twice.words(at(173))), (false, Duration::ZERO, None));
        assert_eq!(twice.release_at(), None);

        let mut often = after(&(0..100).map(|n| n * 6).collect::<Vec<u64>>());
        assert_eq!(often.left(at(594)).as_secs(), 180, "never more than three half-lives");
        often.settle(at(775));
        assert!(!often.is_held());
    }

    #[test]
    fn what_is_long_ago_is_neither_counted_nor_told() {
        assert_eq!(after(&[0, 1000, 1006]).words(at(1006)).as_deref(), Some("held down for 67 s: flapped 2 times"));
    }

    #[test]
    fn the_half_life_goes_with_the_interval_between_bounds() {
        let held = |interval_ms| {
            let interval = Duration::from_millis(interval_ms);
            let mut damping = Damping::new(&Monitor { interval, ..Monitor::new(ProbeKind::Tcp) });
            damping.fell(at(10));
            damping.fell(at(10));
            damping.left(at(10)).as_secs()
        };
        assert_eq!([held(50), held(1000), held(2000), held(60_000)], [34, 69, 138, 1036]);
    }

    #[test]
    fn a_successor_holds_it_as_long_as_it_would_have_been() {
        let before = after(&[100, 106]);
        let monitor = Monitor::new(ProbeKind::Tcp);
        let mut restored = Damping::restore(&monitor, &before.flaps(at(130)), at(130));
        assert_eq!(restored.words(at(140)), before.words(at(140)));
        restored.settle(at(172));
        assert!(restored.is_held());
        restored.settle(at(173));
        assert!(!restored.is_held());
        for (what, flaps, monitor) in [
            ("not a number", Flaps { penalty: f64::NAN, falls: 1, is_held: true }, monitor.clone()),
            ("out of bounds", Flaps { penalty: 1e300, falls: u32::MAX, is_held: true }, monitor.clone()),
            ("damping is off by now", before.flaps(at(107)), Monitor { damping: false, ..monitor }),
        ] {
            let mut restored = Damping::restore(&monitor, &flaps, at(107));
            restored.fell(at(107));
            assert!(restored.left(at(107)).as_secs() <= 180, "{what}");
        }
    }

    #[test]
    fn at_the_time_of_release_it_is_let_go() {
        for falls in 2..20 {
            for apart in [0, 1, 3, 7] {
                let mut damping = after(&(0..falls).map(|n| n * apart).collect::<Vec<u64>>());
                let release = damping.release_at().expect("held");
                damping.settle(release - 2 * RELEASE_MARGIN);
                assert!(damping.is_held(), "{falls} falls {apart} s apart");
                damping.settle(release);
                assert!(!damping.is_held(), "{falls} falls {apart} s apart");
            }
        }
    }

    #[test]
    fn nothing_is_held_where_damping_is_off() {
        let mut damping = Damping::new(&Monitor { damping: false, ..Monitor::new(ProbeKind::Tcp) });
        (0..100).for_each(|second| damping.fell(at(second)));
        assert_eq!((damping.is_held(), damping.left(at(100))), (false, Duration::ZERO));
    }
}
