//! The judge of one heartbeat: nothing is sent, the service says that it lives and for how long. It is told of each beat
//! and of the time, and says when its verdict changes; it never sleeps or reads a clock. `heartbeats` owns one a check.
//!
//! ```text
//!   ┌─────────┐  a beat, at once   ┌────┐  ◀── `rise` beats in a row ──┐
//!   │ Unknown │ ─────────────────▶ │ Up │                              │
//!   └─────────┘                    └────┘                              │
//!        │ none within a ttl,         │ the ttl ends,                  │
//!        │ or a goodbye               ▼ or a goodbye                   │
//!        │                         ┌──────┐ ───────────────────────────┘
//!        └───────────────────────▶ │ Down │   a ttl that ends begins the row anew
//!                                  └──────┘
//! ```
//!
//! The end of a ttl is all the evidence there is, so there is no `fall`: the service chose a ttl that outlasts lost
//! beats. With a *hold-down* Up and Down last that long at least, but a goodbye is the service's own word and counts at
//! once.
//!
//! What flaps is held down ([`Damping`]): silent ends count, a goodbye doesn't. Beats are judged meanwhile as ever, and the
//! verdict is theirs again when the penalty has decayed.
//!
//! With a threshold of suspicion ([`Phi`]) a beat also ends when the next one is overdue by the rhythm that they had, if
//! that is sooner: the ttl is what the service promised. A beat that comes too late, a goodbye, and another ttl begin the
//! rhythm anew, so that an outage never is a part of it and a new rhythm costs one verdict at most; until it is
//! known the ttl decides. A gap in which nobody could have been heard says nothing of it either.

mod state;

use std::time::Duration;

use crate::health::{Damping, Phi, Transition};
use crate::model::{Health, Moment, Monitor};

pub use state::HeartbeatState;

/// What a service says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It lives.
    Alive {
        /// For so long it need not say so again.
        ttl: Duration,
    },
    /// It goes, on purpose.
    Goodbye,
}

/// Judges one heartbeat.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    rise: u32,
    hold_down: Duration,
    /// What the beats come to.
    health: Health,
    damping: Damping,
    /// Until then silence says nothing of a service that was never heard.
    first_until: Moment,
    /// The rhythm of the beats, where it is asked for.
    phi: Option<Phi>,
    /// Whether this was given its time again since the last beat.
    is_forgiven: bool,
    /// The last beat counts until then; `None` before the first, and after a goodbye.
    alive_until: Option<Moment>,
    /// Beats in a row, each within the ttl of the one before.
    run: u32,
    /// Until then the verdict stays, whatever the beats say.
    held_until: Moment,
    last: Option<(Moment, Sign)>,
}

impl Heartbeat {
    /// One that was never heard, and is waited for from `now` on for `ttl`.
    pub fn new(monitor: &Monitor, ttl: Duration, now: Moment) -> Heartbeat {
        Heartbeat {
            rise: monitor.rise.max(1),
            hold_down: monitor.hold_down,
            health: Health::Unknown,
            damping: Damping::new(monitor),
            first_until: now + ttl,
            phi: threshold(monitor).map(Phi::new),
            is_forgiven: false,
            alive_until: None,
            run: 0,
            held_until: Moment::START,
            last: None,
        }
    }

    /// The same service, judged by another monitor from now on.
    pub fn judged_by(&self, monitor: &Monitor) -> Heartbeat {
        let phi = threshold(monitor).map(|threshold| match &self.phi {
            Some(phi) => phi.judged_by(threshold),
            None => Phi::new(threshold),
        });
        let (rise, hold_down, damping) = (monitor.rise.max(1), monitor.hold_down, self.damping.judged_by(monitor));
        Heartbeat { rise, hold_down, damping, phi, ..self.clone() }
    }

    /// Takes in what the service said at `now`; says when that changed the verdict.
    pub fn hear(&mut self, sign: Sign, now: Moment) -> Option<Transition> {
        match sign {
            Sign::Alive { ttl } => {
                self.learn(ttl, now);
                self.run = if self.is_alive(now) { self.run.saturating_add(1) } else { 1 };
                self.is_forgiven = false;
                self.alive_until = Some(now + self.patience().map_or(ttl, |patience| patience.min(ttl)));
            }
            Sign::Goodbye => {
                (self.run, self.alive_until) = (0, None);
                (self.first_until, self.held_until) = (now, now);
            }
        }
        self.last = Some((now, sign));
        self.wake(now)
    }

    /// Looks at what time has done by `now`; says when that changed the verdict.
    pub fn wake(&mut self, now: Moment) -> Option<Transition> {
        let (from, wanted) = (self.health(), self.wanted(now));
        self.damping.settle(now);
        if self.health != wanted && now >= self.held_until {
            if (self.health, wanted) == (Health::Up, Health::Down) && self.alive_until.is_some() {
                self.damping.fell(now);
            }
            self.health = wanted;
            self.held_until = now + self.hold_down;
        }
        let to = self.health();
        (from != to).then_some(Transition { from, to })
    }

    /// Nobody could have heard it until `now`: what was up has its time again, the whole ttl, as beats that nobody took
    /// may be sent again late.
    pub fn forgive(&mut self, now: Moment) {
        if let (Health::Up, Some((_, Sign::Alive { ttl }))) = (self.health, self.last) {
            self.alive_until = self.alive_until.max(Some(now + ttl));
            self.is_forgiven = true;
        }
    }

    /// Whether it was forgiven since the last beat.
    pub fn is_forgiven(&self) -> bool {
        self.is_forgiven
    }

    /// Takes in the gap before a beat of `now`, or begins anew.
    fn learn(&mut self, ttl: Duration, now: Moment) {
        let is_alive = self.is_alive(now);
        let Some(phi) = &mut self.phi else { return };
        match self.last {
            Some((at, Sign::Alive { ttl: before })) if is_alive && before == ttl => {
                if !self.is_forgiven {
                    phi.heard(now.since(at));
                }
            }
            Some((_, Sign::Alive { .. } | Sign::Goodbye)) | None => phi.forget(),
        }
    }

    /// The rhythm, where it is asked for.
    pub fn phi(&self) -> Option<&Phi> {
        self.phi.as_ref()
    }

    /// How long after a beat the next is overdue, where the rhythm is asked for and known.
    pub fn patience(&self) -> Option<Duration> {
        self.phi.as_ref()?.patience()
    }

    /// When time alone may change the verdict next; `None` when only a beat does.
    pub fn deadline(&self) -> Option<Moment> {
        let alive_until = self.alive_until.unwrap_or_default();
        let by_beats = match self.health {
            Health::Unknown => Some(self.first_until),
            Health::Up => Some(alive_until.max(self.held_until)),
            Health::Down => (self.run >= self.rise && self.held_until < alive_until).then_some(self.held_until),
        };
        [by_beats, self.damping.release_at()].into_iter().flatten().min()
    }

    /// The verdict.
    pub fn health(&self) -> Health {
        if self.damping.is_held() { Health::Down } else { self.health }
    }

    /// Its penalty for flapping.
    pub fn damping(&self) -> &Damping {
        &self.damping
    }

    /// What was said last, and when.
    pub fn last(&self) -> Option<(Moment, Sign)> {
        self.last
    }

    fn is_alive(&self, now: Moment) -> bool {
        self.alive_until.is_some_and(|until| now < until)
    }

    /// The verdict that the beats come to.
    fn wanted(&self, now: Moment) -> Health {
        match (self.health, self.is_alive(now)) {
            (Health::Unknown | Health::Up, true) => Health::Up,
            (Health::Down, true) if self.run >= self.rise => Health::Up,
            (Health::Unknown, false) if now < self.first_until => Health::Unknown,
            (Health::Unknown | Health::Up, false) | (Health::Down, true | false) => Health::Down,
        }
    }
}

/// The threshold of suspicion that the monitor asks for.
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

    /// What is said when (ms; a ttl in ms, or 0 for a goodbye), with every deadline kept; the transitions.
    fn played(mut heartbeat: Heartbeat, said: &[(u64, u32)], end: u64) -> Vec<(u64, Health)> {
        let mut transitions = Vec::new();
        let wake_until = |heartbeat: &mut Heartbeat, end: Moment| {
            let mut found = Vec::new();
            while let Some(due) = heartbeat.deadline().filter(|due| *due <= end) {
                found.extend(heartbeat.wake(due).map(|changed| (due.from_first().as_millis() as u64, changed.to)));
                assert!(heartbeat.deadline() != Some(due), "a deadline that was kept is over");
            }
            found
        };
        for (when, ttl) in said {
            // A beat at the very moment of a deadline is heard first.
            transitions.extend(wake_until(&mut heartbeat, at(*when) - MS));
            let sign = if *ttl == 0 { Sign::Goodbye } else { Sign::Alive { ttl: *ttl * MS } };
            transitions.extend(heartbeat.hear(sign, at(*when)).map(|changed| (*when, changed.to)));
        }
        transitions.extend(wake_until(&mut heartbeat, at(end)));
        transitions
    }

    #[test]
    fn beats_and_their_ends_are_the_verdict() {
        use Health::{Down, Up};
        for (what, (rise, hold_down), said, expected) in [
            ("never heard: down after the ttl", (1, 0), vec![], vec![(5000, Down)]),
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
            ("a row with a gap is none", (2, 0), vec![(0, 100), (500, 100), (700, 100)], vec![(0, Up), (100, Down)]),
            ("goodbye is down at once", (1, 0), vec![(0, 3000), (1000, 0)], vec![(0, Up), (1000, Down)]),
            ("also while held", (1, 60_000), vec![(0, 3000), (1000, 0)], vec![(0, Up), (1000, Down)]),
            ("also before any beat", (1, 0), vec![(10, 0)], vec![(10, Down)]),
            ("held up", (1, 9000), vec![(0, 100)], vec![(0, Up), (9000, Down)]),
            ("held up, and renewed meanwhile", (1, 9000), vec![(0, 100), (8999, 500)], vec![(0, Up), (9499, Down)]),
            (
                "held down, and up when that is over",
                (1, 1000),
                vec![(0, 1000), (1500, 5000)],
                vec![(0, Up), (1000, Down), (2000, Up), (6500, Down)],
            ),
            ("held down, and gone again", (1, 1000), vec![(0, 1000), (1500, 100)], vec![(0, Up), (1000, Down)]),
        ] {
            assert_eq!(played(heartbeat(rise, hold_down), &said, 20_000), expected, "{what}");
        }
    }

    #[test]
    fn what_flaps_is_held_down_and_a_goodbye_is_no_fall() {
        use Health::{Down, Up};
        let monitor = Monitor { rise: 1, ..Monitor::new(ProbeKind::Tcp) };
        let damped = || Heartbeat::new(&monitor, 5000 * MS, Moment::START);
        let silent: Vec<(u64, u32)> = (0..20).map(|nth| (nth * 2000, 500)).collect();
        let expected = [(0, Up), (500, Down), (2000, Up), (2500, Down)];
        assert_eq!(played(damped(), &silent, 60_000), expected, "the second fall is held, and the others count");
        let back: Vec<(u64, u32)> =
            [(0, 500), (2000, 500)].into_iter().chain((5000..200_000).step_by(500).map(|at| (at, 900))).collect();
        let found = played(damped(), &back, 190_000);
        assert_eq!(found[..4], expected);
        let (released, to) = found[4];
        assert!(
            (60_000..75_000).contains(&released) && (to, found.len()) == (Up, 5),
            "let go in time, beat or no beat: {found:?}"
        );
        let goodbyes: Vec<(u64, u32)> = (0..20).flat_map(|nth| [(nth * 2000, 5000), (nth * 2000 + 1000, 0)]).collect();
        assert_eq!(played(damped(), &goodbyes, 60_000).len(), 40, "who comes and goes by its own word is taken at it");
        let twice = played(damped(), &silent[..2], 60_000 * 60);
        assert_eq!(twice, expected, "and who doesn't come back stays down when the penalty is over");
    }

    proptest! {
        #[test]
        fn no_verdict_without_its_evidence(
            rise in 1u32..4,
            said in prop::collection::vec((1u64..3000, prop_oneof![1 => Just(0u32), 9 => 100u32..3000]), 0..40),
        ) {
            let mut now = 0;
            let said: Vec<(u64, u32)> = said.iter().map(|(wait, ttl)| { now += wait; (now, *ttl) }).collect();
            let transitions = played(heartbeat(rise, 0), &said, now + 10_000);
            for (when, to) in &transitions {
                let last = said.iter().rev().find(|(at, _)| at <= when);
                match to {
                    Health::Up => prop_assert!(said.iter().any(|(at, ttl)| at == when && *ttl > 0), "only a beat brings up"),
                    Health::Down => prop_assert!(
                        last.map_or(*when == 5000, |(at, ttl)| *ttl == 0 || at + u64::from(*ttl) == *when || *when == 5000),
                        "down at {when} after {last:?}"
                    ),
                    Health::Unknown => prop_assert!(false, "nothing becomes unknown"),
                }
            }
            prop_assert_eq!(transitions.last().map(|(_, to)| *to), Some(Health::Down), "silence in the end");
        }
    }
}
