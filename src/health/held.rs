//! The state of one held connection (`hold = true`). A value: it gets the events and the time, and never opens, sleeps
//! or reads a clock. `prober::held_connections` owns one for each such check.
//!
//! ```text
//!               a probe succeeds           it is time               the handshake
//!   ┌─────────┐ ────────────────▶ ┌─────────┐ ──────▶ ┌─────────┐ ────────────────▶ ┌──────┐
//!   │ Resting │                   │ Waiting │         │ Opening │                   │ Open │
//!   └─────────┘ ◀──── Down ────── └─────────┘ ◀────── └─────────┘                   └──────┘
//!        ▲                          ▲     ▲    failed                                   │ FIN, RST, silence:
//!        │ Down                     │     │                                             ▼ *suspect*
//!        └──────────────────────────│─────│──────────────────────────────────────── ┌───────┐
//!                                   │     └──────────────────── a probe succeeds ── │ Ended │
//!                                   │                                               └───────┘
//!                                   │ RETRY_AFTER     ┌──────────┐                      │ a probe succeeds,
//!                                   └──────────────── │ Declined │ ◀────────────────────┘ for the MAX_IDLE_CLOSES-th
//!                                                     └──────────┘                        time
//! ```
//!
//! Some servers close idle connections although they are healthy. An end after which a probe succeeds is such an *idle
//! close*. After a few of them no connection is held for a while, and only the regular probes decide. The end of a
//! connection that was open for long is not an idle close.

use std::time::Duration;

use crate::model::{Hold, Moment};

/// The number of idle closes after which no connection is held. Judgment: one may be a restart in place, two a repeated
/// one.
const MAX_IDLE_CLOSES: u32 = 3;
/// The time until such a server is tried again. Then one idle close is enough. Judgment: one verification in ten
/// minutes costs almost nothing, and a changed setting of the server is noticed.
const RETRY_AFTER: Duration = Duration::from_secs(600);
/// The end of a connection that was open for this long is not an idle close, and the earlier ones are forgotten.
const LONG_ENOUGH: Duration = Duration::from_secs(600);
/// The least time from an end, or from a failed handshake, to the next attempt. Judgment: as often as probes by
/// default.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// The time until the next attempt after there were too many connections.
const RETRY_ROOM_AFTER: Duration = Duration::from_secs(60);

/// The state of one held connection.
#[derive(Debug, Clone)]
pub struct HeldConnection {
    state: State,
    idle_closes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No connection is wanted: no probe has succeeded yet, or the check is Down.
    Resting,
    /// The connection is to be opened at this moment.
    Waiting { until: Moment },
    /// The handshake is under way.
    Opening,
    /// The connection is open.
    Open { since: Moment },
    /// The connection has ended after this time. No probe that began later has succeeded yet.
    Ended { at: Moment, after: Duration },
    /// No connection is held for this reason, until this moment.
    Declined { why: Hold, until: Moment },
}

/// How an open connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// The other side, or something on the path, closed or reset it.
    Closed,
    /// The keep-alives are not acknowledged any more.
    Silent,
    /// The other side sends more than a greeting.
    TooMuchData,
}

impl Default for HeldConnection {
    fn default() -> HeldConnection {
        HeldConnection { state: State::Resting, idle_closes: 0 }
    }
}

impl HeldConnection {
    /// When to open the connection. The owner then calls [`HeldConnection::opening`] or [`HeldConnection::no_room`].
    pub fn due(&self) -> Option<Moment> {
        match self.state {
            State::Waiting { until } | State::Declined { until, .. } => Some(until),
            State::Resting | State::Opening | State::Open { .. } | State::Ended { .. } => None,
        }
    }

    /// Takes in a probe: when it began, whether it succeeded, and whether the verdict is Up now. Returns whether the
    /// owner must close the connection, open or opening.
    #[must_use]
    pub fn probed(&mut self, began: Moment, is_ok: bool, is_up: bool, now: Moment) -> bool {
        if !is_up {
            return self.rest();
        }
        match self.state {
            State::Resting if is_ok => self.state = State::Waiting { until: now },
            State::Ended { at, after } if is_ok && began >= at => self.state = self.after_idle_close(after, now),
            State::Resting
            | State::Waiting { .. }
            | State::Opening
            | State::Open { .. }
            | State::Ended { .. }
            | State::Declined { .. } => {}
        }
        false
    }

    /// The handshake begins.
    pub fn opening(&mut self) {
        self.state = State::Opening;
    }

    /// There are too many connections already.
    pub fn no_room(&mut self, now: Moment) {
        self.state = State::Declined { why: Hold::NoRoom, until: now + RETRY_ROOM_AFTER };
    }

    /// The handshake succeeded.
    pub fn opened(&mut self, now: Moment) {
        self.state = State::Open { since: now };
    }

    /// The handshake failed. That does not make the check suspect, because probes find the reason.
    pub fn failed(&mut self, now: Moment) {
        self.state = State::Waiting { until: now + REOPEN_AFTER };
    }

    /// The connection ended. Returns whether that makes the check suspect.
    pub fn ended(&mut self, end: ConnectionEnd, now: Moment) -> bool {
        match (self.state, end) {
            (State::Open { since }, ConnectionEnd::Closed | ConnectionEnd::Silent) => {
                self.state = State::Ended { at: now, after: now.since(since) };
                true
            }
            (State::Open { .. } | State::Opening, ConnectionEnd::TooMuchData) => {
                self.state = State::Declined { why: Hold::ServerTalks, until: now + RETRY_AFTER };
                false
            }
            (
                State::Resting | State::Waiting { .. } | State::Opening | State::Ended { .. } | State::Declined { .. },
                _,
            ) => false,
        }
    }

    /// What `status` shows.
    pub fn status(&self) -> Hold {
        match self.state {
            State::Resting | State::Waiting { .. } | State::Opening | State::Ended { .. } => Hold::NotOpen,
            State::Open { .. } => Hold::Open,
            State::Declined { why, .. } => why,
        }
    }

    /// The check is Down. The connection is opened again when it is Up; the idle closes are remembered. Returns whether
    /// the owner must close the connection.
    fn rest(&mut self) -> bool {
        match self.state {
            State::Declined { .. } => false,
            State::Opening | State::Open { .. } => {
                self.state = State::Resting;
                true
            }
            State::Resting | State::Waiting { .. } | State::Ended { .. } => {
                self.state = State::Resting;
                false
            }
        }
    }

    /// The next state after an idle close of a connection that was open for `after`.
    fn after_idle_close(&mut self, after: Duration, now: Moment) -> State {
        self.idle_closes = if after >= LONG_ENOUGH { 0 } else { self.idle_closes + 1 };
        if self.idle_closes < MAX_IDLE_CLOSES {
            return State::Waiting { until: now + REOPEN_AFTER };
        }
        self.idle_closes = MAX_IDLE_CLOSES - 1;
        State::Declined { why: Hold::ClosedByServer, until: now + RETRY_AFTER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u32) -> Moment {
        Moment::START + ms * MS
    }

    /// Opens the connection at `ms`.
    fn open(held: &mut HeldConnection, ms: u32) {
        held.opening();
        held.opened(at(ms));
    }

    /// A connection of a check that is Up, open since the first moment.
    fn opened() -> HeldConnection {
        let mut held = HeldConnection::default();
        assert_eq!(held.due(), None, "no success yet: no connection");
        succeed(&mut held, 0, 0);
        assert_eq!(held.due(), Some(at(0)));
        open(&mut held, 0);
        held
    }

    /// A success of a probe that began and ended at these times, of a check that is Up.
    fn succeed(held: &mut HeldConnection, began: u32, ended: u32) {
        assert!(!held.probed(at(began), true, true, at(ended)), "a success closes nothing");
    }

    #[test]
    fn an_end_is_reported_once_and_the_next_probe_decides() {
        let mut held = opened();
        assert!(held.ended(ConnectionEnd::Closed, at(5000)));
        assert!(!held.ended(ConnectionEnd::Closed, at(5001)), "it was reported");
        succeed(&mut held, 4999, 5002);
        assert_eq!((held.due(), held.status()), (None, Hold::NotOpen), "this probe began before the end");
        assert!(!held.probed(at(5030), false, true, at(5031)));
        assert_eq!(held.due(), None);
        succeed(&mut held, 5050, 5051);
        assert_eq!(held.due(), Some(at(6051)), "it is healthy: opened again");
    }

    #[test]
    fn a_server_that_closes_idle_connections_is_remembered_and_tried_again() {
        let mut held = opened();
        let mut suspicions = 0;
        for ms in (1000..4000).step_by(1000) {
            suspicions += u32::from(held.ended(ConnectionEnd::Closed, at(ms)));
            succeed(&mut held, ms + 30, ms + 31);
            if ms < 3000 {
                assert_eq!(held.status(), Hold::NotOpen);
                open(&mut held, ms + 500);
            }
        }
        assert_eq!((suspicions, held.status(), held.due()), (3, Hold::ClosedByServer, Some(at(3031) + RETRY_AFTER)));
        succeed(&mut held, 9000, 9001);
        assert!(!held.probed(at(9500), false, false, at(9501)));
        assert_eq!(held.status(), Hold::ClosedByServer, "a failure does not change that");

        open(&mut held, 700_000);
        assert!(held.ended(ConnectionEnd::Closed, at(701_000)));
        succeed(&mut held, 701_030, 701_031);
        assert_eq!(held.status(), Hold::ClosedByServer, "one more is enough");

        open(&mut held, 1_400_000);
        let end = at(1_400_000) + LONG_ENOUGH;
        held.ended(ConnectionEnd::Closed, end);
        assert!(!held.probed(end, true, true, end));
        assert_eq!(held.due(), Some(end + REOPEN_AFTER), "it was open for long: not an idle close");
    }

    #[test]
    fn a_down_check_has_no_connection() {
        let mut held = opened();
        assert!(held.probed(at(100), false, false, at(100)), "it must be closed");
        assert!(!held.ended(ConnectionEnd::Closed, at(101)), "it is down already");
        assert!(!held.probed(at(200), true, false, at(200)));
        assert_eq!(held.due(), None, "one success is not enough for Up");
        succeed(&mut held, 300, 300);
        assert_eq!(held.due(), Some(at(300)));

        let mut dead = opened();
        dead.ended(ConnectionEnd::Closed, at(100));
        assert!(!dead.probed(at(150), false, false, at(150)));
        assert_eq!((dead.status(), dead.idle_closes), (Hold::NotOpen, 0), "it failed: not an idle close");
    }

    #[test]
    fn where_no_connection_can_be_held_only_probes_decide() {
        let mut held = opened();
        assert!(!held.ended(ConnectionEnd::TooMuchData, at(10)), "that says nothing about its health");
        assert_eq!((held.status(), held.due()), (Hold::ServerTalks, Some(at(10) + RETRY_AFTER)));
        held.no_room(at(20));
        assert_eq!((held.status(), held.due()), (Hold::NoRoom, Some(at(20) + RETRY_ROOM_AFTER)));
        held.opening();
        held.failed(at(30));
        assert_eq!((held.status(), held.due()), (Hold::NotOpen, Some(at(30) + REOPEN_AFTER)));
    }
}
