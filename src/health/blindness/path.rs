//! What the probes of one check show about the path to it: whether anything came back, and when. Pure.

use crate::model::Moment;

/// What one probe shows about the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathEvidence {
    /// The check succeeded.
    Success,
    /// The check failed by an answer of the other side.
    Answer,
    /// The check failed, and the failure says nothing about the path: the exit code of a program.
    Inconclusive,
    /// The kernel of the other side granted a connection when the answer to an earlier request was overdue. So the path
    /// works and the process hangs. When its accept queue is full, no more connections are granted.
    Hang {
        /// When the last connection was granted.
        answered: Moment,
    },
    /// No complete answer came in time.
    Silence {
        /// When a connection was granted nevertheless.
        answered: Option<Moment>,
    },
}

/// What is known about the path to one check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathState {
    last_answer: Option<Moment>,
    unanswered_since: Option<Moment>,
    is_silent: bool,
    is_proven: bool,
}

impl PathState {
    /// Takes in a probe that ended at `now`.
    pub fn update(&mut self, evidence: PathEvidence, now: Moment) {
        match evidence {
            PathEvidence::Success => *self = PathState { last_answer: Some(now), ..PathState::default() },
            PathEvidence::Answer => {
                *self = PathState { last_answer: Some(now), is_proven: true, ..PathState::default() };
            }
            PathEvidence::Inconclusive => self.unanswered_since = self.unanswered_since.or(Some(now)),
            PathEvidence::Hang { answered } => {
                self.is_proven = true;
                self.add_silence(Some(answered), now);
            }
            PathEvidence::Silence { answered } => {
                // A connection that was granted after a failure without an answer proves the path, although the check
                // fails. One that was granted before that failure ended may be older than the break of the path.
                self.is_proven |= answered.is_some_and(|at| self.unanswered_since.is_some_and(|since| at > since));
                self.add_silence(answered, now);
            }
        }
    }

    fn add_silence(&mut self, answered: Option<Moment>, now: Moment) {
        self.last_answer = self.last_answer.max(answered);
        self.unanswered_since = self.unanswered_since.or(Some(now));
        self.is_silent = true;
    }

    /// Forgets the failures.
    pub fn forget_failures(&mut self) {
        *self = PathState { last_answer: self.last_answer, ..PathState::default() };
    }

    /// When something last came from the check.
    pub fn last_answer(&self) -> Option<Moment> {
        self.last_answer
    }

    /// Whether something came from the check at `since` or later.
    pub fn has_answered_since(&self, since: Moment) -> bool {
        self.last_answer.is_some_and(|answered| answered >= since)
    }

    /// When the first failure without an answer ended, counted from the last answer.
    pub fn unanswered_since(&self) -> Option<Moment> {
        self.unanswered_since
    }

    /// Whether one of those failures was silence.
    pub fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Whether one of the failures since the last success proves that the path works.
    pub fn is_proven(&self) -> bool {
        self.is_proven
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state after probes a second apart: `+` success, `!` a failure by an answer, `e` an exit code, `-` silence,
    /// `c` silence with a connection half a second before, `h` the same with an answer that was overdue by then.
    fn after(probes: &str) -> PathState {
        let mut path = PathState::default();
        for (nth, probe) in probes.chars().enumerate() {
            let at = |ms: u64| Moment::START + std::time::Duration::from_millis(ms);
            let now = 1000 * (nth as u64 + 1);
            let evidence = match probe {
                '+' => PathEvidence::Success,
                '!' => PathEvidence::Answer,
                'e' => PathEvidence::Inconclusive,
                'h' => PathEvidence::Hang { answered: at(now - 500) },
                'c' => PathEvidence::Silence { answered: Some(at(now - 500)) },
                _ => PathEvidence::Silence { answered: None },
            };
            path.update(evidence, at(now));
        }
        path
    }

    #[test]
    fn an_answer_among_the_failures_proves_the_path() {
        for (probes, is_proven) in [
            ("+", false),
            ("+---", false),
            ("+!", true),
            ("+--!", true),
            ("+!--", true),
            ("+!+--", false),
            ("+eee", false),
            // One connection may have been granted before the path broke. The next one can't have been.
            ("+c--", false),
            ("+cc-", true),
            ("+-c", true),
            ("+h", true),
            ("+h--", true),
            ("+-h-", true),
            ("+h-+--", false),
        ] {
            assert_eq!(after(probes).is_proven(), is_proven, "{probes}");
        }
    }

    #[test]
    fn silence_begins_with_the_first_failure_without_an_answer() {
        let since = |probes| after(probes).unanswered_since().map(|at| at.since(Moment::START).as_secs());
        assert_eq!(since("+--"), Some(2));
        assert_eq!(since("+!--"), Some(3));
        assert_eq!(since("+ee-"), Some(2));
        assert_eq!(since("+--!"), None);
        assert!(!after("+ee").is_silent() && after("+ee-").is_silent());
        let mut path = after("+cc");
        path.forget_failures();
        assert!(!path.is_proven() && path.unanswered_since().is_none() && path.last_answer().is_some());
    }
}
