//! What becomes of the connection that is held to one endpoint: a value that is told what happens, and never opens,
//! sleeps or reads a clock. `prober` owns one for each check with `hold = true`.
//!
//! ```text
//!               a probe succeeds           it is time               the handshake
//!   ┌─────────┐ ────────────────▶ ┌─────────┐ ──────▶ ┌─────────┐ ────────────────▶ ┌──────┐
//!   │ Resting │                   │ Waiting │         │ Opening │                   │ Open │
//!   └─────────┘ ◀──── Down ────── └─────────┘ ◀────── └─────────┘                   └──────┘
//!        ▲                          ▲     ▲    failed                                   │ FIN, RST, silence:
//!        │ Down: it was dead        │     │                                             ▼ *suspect*
//!        └──────────────────────────│─────│──────────────────────────────────────── ┌───────┐
//!                                   │     └──────── a probe succeeds: it lives ──── │ Ended │
//!                                   │                                               └───────┘
//!                                   │ AGAIN later     ┌──────────┐                      │ and so for the
//!                                   └──────────────── │ Declined │ ◀────────────────────┘ LESSONS-th time
//!                                                     └──────────┘
//! ```
//!
//! A server that ends idle connections is well when its probes say so: that is a *lesson*. After a few of them nothing
//! is held there any more for a while, and only the regular probes tell. A connection that stood for long is no lesson.

use std::time::Duration;

use crate::model::{Hold, Moment};

/// So many ends of a connection to a server that is well are taken for its habit. Judgment: one may be a restart in
/// place, two a repeated one.
const LESSONS: u32 = 3;
/// A server that ends connections is tried again after this long; then one end suffices. Judgment: one verification in
/// ten minutes costs nothing, and a server that has been set otherwise is noticed.
const AGAIN: Duration = Duration::from_secs(600);
/// A connection that stood for this long was worth holding: its end is no lesson, and the earlier ones are forgotten.
const LONG_ENOUGH: Duration = Duration::from_secs(600);
/// From an end or a failed handshake to the next attempt, at least (judgment: no more than probes cost by default).
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// When there are too many connections, whether there is room is looked at this often.
const ROOM_AFTER: Duration = Duration::from_secs(60);

/// What becomes of one held connection.
#[derive(Debug, Clone)]
pub struct Held {
    state: State,
    lessons: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is wanted: no probe has succeeded, or it is Down.
    Resting,
    /// To be opened at that moment.
    Waiting { until: Moment },
    /// The handshake is under way.
    Opening,
    /// It stands.
    Open { since: Moment },
    /// It has ended, and no probe that began thereafter has succeeded yet.
    Ended { at: Moment, after: Duration },
    /// Not held, for this reason, until it is tried again.
    Declined { why: Hold, until: Moment },
}

/// How a connection that stood ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// The other side, or someone on the way, closed or reset it.
    Closed,
    /// Nothing on the way acknowledges any more.
    Silent,
    /// The other side sends more than anyone should read.
    TooMuchData,
}

/// What [`Held::probed`] wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    Nothing,
    /// Drop the connection, open or opening.
    Drop,
}

impl Default for Held {
    fn default() -> Held {
        Held { state: State::Resting, lessons: 0 }
    }
}

impl Held {
    /// When it wants to be opened; the owner then calls [`Held::opening`] or [`Held::no_room`].
    pub fn due(&self) -> Option<Moment> {
        match self.state {
            State::Waiting { until } | State::Declined { until, .. } => Some(until),
            State::Resting | State::Opening | State::Open { .. } | State::Ended { .. } => None,
        }
    }

    /// Takes in a probe that began at `began` and whether it succeeded, and whether the verdict is Up now.
    pub fn probed(&mut self, began: Moment, is_ok: bool, is_up: bool, now: Moment) -> Wish {
        if !is_up {
            return self.rest();
        }
        match self.state {
            State::Resting if is_ok => self.state = State::Waiting { until: now },
            State::Ended { at, after } if is_ok && began >= at => self.state = self.learned(after, now),
            State::Resting
            | State::Waiting { .. }
            | State::Opening
            | State::Open { .. }
            | State::Ended { .. }
            | State::Declined { .. } => {}
        }
        Wish::Nothing
    }

    /// The handshake begins.
    pub fn opening(&mut self) {
        self.state = State::Opening;
    }

    /// There are too many connections already.
    pub fn no_room(&mut self, now: Moment) {
        self.state = State::Declined { why: Hold::NoRoom, until: now + ROOM_AFTER };
    }

    /// The handshake succeeded.
    pub fn opened(&mut self, now: Moment) {
        self.state = State::Open { since: now };
    }

    /// The handshake failed. That is for the probes to judge.
    pub fn failed(&mut self, now: Moment) {
        self.state = State::Waiting { until: now + REOPEN_AFTER };
    }

    /// The connection ended; whether that makes the endpoint suspect.
    pub fn ended(&mut self, end: ConnectionEnd, now: Moment) -> bool {
        match (self.state, end) {
            (State::Open { since }, ConnectionEnd::Closed | ConnectionEnd::Silent) => {
                self.state = State::Ended { at: now, after: now.since(since) };
                true
            }
            (State::Open { .. } | State::Opening, ConnectionEnd::TooMuchData) => {
                self.state = State::Declined { why: Hold::ServerTalks, until: now + AGAIN };
                false
            }
            (
                State::Resting | State::Waiting { .. } | State::Opening | State::Ended { .. } | State::Declined { .. },
                _,
            ) => false,
        }
    }

    /// What is said of it in `status`.
    pub fn word(&self) -> Hold {
        match self.state {
            State::Resting | State::Waiting { .. } | State::Opening | State::Ended { .. } => Hold::NotOpen,
            State::Open { .. } => Hold::Open,
            State::Declined { why, .. } => why,
        }
    }

    /// What is down is opened anew when it is up again; what was learned of it stays.
    fn rest(&mut self) -> Wish {
        match self.state {
            State::Declined { .. } => Wish::Nothing,
            State::Opening | State::Open { .. } => {
                self.state = State::Resting;
                Wish::Drop
            }
            State::Resting | State::Waiting { .. } | State::Ended { .. } => {
                self.state = State::Resting;
                Wish::Nothing
            }
        }
    }

    /// It lives, and its connection ended `after` a while all the same.
    fn learned(&mut self, after: Duration, now: Moment) -> State {
        self.lessons = if after >= LONG_ENOUGH { 0 } else { self.lessons + 1 };
        if self.lessons < LESSONS {
            return State::Waiting { until: now + REOPEN_AFTER };
        }
        self.lessons = LESSONS - 1;
        State::Declined { why: Hold::ClosedByServer, until: now + AGAIN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u32) -> Moment {
        Moment::START + ms * MS
    }

    /// One that stands since `ms`.
    fn open(held: &mut Held, ms: u32) {
        held.opening();
        held.opened(at(ms));
    }

    /// Up and held since the first moment.
    fn standing() -> Held {
        let mut held = Held::default();
        assert_eq!(held.due(), None, "nothing is held to what never answered");
        held.probed(at(0), true, true, at(0));
        assert_eq!(held.due(), Some(at(0)));
        open(&mut held, 0);
        held
    }

    #[test]
    fn an_end_is_news_once_and_the_probe_after_it_tells() {
        let mut held = standing();
        assert!(held.ended(ConnectionEnd::Closed, at(5000)));
        assert!(!held.ended(ConnectionEnd::Closed, at(5001)), "an end that was told");
        held.probed(at(4999), true, true, at(5002));
        assert_eq!((held.due(), held.word()), (None, Hold::NotOpen), "it was asked before the end");
        held.probed(at(5030), false, true, at(5031));
        assert_eq!(held.due(), None);
        held.probed(at(5050), true, true, at(5051));
        assert_eq!(held.due(), Some(at(6051)), "it lives: held again");
    }

    #[test]
    fn a_server_that_ends_idle_connections_is_learned_and_tried_again() {
        let mut held = standing();
        let mut suspicions = 0;
        for ms in (1000..4000).step_by(1000) {
            suspicions += u32::from(held.ended(ConnectionEnd::Closed, at(ms)));
            held.probed(at(ms + 30), true, true, at(ms + 31));
            if ms < 3000 {
                assert_eq!(held.word(), Hold::NotOpen);
                open(&mut held, ms + 500);
            }
        }
        assert_eq!((suspicions, held.word(), held.due()), (3, Hold::ClosedByServer, Some(at(3031) + AGAIN)));
        held.probed(at(9000), true, true, at(9001));
        held.probed(at(9500), false, false, at(9501));
        assert_eq!(held.word(), Hold::ClosedByServer, "a failure does not make it forget");

        open(&mut held, 700_000);
        assert!(held.ended(ConnectionEnd::Closed, at(701_000)));
        held.probed(at(701_030), true, true, at(701_031));
        assert_eq!(held.word(), Hold::ClosedByServer, "one more suffices");

        open(&mut held, 1_400_000);
        let end = at(1_400_000) + LONG_ENOUGH;
        held.ended(ConnectionEnd::Closed, end);
        held.probed(end, true, true, end);
        assert_eq!(held.due(), Some(end + REOPEN_AFTER), "it stood for long: not a habit any more");
    }

    #[test]
    fn what_is_down_is_not_held() {
        let mut held = standing();
        assert_eq!(held.probed(at(100), false, false, at(100)), Wish::Drop);
        assert!(!held.ended(ConnectionEnd::Closed, at(101)), "no news of what is down");
        assert_eq!(held.probed(at(200), true, false, at(200)), Wish::Nothing);
        assert_eq!(held.due(), None, "one success doesn't make it up");
        held.probed(at(300), true, true, at(300));
        assert_eq!(held.due(), Some(at(300)));

        let mut dead = standing();
        dead.ended(ConnectionEnd::Closed, at(100));
        assert_eq!(dead.probed(at(150), false, false, at(150)), Wish::Nothing);
        assert_eq!((dead.word(), dead.lessons), (Hold::NotOpen, 0), "it was dead: nothing to learn");
    }

    #[test]
    fn what_can_not_be_held_is_left_to_the_probes() {
        let mut held = standing();
        assert!(!held.ended(ConnectionEnd::TooMuchData, at(10)), "that says nothing of its health");
        assert_eq!((held.word(), held.due()), (Hold::ServerTalks, Some(at(10) + AGAIN)));
        held.no_room(at(20));
        assert_eq!((held.word(), held.due()), (Hold::NoRoom, Some(at(20) + ROOM_AFTER)));
        held.opening();
        held.failed(at(30));
        assert_eq!((held.word(), held.due()), (Hold::NotOpen, Some(at(30) + REOPEN_AFTER)));
    }
}
