//! The run of one drill in the server, in simulated time if a test wants: gets what the server observes, and decides
//! when the loss ends.
//!
//! ```text
//!          its time is over, the client is gone,
//!          a real failure, a capacity is exceeded              every lost endpoint is up again,
//!   ┌──────┐                                     ┌───────────┐ or RESTORE_WITHIN has passed     ┌──────┐
//!   │ Lost │ ──────────────────────────────────▶ │ Restoring │ ───────────────────────────────▶ │ Over │
//!   └──────┘                                     └───────────┘                                  └──────┘
//! ```

use std::time::Duration;

use crate::model::Moment;

/// The client renews a drill every second. A drill ends when that does not arrive for so long: the connection of a
/// client whose network was cut stays open for minutes. Judgment: a busy machine holds up a client for less.
pub const RENEW_WITHIN: Duration = Duration::from_secs(6);
/// So long after its end a drill waits until its endpoints are up again. Judgment: their detectors continue as if
/// nothing had happened, so the next report has them, within two seconds.
pub const RESTORE_WITHIN: Duration = Duration::from_secs(5);

/// One drill.
#[derive(Debug, Clone)]
pub struct DrillRun {
    injected: Moment,
    until: Moment,
    renewed: Moment,
    phase: Phase,
    detected: Option<Duration>,
    decided: Option<Duration>,
    published: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Lost,
    Restoring { since: Moment, aborted: Option<String> },
    Over { aborted: Option<String> },
}

/// What the server observes at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DrillObservation {
    /// Since when some vantage has the verdict down on every lost endpoint.
    pub detected: Option<Moment>,
    /// Whether every lost endpoint is down by agreement.
    pub is_down: bool,
    /// Whether every lost endpoint has the health that it had before the drill.
    pub is_back: bool,
    /// A reason to end the drill at once: a real failure, a capacity that is exceeded.
    pub trouble: Option<String>,
}

/// What happened to a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrillEnd {
    /// The loss must end now.
    EndLoss,
    /// The drill is over.
    Over,
}

impl DrillRun {
    /// A drill whose loss begins at `now` and lasts `lasting`.
    pub fn new(now: Moment, lasting: Duration) -> DrillRun {
        let (detected, decided, published) = (None, None, None);
        DrillRun { injected: now, until: now + lasting, renewed: now, phase: Phase::Lost, detected, decided, published }
    }

    /// Takes in what is observed. Called with each view, before it is published.
    pub fn observe(&mut self, observed: &DrillObservation, now: Moment) -> Option<DrillEnd> {
        match &self.phase {
            Phase::Lost => {
                if let Some(at) = observed.detected {
                    self.detected.get_or_insert(at.since(self.injected));
                }
                if observed.is_down {
                    self.decided.get_or_insert(now.since(self.injected));
                }
                let why = observed.trouble.clone()?;
                Some(self.abort(why, now))
            }
            Phase::Restoring { aborted, .. } if observed.is_back => {
                self.phase = Phase::Over { aborted: aborted.clone() };
                Some(DrillEnd::Over)
            }
            Phase::Restoring { .. } | Phase::Over { .. } => self.pass(now),
        }
    }

    /// A view was published that was observed before.
    pub fn published(&mut self, now: Moment) {
        if self.decided.is_some() && self.phase == Phase::Lost {
            self.published.get_or_insert(now.since(self.injected));
        }
    }

    /// The client is there.
    pub fn renew(&mut self, now: Moment) {
        self.renewed = now;
    }

    /// The client has gone.
    pub fn leave(&mut self, now: Moment) -> Option<DrillEnd> {
        (self.phase == Phase::Lost).then(|| self.abort("the client that began it has gone".to_owned(), now))
    }

    /// Ends the loss early.
    pub fn abort(&mut self, why: String, now: Moment) -> DrillEnd {
        if self.phase == Phase::Lost {
            self.phase = Phase::Restoring { since: now, aborted: Some(why) };
        }
        DrillEnd::EndLoss
    }

    /// Time has passed.
    pub fn pass(&mut self, now: Moment) -> Option<DrillEnd> {
        match &self.phase {
            Phase::Lost if now >= self.until => {
                self.phase = Phase::Restoring { since: now, aborted: None };
                Some(DrillEnd::EndLoss)
            }
            Phase::Lost if now >= self.renewed + RENEW_WITHIN => {
                let secs = RENEW_WITHIN.as_secs();
                Some(self.abort(format!("nothing came from the client that began it for {secs} s"), now))
            }
            Phase::Restoring { since, aborted } if now >= *since + RESTORE_WITHIN => {
                self.phase = Phase::Over { aborted: aborted.clone() };
                Some(DrillEnd::Over)
            }
            Phase::Lost | Phase::Restoring { .. } | Phase::Over { .. } => None,
        }
    }

    /// When [`DrillRun::pass`] has something to do; `None` when it is over.
    pub fn deadline(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Lost => Some(self.until.min(self.renewed + RENEW_WITHIN)),
            Phase::Restoring { since, .. } => Some(*since + RESTORE_WITHIN),
            Phase::Over { .. } => None,
        }
    }

    /// Whether the loss is in force.
    pub fn is_lost(&self) -> bool {
        self.phase == Phase::Lost
    }

    /// Why it ended early.
    pub fn aborted(&self) -> Option<&str> {
        match &self.phase {
            Phase::Lost => None,
            Phase::Restoring { aborted, .. } | Phase::Over { aborted } => aborted.as_deref(),
        }
    }

    /// From the loss: to the verdict of a vantage, to the agreement, and to the snapshot, as far as they are known.
    pub fn marks(&self) -> [Option<Duration>; 3] {
        [self.detected, self.decided, self.published]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_start(Duration::from_millis(ms))
    }

    fn lost_for(secs: u64) -> DrillRun {
        DrillRun::new(at(1000), Duration::from_secs(secs))
    }

    fn trouble(why: &str) -> DrillObservation {
        DrillObservation { trouble: Some(why.to_owned()), ..DrillObservation::default() }
    }

    #[test]
    fn it_measures_the_stages_and_ends_after_its_time() {
        let mut run = lost_for(5);
        let nothing = DrillObservation::default();
        assert_eq!(run.observe(&nothing, at(1100)), None);
        run.published(at(1101));
        assert_eq!(run.marks(), [None; 3], "this snapshot still has the lost endpoints");
        let down = DrillObservation { detected: Some(at(2500)), is_down: true, ..nothing.clone() };
        assert_eq!(run.observe(&down, at(2510)), None);
        run.published(at(2512));
        assert_eq!(run.observe(&down, at(3000)), None);
        run.published(at(3001));
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(run.marks(), [ms(1500), ms(1510), ms(1512)], "the first time of each counts");
        assert_eq!((run.deadline(), run.pass(at(5999))), (Some(at(6000)), None));
        assert_eq!(run.pass(at(6000)), Some(DrillEnd::EndLoss));
        assert_eq!(run.observe(&down, at(6100)), None, "not back yet");
        let back = DrillObservation { is_back: true, ..nothing };
        assert_eq!(run.observe(&back, at(6200)), Some(DrillEnd::Over));
        assert_eq!(run.observe(&back, at(6300)), None);
        assert_eq!((run.aborted(), run.deadline()), (None, None));
    }

    #[test]
    fn it_ends_at_once_when_something_really_fails() {
        let mut run = lost_for(60);
        assert_eq!(run.observe(&trouble("fra1 is down"), at(1500)), Some(DrillEnd::EndLoss));
        assert_eq!(run.aborted(), Some("fra1 is down"));
        assert_eq!(run.observe(&trouble("fra2 is down"), at(1600)), None);
        assert_eq!(run.pass(at(6500)), Some(DrillEnd::Over), "although its endpoints are not back");
        assert_eq!(run.aborted(), Some("fra1 is down"), "the first cause");
    }

    #[test]
    fn it_lasts_only_while_its_client_is_there() {
        let mut run = lost_for(60);
        for second in 2..30 {
            run.renew(at(second * 1000));
            assert_eq!(run.pass(at(second * 1000 + 999)), None);
        }
        assert_eq!(run.deadline(), Some(at(29_000) + RENEW_WITHIN));
        assert_eq!(run.pass(at(35_000)), Some(DrillEnd::EndLoss));
        assert!(run.aborted().is_some_and(|why| why.contains("nothing came")));
        assert_eq!(run.leave(at(35_001)), None, "it has ended already");
        assert_eq!(lost_for(60).leave(at(1001)), Some(DrillEnd::EndLoss));
    }
}
