//! Flap damping, as BGP does it for routes (RFC 2439). Each fall from Up to Down adds to a penalty, which halves in
//! every half-life. A check whose penalty exceeds [`DAMP_ABOVE`] is *damped*: its verdict is Down, whatever its probes
//! say, until the penalty is below [`RELEASE_BELOW`]. Falls also count while it is damped, so a check that continues to
//! flap stays down. One fall alone is never enough, however long the outage. Pure; the detector owns one.

use std::time::Duration;

use crate::model::{Moment, Monitor};

/// The penalty above which a check is damped. Judgment: a second fall within about 18 intervals is flapping, and so is
/// a fall every 70 intervals for long; a second outage after a minute is not.
pub const DAMP_ABOVE: f64 = 1.8;
/// The penalty below which it is released: half of the other, about as in the defaults of routers (RFC 7196, 3).
pub const RELEASE_BELOW: f64 = 0.9;
/// The highest penalty. So no check is damped for more than three half-lives after its last fall: three minutes with
/// the default interval.
pub const CEILING: f64 = 7.2;
/// The half-life of the penalty in intervals, between [`MIN_HALF_LIFE`] and [`MAX_HALF_LIFE`]. A check that is probed
/// rarely flaps slowly.
pub const HALF_LIFE_INTERVALS: u32 = 60;
/// The least half-life: a service does not restart faster because it is probed more often.
pub const MIN_HALF_LIFE: Duration = Duration::from_secs(30);
/// The longest half-life: that of BGP (RFC 2439, 4.2, its example).
pub const MAX_HALF_LIFE: Duration = Duration::from_secs(15 * 60);
/// The margin of [`Damping::release_at`], because rounding must not make it too early.
const RELEASE_MARGIN: Duration = Duration::from_millis(1);
/// The beats of a service in its ttl, as the manual recommends. The time between them takes the place of the interval.
const BEATS_PER_TTL: u32 = 3;
/// The penalty below which earlier falls are not counted for operators any more.
const FORGOTTEN: f64 = 0.2;

/// The penalty of one check.
#[derive(Debug, Clone)]
pub struct Damping {
    /// `None`: damping is off.
    half_life: Option<Duration>,
    /// The penalty at the moment `at`. It has decayed since.
    penalty: f64,
    at: Moment,
    falls: u32,
    is_damped: bool,
}

/// The state of a damping, as a plain value that outlives its detector.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Flaps {
    /// The penalty, from 0 to [`CEILING`].
    pub penalty: f64,
    /// The falls that caused it.
    pub falls: u32,
    /// Whether the check is damped.
    pub is_damped: bool,
}

impl Damping {
    /// Restores the damping from its state at `at`.
    pub fn restore(monitor: &Monitor, flaps: &Flaps, at: Moment) -> Damping {
        let fresh = Damping::new(monitor);
        let penalty = if flaps.penalty.is_finite() { flaps.penalty.clamp(0.0, CEILING) } else { 0.0 };
        let is_damped = flaps.is_damped && fresh.half_life.is_some();
        Damping { penalty, at, falls: flaps.falls, is_damped, ..fresh }
    }

    /// The state at `now`.
    pub fn flaps(&self, now: Moment) -> Flaps {
        Flaps { penalty: self.penalty_at(now), falls: self.falls, is_damped: self.is_damped }
    }

    /// A damping without a penalty.
    pub fn new(monitor: &Monitor) -> Damping {
        Damping { half_life: half_life(monitor), penalty: 0.0, at: Moment::START, falls: 0, is_damped: false }
    }

    /// The same falls with another monitor.
    pub fn with_monitor(&self, monitor: &Monitor) -> Damping {
        let half_life = half_life(monitor);
        Damping { half_life, is_damped: self.is_damped && half_life.is_some(), ..self.clone() }
    }

    /// Adds a fall: the probes changed the verdict from Up to Down.
    pub fn add_fall(&mut self, now: Moment) {
        let left = self.penalty_at(now);
        if left < FORGOTTEN {
            self.falls = 0;
        }
        self.falls = self.falls.saturating_add(1);
        self.penalty = (left + 1.0).min(CEILING);
        self.at = now;
        self.is_damped |= self.half_life.is_some() && self.penalty > DAMP_ABOVE;
    }

    /// Releases the check if its penalty is low enough at `now`.
    pub fn release_if_due(&mut self, now: Moment) {
        self.is_damped &= self.penalty_at(now) >= RELEASE_BELOW;
    }

    /// Whether the check is damped: the verdict is Down, whatever the probes say.
    pub fn is_damped(&self) -> bool {
        self.is_damped
    }

    /// How much longer the check stays damped without another fall. Zero if it is not damped.
    pub fn left(&self, now: Moment) -> Duration {
        match self.half_life {
            Some(half_life) if self.is_damped => {
                let halvings = (self.penalty_at(now) / RELEASE_BELOW).log2();
                half_life.mul_f64(halvings.clamp(0.0, f64::from(u8::MAX)))
            }
            Some(_) | None => Duration::ZERO,
        }
    }

    /// The reason for operators: `held down for 42 s: flapped 5 times`. `None` if it is not damped.
    pub fn why(&self, now: Moment) -> Option<String> {
        let seconds = self.left(now).as_secs_f64().ceil();
        self.is_damped.then(|| format!("held down for {seconds} s: flapped {} times", self.falls))
    }

    /// When [`Damping::release_if_due`] will release it without another fall. `None` if it is not damped.
    pub fn release_at(&self) -> Option<Moment> {
        self.is_damped.then(|| self.at + self.left(self.at) + RELEASE_MARGIN)
    }

    fn penalty_at(&self, now: Moment) -> f64 {
        let Some(half_life) = self.half_life else { return 0.0 };
        self.penalty * (-now.since(self.at).as_secs_f64() / half_life.as_secs_f64()).exp2()
    }
}

/// The half-life of the penalty with this monitor. `None` if damping is off.
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
        falls.iter().for_each(|second| damping.add_fall(at(*second)));
        damping
    }

    #[test]
    fn two_falls_within_a_short_time_are_damped() {
        for (what, falls, is_damped) in [
            ("an outage", &[100][..], false),
            ("two in quick succession", &[100, 106], true),
            ("18 seconds apart", &[100, 118], true),
            ("20 seconds apart", &[100, 120], false),
            ("a minute apart, again and again", &[0, 60, 120, 180, 240, 300], true),
            ("80 seconds apart, for ever", &[0, 80, 160, 240, 320, 400, 480, 560, 640, 720, 800], false),
        ] {
            assert_eq!(after(falls).is_damped(), is_damped, "{what}");
        }
    }

    #[test]
    fn it_is_damped_until_the_penalty_has_decayed_and_longer_after_more_falls() {
        let mut twice = after(&[100, 106]);
        assert_eq!(twice.left(at(106)).as_secs(), 66, "1.93 to 0.9: 1.1 half-lives");
        assert_eq!(twice.why(at(106)).as_deref(), Some("held down for 67 s: flapped 2 times"));
        twice.release_if_due(at(172));
        assert!(twice.is_damped());
        twice.release_if_due(at(173));
        assert_eq!((twice.is_damped(), twice.left(at(173)), twice.why(at(173))), (false, Duration::ZERO, None));
        assert_eq!(twice.release_at(), None);

        let mut often = after(&(0..100).map(|n| n * 6).collect::<Vec<u64>>());
        assert_eq!(often.left(at(594)).as_secs(), 180, "never more than three half-lives");
        often.release_if_due(at(775));
        assert!(!often.is_damped());
    }

    #[test]
    fn old_falls_are_not_counted() {
        assert_eq!(after(&[0, 1000, 1006]).why(at(1006)).as_deref(), Some("held down for 67 s: flapped 2 times"));
    }

    #[test]
    fn the_half_life_is_proportional_to_the_interval_within_bounds() {
        let damped_secs = |interval_ms| {
            let interval = Duration::from_millis(interval_ms);
            let mut damping = Damping::new(&Monitor { interval, ..Monitor::new(ProbeKind::Tcp) });
            damping.add_fall(at(10));
            damping.add_fall(at(10));
            damping.left(at(10)).as_secs()
        };
        assert_eq!([50, 1000, 2000, 60_000].map(damped_secs), [34, 69, 138, 1036]);
    }

    #[test]
    fn a_restored_check_is_damped_as_long_as_without_a_restart() {
        let before = after(&[100, 106]);
        let monitor = Monitor::new(ProbeKind::Tcp);
        let mut restored = Damping::restore(&monitor, &before.flaps(at(130)), at(130));
        assert_eq!(restored.why(at(140)), before.why(at(140)));
        restored.release_if_due(at(172));
        assert!(restored.is_damped());
        restored.release_if_due(at(173));
        assert!(!restored.is_damped());
        for (what, flaps, monitor) in [
            ("not a number", Flaps { penalty: f64::NAN, falls: 1, is_damped: true }, monitor.clone()),
            ("out of bounds", Flaps { penalty: 1e300, falls: u32::MAX, is_damped: true }, monitor.clone()),
            ("damping is off now", before.flaps(at(107)), Monitor { damping: false, ..monitor }),
        ] {
            let mut restored = Damping::restore(&monitor, &flaps, at(107));
            restored.add_fall(at(107));
            assert!(restored.left(at(107)).as_secs() <= 180, "{what}");
        }
    }

    #[test]
    fn at_the_time_of_release_it_is_released() {
        for falls in 2..20 {
            for apart in [0, 1, 3, 7] {
                let mut damping = after(&(0..falls).map(|n| n * apart).collect::<Vec<u64>>());
                let release = damping.release_at().expect("it is damped");
                damping.release_if_due(release - 2 * RELEASE_MARGIN);
                assert!(damping.is_damped(), "{falls} falls {apart} s apart");
                damping.release_if_due(release);
                assert!(!damping.is_damped(), "{falls} falls {apart} s apart");
            }
        }
    }

    #[test]
    fn nothing_is_damped_if_damping_is_off() {
        let mut damping = Damping::new(&Monitor { damping: false, ..Monitor::new(ProbeKind::Tcp) });
        (0..100).for_each(|second| damping.add_fall(at(second)));
        assert_eq!((damping.is_damped(), damping.left(at(100))), (false, Duration::ZERO));
    }
}
