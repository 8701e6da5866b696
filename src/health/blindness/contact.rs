//! What the probes of one check found of the path to it: whether anything came back, and when. Pure.

use crate::model::Moment;

/// What one probe found of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The check succeeded.
    Success,
    /// It failed by an answer of the other side.
    Answer,
    /// It failed, and its end says nothing of the path: a program's exit code.
    Inconclusive,
    /// Its kernel granted a connection when the answer to an earlier question was overdue: the path works, and the
    /// process hangs. Once its accept queue is full, nothing more comes from it.
    Hang {
        /// When a connection was last granted.
        answered: Moment,
    },
    /// Nothing came back in time, or not all.
    Silence {
        /// When something came nevertheless: a connection was granted.
        answered: Option<Moment>,
    },
}

/// What is known of the path to one check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contact {
    answered: Option<Moment>,
    unanswered_since: Option<Moment>,
    is_silent: bool,
    is_proven: bool,
}

impl Contact {
    /// Takes in a probe that ended at `now`.
    pub fn note(&mut self, found: Found, now: Moment) {
        match found {
            Found::Success => *self = Contact { answered: Some(now), ..Contact::default() },
            Found::Answer => *self = Contact { answered: Some(now), is_proven: true, ..Contact::default() },
            Found::Inconclusive => self.unanswered_since = self.unanswered_since.or(Some(now)),
            Found::Hang { answered } => {
                self.is_proven = true;
                self.note_silence(Some(answered), now);
            }
            Found::Silence { answered } => {
                // Something came after a failure without an answer: the path works, and the check fails all the same.
                // What came before the first such failure ended may be older than the end of the path.
                self.is_proven |= answered.is_some_and(|at| self.unanswered_since.is_some_and(|since| at > since));
                self.note_silence(answered, now);
            }
        }
    }

    fn note_silence(&mut self, answered: Option<Moment>, now: Moment) {
        self.answered = self.answered.max(answered);
        self.unanswered_since = self.unanswered_since.or(Some(now));
        self.is_silent = true;
    }

    /// Forgets the failures.
    pub fn begin_afresh(&mut self) {
        *self = Contact { answered: self.answered, ..Contact::default() };
    }

    /// When something last came from it.
    pub fn answered(&self) -> Option<Moment> {
        self.answered
    }

    /// Whether something came from it at `since` or later.
    pub fn has_answered_since(&self, since: Moment) -> bool {
        self.answered.is_some_and(|answered| answered >= since)
    }

    /// When the first failure without an answer ended since the last answer.
    pub fn unanswered_since(&self) -> Option<Moment> {
        self.unanswered_since
    }

    /// Whether one of those failures was silence.
    pub fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Whether one of the failures since the last success shows that the path works.
    pub fn is_proven(&self) -> bool {
        self.is_proven
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probes in words, a second apart: `+` success, `!` an answer that is a failure, `e` an exit code, `-` silence,
    /// `c` silence after a connection half a second earlier, `h` the same when an answer was overdue by then.
    fn after(words: &str) -> Contact {
        let mut contact = Contact::default();
        for (nth, word) in words.chars().enumerate() {
            let at = |ms: u64| Moment::START + std::time::Duration::from_millis(ms);
            let now = 1000 * (nth as u64 + 1);
            let found = match word {
                '+' => Found::Success,
                '!' => Found::Answer,
                'e' => Found::Inconclusive,
                'h' => Found::Hang { answered: at(now - 500) },
                'c' => Found::Silence { answered: Some(at(now - 500)) },
                _ => Found::Silence { answered: None },
            };
            contact.note(found, at(now));
        }
        contact
    }

    #[test]
    fn an_answer_among_the_failures_proves_the_path() {
        for (words, is_proven) in [
            ("+", false),
            ("+---", false),
            ("+!", true),
            ("+--!", true),
            ("+!--", true),
            ("+!+--", false),
            ("+eee", false),
            // One connection that was granted may have been before the path broke; the next wasn't.
            ("+c--", false),
            ("+cc-", true),
            ("+-c", true),
            ("+h", true),
            ("+h--", true),
            ("+-h-", true),
            ("+h-+--", false),
        ] {
            assert_eq!(after(words).is_proven(), is_proven, "{words}");
        }
    }

    #[test]
    fn silence_begins_with_the_first_failure_without_an_answer() {
        let since = |words| after(words).unanswered_since().map(|at| at.since(Moment::START).as_secs());
        assert_eq!(since("+--"), Some(2));
        assert_eq!(since("+!--"), Some(3));
        assert_eq!(since("+ee-"), Some(2));
        assert_eq!(since("+--!"), None);
        assert!(!after("+ee").is_silent() && after("+ee-").is_silent());
        let mut contact = after("+cc");
        contact.begin_afresh();
        assert!(!contact.is_proven() && contact.unanswered_since().is_none() && contact.answered().is_some());
    }
}
