//! The state of a heartbeat check as a plain value that outlives it: a restart restores the check from it.

use std::time::Duration;

use crate::health::heartbeat::{Heartbeat, Sign};
use crate::health::{Damping, Flaps};
use crate::model::{Health, HeartbeatSpec, Moment, Monitor};

/// The state of a heartbeat check.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HeartbeatState {
    /// The verdict.
    pub health: Health,
    /// Beats in a row, where they count.
    pub run: u32,
    /// The last sign of the service, and when it came.
    pub last: Option<(Moment, Sign)>,
    /// How much longer that counts.
    pub alive_for: Duration,
    /// The rest of the hold-down.
    pub hold_down_left: Duration,
    /// The state of its damping.
    pub flaps: Flaps,
}

impl Heartbeat {
    /// A check that continues at `now` from `saved`, its state at `at`. Between the two no beat could be received.
    ///
    /// The service's own sign counts as long as it says: a beat for its ttl, a goodbye until the next beat. Everything
    /// else counts until `until`. A service that was up gets its whole ttl again. The rhythm of the beats is learned
    /// again.
    pub fn restore(
        monitor: &Monitor,
        spec: &HeartbeatSpec,
        saved: &HeartbeatState,
        [at, until]: [Moment; 2],
        now: Moment,
    ) -> Heartbeat {
        let fresh = Heartbeat::new(monitor, spec.ttl, now);
        let hold_down_until = at + saved.hold_down_left.min(fresh.hold_down);
        let damping = Damping::restore(monitor, &saved.flaps, at);
        let (health, run, last) = (saved.health, saved.run, saved.last);
        let restored = Heartbeat { health, run, hold_down_until, last, damping, ..fresh.clone() };
        match (saved.health, saved.last) {
            (Health::Up, Some((beat, Sign::Alive { ttl }))) => {
                let ttl = ttl.min(spec.longest);
                let is_known = now < until.max(beat + ttl);
                if is_known {
                    Heartbeat { alive_until: Some(now + ttl), is_ttl_restarted: true, ..restored }
                } else {
                    fresh
                }
            }
            (Health::Down, Some((_, Sign::Goodbye))) => Heartbeat { alive_until: None, run: 0, ..restored },
            (Health::Down, Some((_, Sign::Alive { .. }))) if now < until => {
                Heartbeat { alive_until: Some(at + saved.alive_for.min(spec.longest)), ..restored }
            }
            (Health::Down, None) if now < until => restored,
            (Health::Up | Health::Down | Health::Unknown, _) => fresh,
        }
    }

    /// Its state at `now`.
    pub fn state(&self, now: Moment) -> HeartbeatState {
        HeartbeatState {
            health: self.health(),
            run: self.run,
            last: self.last,
            alive_for: self.alive_until.unwrap_or_default().since(now),
            hold_down_left: self.hold_down_until.since(now),
            flaps: self.damping.flaps(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProbeKind;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(second: u32) -> Moment {
        Moment::START + second * SECOND
    }

    #[test]
    fn after_a_restart_the_last_message_counts_as_long_as_it_says() {
        use Health::{Down, Unknown, Up};
        let alive = |second, ttl: u32| Some((at(second), Sign::Alive { ttl: ttl * SECOND }));
        let goodbye = Some((at(100), Sign::Goodbye));
        let longest = 3600 * SECOND;
        let spec =
            HeartbeatSpec { zone: "svc.example.".into(), endpoint: "a".into(), ttl: 5 * SECOND, longest, phi: None };
        let kind = ProbeKind::Heartbeat(spec.clone());
        let monitor = Monitor { rise: 2, ..Monitor::new(kind) };
        // The old process stopped at 101. Its state counts until 111.
        for (what, health, last, now, is, changes_at) in [
            ("in time: its whole ttl again", Up, alive(100, 5), 103, Up, Some(108)),
            ("the ttl ended during the restart: its whole ttl again", Up, alive(100, 5), 109, Up, Some(114)),
            ("the state does not count any more: as a new one", Up, alive(100, 5), 120, Unknown, Some(125)),
            ("a long ttl counts longer than the state", Up, alive(100, 60), 120, Up, Some(180)),
            ("silent: down", Down, alive(90, 5), 105, Down, None),
            ("silent long ago: as a new one", Down, alive(90, 5), 112, Unknown, Some(117)),
            ("no beat so far: down", Down, None, 105, Down, None),
            ("a goodbye lasts", Down, goodbye, 105, Down, None),
            ("for hours", Down, goodbye, 9999, Down, None),
            ("nothing was known", Unknown, None, 105, Unknown, Some(110)),
        ] {
            let saved = HeartbeatState { health, run: 1, last, ..HeartbeatState::default() };
            let restored = Heartbeat::restore(&monitor, &spec, &saved, [at(101), at(111)], at(now));
            assert_eq!((restored.health(), restored.deadline()), (is, changes_at.map(at)), "{what}");
        }
    }

    #[test]
    fn a_restart_does_not_end_damping() {
        let ttl = 5 * SECOND;
        let spec = HeartbeatSpec { zone: "svc.example.".into(), endpoint: "a".into(), ttl, longest: ttl, phi: None };
        let monitor = Monitor { rise: 1, ..Monitor::new(ProbeKind::Heartbeat(spec.clone())) };
        let mut before = Heartbeat::new(&monitor, ttl, at(0));
        for second in [10, 20, 30] {
            before.receive(Sign::Alive { ttl }, at(second));
            if second < 30 {
                before.advance(at(second + 5));
            }
        }
        assert!(before.damping().is_damped() && before.health() == Health::Down, "although it beats");
        let mut restored = Heartbeat::restore(&monitor, &spec, &before.state(at(31)), [at(31), at(41)], at(32));
        for heartbeat in [&mut before, &mut restored] {
            assert_eq!(heartbeat.receive(Sign::Alive { ttl }, at(33)), None);
            assert_eq!(
                heartbeat.damping().left(at(33)).as_secs(),
                102,
                "1.93 eight seconds ago to 0.9, with a half-life of 100 s"
            );
        }
    }

    #[test]
    fn a_restored_check_continues_as_without_a_restart() {
        let (ttl, longest) = (5 * SECOND, 60 * SECOND);
        let spec = HeartbeatSpec { zone: "svc.example.".into(), endpoint: "a".into(), ttl, longest, phi: None };
        let monitor = Monitor { rise: 2, hold_down: 30 * SECOND, ..Monitor::new(ProbeKind::Heartbeat(spec.clone())) };
        let mut before = Heartbeat::new(&monitor, ttl, at(10));
        before.receive(Sign::Alive { ttl }, at(11));
        before.receive(Sign::Goodbye, at(20));
        before.receive(Sign::Alive { ttl: 50 * SECOND }, at(22));
        let mut restored = Heartbeat::restore(&monitor, &spec, &before.state(at(23)), [at(23), at(33)], at(24));
        for heartbeat in [&mut before, &mut restored] {
            assert_eq!(heartbeat.receive(Sign::Alive { ttl: 50 * SECOND }, at(30)), None, "hold-down until 50");
            assert_eq!(heartbeat.deadline(), Some(at(50)));
            assert!(heartbeat.advance(at(50)).is_some_and(|changed| changed.to == Health::Up));
        }
    }
}
