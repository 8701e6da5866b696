//! Judges one heartbeat check. Nothing is probed: the service itself sends beats, each with a time to live (ttl). It
//! gets each beat and the time, and returns when the verdict changes. It never sleeps or reads a clock. `heartbeats`
//! owns one for each check.
//!
//! ```text
//!   ┌─────────┐  a beat, at once   ┌────┐  ◀── `rise` beats in a row ──┐
//!   │ Unknown │ ─────────────────▶ │ Up │                              │
//!   └─────────┘                    └────┘                              │
//!        │ none within a ttl,         │ the ttl ends,                  │
//!        │ or a goodbye               ▼ or a goodbye                   │
//!        │                         ┌──────┐ ───────────────────────────┘
//!        └───────────────────────▶ │ Down │   the end of a ttl restarts the count
//! ```
//!
//! There is no `fall`: the service chooses a ttl that is longer than some lost beats, so one end of a ttl is enough.
//! With a *hold-down*, Up and Down last at least that long, except that a goodbye counts at once.
//!
//! A service that flaps is damped ([`Damping`]). The end of a ttl counts as a fall, a goodbye does not. Beats are
//! judged meanwhile, and decide again when the penalty has decayed.
//!
//! With a threshold of suspicion ([`Phi`]), a service is also Down when its next beat is overdue by the usual rhythm,
//! even if the ttl is longer. The rhythm is learned again after a beat that came too late, after a goodbye, and with
//! another ttl. So an outage is never part of the rhythm, and a new rhythm causes at most one wrong verdict. Until the
//! rhythm is known, the ttl decides. A gap in which no beat could be received is not part of the rhythm either.

mod state;

use std::time::Duration;

use crate::health::{Damping, Phi, VerdictChange};
use crate::model::{Health, Moment, Monitor};

pub use state::HeartbeatState;

/// A message of a service about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A beat: the service is alive.
    Alive {
        /// How long the beat counts.
        ttl: Duration,
    },
    /// The service stops on purpose.
    Goodbye,
}

/// Judges one heartbeat.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    rise: u32,
    hold_down: Duration,
    /// The verdict of the beats, without damping.
    health: Health,
    damping: Damping,
    /// Until then the service is Unknown without a beat.
    first_until: Moment,
    /// The rhythm of the beats, if the monitor has a threshold.
    phi: Option<Phi>,
    /// Whether the ttl was restarted after the last beat.
    is_ttl_restarted: bool,
    /// Until when the last beat counts. `None` before the first, and after a goodbye.
    alive_until: Option<Moment>,
    /// Beats in a row, each within the ttl of the one before.
    run: u32,
    /// The end of the hold-down: until then the verdict stays.
    hold_down_until: Moment,
    last: Option<(Moment, Sign)>,
}

impl Heartbeat {
    /// A check without a beat so far. The first one is expected within `ttl` from `now`.
    pub fn new(monitor: &Monitor, ttl: Duration, now: Moment) -> Heartbeat {
        Heartbeat {
            rise: monitor.rise.max(1),
            hold_down: monitor.hold_down,
            health: Health::Unknown,
            damping: Damping::new(monitor),
            first_until: now + ttl,
            phi: threshold(monitor).map(Phi::new),
            is_ttl_restarted: false,
            alive_until: None,
            run: 0,
            hold_down_until: Moment::START,
            last: None,
        }
    }

    /// The same service with another monitor.
    pub fn with_monitor(&self, monitor: &Monitor) -> Heartbeat {
        let phi = threshold(monitor).map(|threshold| match &self.phi {
            Some(phi) => phi.with_threshold(threshold),
            None => Phi::new(threshold),
        });
        let (rise, hold_down, damping) = (monitor.rise.max(1), monitor.hold_down, self.damping.with_monitor(monitor));
        Heartbeat { rise, hold_down, damping, phi, ..self.clone() }
    }

    /// Takes in a message that came at `now`. Returns the change of the verdict, if there is one.
    pub fn receive(&mut self, sign: Sign, now: Moment) -> Option<VerdictChange> {
        match sign {
            Sign::Alive { ttl } => {
                self.learn(ttl, now);
                self.run = if self.is_alive(now) { self.run.saturating_add(1) } else { 1 };
                self.is_ttl_restarted = false;
                self.alive_until = Some(now + self.patience().map_or(ttl, |patience| patience.min(ttl)));
            }
            Sign::Goodbye => {
                (self.run, self.alive_until) = (0, None);
                (self.first_until, self.hold_down_until) = (now, now);
            }
        }
        self.last = Some((now, sign));
        self.advance(now)
    }

    /// Advances the time to `now`. Returns the change of the verdict, if there is one.
    pub fn advance(&mut self, now: Moment) -> Option<VerdictChange> {
        let (from, wanted) = (self.health(), self.wanted(now));
        self.damping.release_if_due(now);
        if self.health != wanted && now >= self.hold_down_until {
            if (self.health, wanted) == (Health::Up, Health::Down) && self.alive_until.is_some() {
                self.damping.add_fall(now);
            }
            self.health = wanted;
            self.hold_down_until = now + self.hold_down;
        }
        let to = self.health();
        (from != to).then_some(VerdictChange { from, to })
    }

    /// Restarts the ttl of the last beat, if the service is Up. To be called when no beat could be received until
    /// `now`: the service may send again late what was not received.
    pub fn restart_ttl(&mut self, now: Moment) {
        if let (Health::Up, Some((_, Sign::Alive { ttl }))) = (self.health, self.last) {
            self.alive_until = self.alive_until.max(Some(now + ttl));
            self.is_ttl_restarted = true;
        }
    }

    /// Whether the ttl was restarted after the last beat.
    pub fn is_ttl_restarted(&self) -> bool {
        self.is_ttl_restarted
    }

    /// Adds the gap before a beat of `now` to the rhythm, or forgets the rhythm.
    fn learn(&mut self, ttl: Duration, now: Moment) {
        let is_alive = self.is_alive(now);
        let Some(phi) = &mut self.phi else { return };
        match self.last {
            Some((at, Sign::Alive { ttl: before })) if is_alive && before == ttl => {
                if !self.is_ttl_restarted {
                    phi.add_gap(now.since(at));
                }
            }
            Some((_, Sign::Alive { .. } | Sign::Goodbye)) | None => phi.forget(),
        }
    }

    /// The rhythm, if the monitor has a threshold.
    pub fn phi(&self) -> Option<&Phi> {
        self.phi.as_ref()
    }

    /// How long after a beat the next one is overdue. `None` if the rhythm is not used, or not known yet.
    pub fn patience(&self) -> Option<Duration> {
        self.phi.as_ref()?.patience()
    }

    /// When time alone may change the verdict next. `None` if only a message can change it.
    pub fn deadline(&self) -> Option<Moment> {
        let alive_until = self.alive_until.unwrap_or_default();
        let by_beats = match self.health {
            Health::Unknown => Some(self.first_until),
            Health::Up => Some(alive_until.max(self.hold_down_until)),
            Health::Down => {
                (self.run >= self.rise && self.hold_down_until < alive_until).then_some(self.hold_down_until)
            }
        };
        [by_beats, self.damping.release_at()].into_iter().flatten().min()
    }

    /// The verdict.
    pub fn health(&self) -> Health {
        if self.damping.is_damped() { Health::Down } else { self.health }
    }

    /// The damping of this check.
    pub fn damping(&self) -> &Damping {
        &self.damping
    }

    /// The last message, and when it came.
    pub fn last(&self) -> Option<(Moment, Sign)> {
        self.last
    }

    fn is_alive(&self, now: Moment) -> bool {
        self.alive_until.is_some_and(|until| now < until)
    }

    /// The verdict of the beats at `now`, without damping and hold-down.
    fn wanted(&self, now: Moment) -> Health {
        match (self.health, self.is_alive(now)) {
            (Health::Unknown | Health::Up, true) => Health::Up,
            (Health::Down, true) if self.run >= self.rise => Health::Up,
            (Health::Unknown, false) if now < self.first_until => Health::Unknown,
            (Health::Unknown | Health::Up, false) | (Health::Down, true | false) => Health::Down,
        }
    }
}

/// The threshold of suspicion of the monitor.
fn threshold(monitor: &Monitor) -> Option<u32> {
    monitor.kind.heartbeat()?.phi
}

#[cfg(test)]
mod rhythm_tests;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ProbeKind;

    const MS: Duration = Duration::from_millis(1);

    fn heartbeat(rise: u32, hold_down_ms: u32) -> Heartbeat {
        let monitor = Monitor { rise, hold_down: hold_down_ms * MS, damping: false, ..Monitor::new(ProbeKind::Tcp) };
        Heartbeat::new(&monitor, 5000 * MS, Moment::START)
    }

    fn at(ms: u64) -> Moment {
        Moment::from_start(Duration::from_millis(ms))
    }

    /// The transitions after these messages: when each comes (in ms), and its ttl (in ms; 0 is a goodbye). Time is
    /// advanced to every deadline.
    fn played(mut heartbeat: Heartbeat, messages: &[(u64, u32)], end: u64) -> Vec<(u64, Health)> {
        let mut transitions = Vec::new();
        let advance_until = |heartbeat: &mut Heartbeat, end: Moment| {
            let mut found = Vec::new();
            while let Some(due) = heartbeat.deadline().filter(|due| *due <= end) {
                found.extend(heartbeat.advance(due).map(|changed| (due.from_first().as_millis() as u64, changed.to)));
                assert!(heartbeat.deadline() != Some(due), "the deadline is over");
            }
            found
        };
        for (when, ttl) in messages {
            // A beat at the moment of a deadline is received first.
            transitions.extend(advance_until(&mut heartbeat, at(*when) - MS));
            let sign = if *ttl == 0 { Sign::Goodbye } else { Sign::Alive { ttl: *ttl * MS } };
            transitions.extend(heartbeat.receive(sign, at(*when)).map(|changed| (*when, changed.to)));
        }
        transitions.extend(advance_until(&mut heartbeat, at(end)));
        transitions
    }

    #[test]
    fn beats_and_the_ends_of_their_ttls_decide() {
        use Health::{Down, Up};
        for (what, (rise, hold_down), messages, expected) in [
            ("no beat: down after the ttl", (1, 0), vec![], vec![(5000, Down)]),
            ("a beat is up at once, its end down at once", (1, 0), vec![(100, 2000)], vec![(100, Up), (2100, Down)]),
            ("renewed in time", (1, 0), vec![(100, 2000), (2000, 2000)], vec![(100, Up), (4000, Down)]),
            ("a shorter ttl counts from then", (1, 0), vec![(100, 9000), (200, 300)], vec![(100, Up), (500, Down)]),
            (
                "back with the next beat",
                (1, 0),
                vec![(0, 100), (500, 300)],
                vec![(0, Up), (100, Down), (500, Up), (800, Down)],
            ),
            (
                "rise wants a row",
                (3, 0),
                vec![(0, 100), (500, 100), (550, 100), (600, 100)],
                vec![(0, Up), (100, Down), (600, Up), (700, Down)],
            ),
            (
                "a row with a gap does not count",
                (2, 0),
                vec![(0, 100), (500, 100), (700, 100)],
                vec![(0, Up), (100, Down)],
            ),
            ("goodbye is down at once", (1, 0), vec![(0, 3000), (1000, 0)], vec![(0, Up), (1000, Down)]),
            ("also during a hold-down", (1, 60_000), vec![(0, 3000), (1000, 0)], vec![(0, Up), (1000, Down)]),
            ("also before any beat", (1, 0), vec![(10, 0)], vec![(10, Down)]),
            ("hold-down of up", (1, 9000), vec![(0, 100)], vec![(0, Up), (9000, Down)]),
            ("hold-down of up, renewed meanwhile", (1, 9000), vec![(0, 100), (8999, 500)], vec![(0, Up), (9499, Down)]),
            (
                "hold-down of down, and up when it is over",
                (1, 1000),
                vec![(0, 1000), (1500, 5000)],
                vec![(0, Up), (1000, Down), (2000, Up), (6500, Down)],
            ),
            (
                "hold-down of down, and silent again",
                (1, 1000),
                vec![(0, 1000), (1500, 100)],
                vec![(0, Up), (1000, Down)],
            ),
        ] {
            assert_eq!(played(heartbeat(rise, hold_down), &messages, 20_000), expected, "{what}");
        }
    }

    #[test]
    fn a_service_that_flaps_is_damped_and_a_goodbye_is_no_fall() {
        use Health::{Down, Up};
        let monitor = Monitor { rise: 1, ..Monitor::new(ProbeKind::Tcp) };
        let damped = || Heartbeat::new(&monitor, 5000 * MS, Moment::START);
        let silent: Vec<(u64, u32)> = (0..20).map(|nth| (nth * 2000, 500)).collect();
        let expected = [(0, Up), (500, Down), (2000, Up), (2500, Down)];
        assert_eq!(played(damped(), &silent, 60_000), expected, "damped by the second fall, and the others count");
        let back: Vec<(u64, u32)> =
            [(0, 500), (2000, 500)].into_iter().chain((5000..200_000).step_by(500).map(|at| (at, 900))).collect();
        let found = played(damped(), &back, 190_000);
        assert_eq!(found[..4], expected);
        let (released, to) = found[4];
        assert!(
            (60_000..75_000).contains(&released) && (to, found.len()) == (Up, 5),
            "released in time, with or without a beat: {found:?}"
        );
        let goodbyes: Vec<(u64, u32)> = (0..20).flat_map(|nth| [(nth * 2000, 5000), (nth * 2000 + 1000, 0)]).collect();
        assert_eq!(played(damped(), &goodbyes, 60_000).len(), 40, "a service that stops on purpose is not damped");
        let twice = played(damped(), &silent[..2], 60_000 * 60);
        assert_eq!(twice, expected, "without a beat it stays down when the penalty is over");
    }

    proptest! {
        #[test]
        fn no_verdict_without_its_evidence(
            rise in 1u32..4,
            waits in prop::collection::vec((1u64..3000, prop_oneof![1 => Just(0u32), 9 => 100u32..3000]), 0..40),
        ) {
            let mut now = 0;
            let messages: Vec<(u64, u32)> = waits.iter().map(|(wait, ttl)| { now += wait; (now, *ttl) }).collect();
            let transitions = played(heartbeat(rise, 0), &messages, now + 10_000);
            for (when, to) in &transitions {
                let last = messages.iter().rev().find(|(at, _)| at <= when);
                let is_end = |(at, ttl): &(u64, u32)| *ttl == 0 || at + u64::from(*ttl) == *when;
                match to {
                    Health::Up => {
                        prop_assert!(messages.iter().any(|(at, ttl)| at == when && *ttl > 0), "only a beat makes Up");
                    }
                    Health::Down => {
                        prop_assert!(*when == 5000 || last.is_some_and(is_end), "down at {when} after {last:?}");
                    }
                    Health::Unknown => prop_assert!(false, "nothing becomes unknown"),
                }
            }
            prop_assert_eq!(transitions.last().map(|(_, to)| *to), Some(Health::Down), "silence in the end");
        }
    }
}
