//! Which subjects of reports a server subscribes to. A value: it gets what arrived and the time.
//!
//! Normally the server subscribes to all reports with one wildcard. The messages of all vantages then wait in one
//! queue, so a vantage that floods its own subject fills it, and the messages of the others are lost. The bounds of the
//! collector come too late for that: they apply to messages that were read. So while a vantage floods, the server
//! subscribes to the subjects of the other vantages one by one, and the NATS server does not even send the flood.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::fleet::collector::MAX_VANTAGES;
use crate::model::Moment;

/// Messages are counted for this time.
const WINDOW: Duration = Duration::from_secs(1);
/// A sender of more messages in a [`WINDOW`] floods. After a break in the network a vantage sends up to 256 at once.
const MOST_MESSAGES: u64 = 1024;
/// A sender of more octets in a [`WINDOW`] floods. After a break in the network a vantage sends up to 8 MiB at once.
const MOST_OCTETS: u64 = 32 * 1024 * 1024;
/// More messages that were lost in a [`WINDOW`] because the queue was full are no burst of a fleet whose network is
/// back (judgment: four times what the queue holds). What was read is then a sample of what arrived.
const MANY_LOST: u64 = 2048;
/// Fewer messages that are lost in each of so many [`WINDOW`]s in a row are no burst either: a server that gets little
/// processor time reads a flood slowly, and loses the reports of others with it. Judgment: a fleet whose network is
/// back has sent its backlog after two or three seconds.
const LOSING_WINDOWS: u32 = 4;
/// Of such a sample a sender floods that sent more than these, and more than half of all. Judgment: no vantage sends as
/// many in a second of peace.
const MOST_OF_A_FULL_QUEUE: u64 = 64;
/// All vantages that are not known may send together as much as so many known ones (judgment: a fleet that starts).
const STRANGERS_COUNT_AS: u64 = 16;
/// How long a flood is not read, at first and at most. It doubles with each flood that follows.
const EXCLUDED_FOR: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(960)];
/// A sender that has not flooded for this time is one that never did. Longer than the longest exclusion, or the
/// exclusions would never grow to it.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3600);
/// A sender that was silent for this time is not subscribed to on its own.
const SILENT_AFTER: Duration = Duration::from_secs(3600);

/// What a server reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportSubjects {
    /// The reports of all vantages.
    All,
    /// These subjects only, sorted.
    Only(Vec<String>),
}

/// What changed, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FloodChange {
    /// The subject floods, and is not read for this time. `None`: subjects that no known vantage has.
    Began(Option<String>, Duration),
    /// It is read again.
    Ended(Option<String>),
}

/// Notices floods.
#[derive(Debug, Default)]
pub struct FloodGuard {
    /// By subject; at most [`MAX_VANTAGES`]. The hash needs no secret for so few.
    senders: HashMap<String, Sender, FixedState>,
    /// All other subjects together.
    strangers: Sender,
    window: Window,
}

/// What arrived since the beginning of a window.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    began: Moment,
    messages: u64,
    /// Messages that were lost from the start of the process to this beginning.
    lost_before: u64,
    /// How many windows before this one lost messages, without a pause.
    losing_before: u32,
    /// Whether more were lost since than a burst loses.
    has_lost: bool,
}

/// What is known of a sender.
#[derive(Debug, Clone, Copy, Default)]
struct Sender {
    messages: u64,
    octets: u64,
    received_at: Moment,
    excluded_until: Option<Moment>,
    /// How long the last exclusion was, and when it began.
    last_flood: Option<(Duration, Moment)>,
}

impl FloodGuard {
    /// Counts a message on `subject` that arrived at `now`. `is_report`: it was accepted as one.
    pub fn count(&mut self, subject: &str, octets: usize, is_report: bool, now: Moment) {
        let has_room = self.senders.len() < MAX_VANTAGES;
        let sender = match self.senders.get_mut(subject) {
            Some(sender) => sender,
            None if is_report && has_room => self.senders.entry(subject.to_owned()).or_default(),
            None => &mut self.strangers,
        };
        sender.messages += 1;
        sender.octets += octets as u64;
        self.window.messages += 1;
        if is_report {
            sender.received_at = now;
        }
    }

    /// Ends and begins exclusions, and returns them. Called a few times a second. `lost`: the messages that were lost
    /// since the start of the process because the queue was full.
    pub fn advance(&mut self, lost: u64, now: Moment) -> Vec<FloodChange> {
        let lost_now = lost.saturating_sub(self.window.lost_before);
        let losing = if lost_now > 0 { self.window.losing_before + 1 } else { 0 };
        self.window.has_lost = lost_now > MANY_LOST || losing >= LOSING_WINDOWS;
        let window = self.window;
        let mut changes = Vec::new();
        for (subject, sender) in &mut self.senders {
            changes.extend(sender.advance(&window, 1, now, || Some(subject.clone())));
        }
        changes.extend(self.strangers.advance(&window, STRANGERS_COUNT_AS, now, || None));
        if window.has_ended(now) {
            self.window = Window { began: now, lost_before: lost, losing_before: losing, ..Window::default() };
        }
        self.senders.retain(|_, sender| sender.excluded_until.is_some() || !sender.is_silent(now));
        changes
    }

    /// What to read now.
    pub fn subjects(&self, now: Moment) -> ReportSubjects {
        let is_excluded = |sender: &Sender| sender.excluded_until.is_some();
        if !is_excluded(&self.strangers) && !self.senders.values().any(is_excluded) {
            return ReportSubjects::All;
        }
        let read = self.senders.iter().filter(|(_, sender)| !is_excluded(sender) && !sender.is_silent(now));
        let mut subjects: Vec<String> = read.map(|(subject, _)| subject.clone()).collect();
        subjects.sort_unstable();
        ReportSubjects::Only(subjects)
    }
}

impl Window {
    fn has_ended(&self, now: Moment) -> bool {
        now.since(self.began) >= WINDOW
    }

    /// Whether what `sender` sent is more than `vantages` vantages may send.
    fn is_flood(&self, sender: &Sender, vantages: u64) -> bool {
        let fills_queue =
            self.has_lost && sender.messages > MOST_OF_A_FULL_QUEUE && sender.messages > self.messages / 2;
        fills_queue || sender.messages > MOST_MESSAGES * vantages || sender.octets > MOST_OCTETS * vantages
    }
}

impl Sender {
    fn advance(
        &mut self,
        window: &Window,
        vantages: u64,
        now: Moment,
        subject: impl Fn() -> Option<String>,
    ) -> Option<FloodChange> {
        let floods = window.is_flood(self, vantages);
        if floods || window.has_ended(now) {
            (self.messages, self.octets) = (0, 0);
        }
        match self.excluded_until {
            // What had arrived before the exclusion is no second flood.
            Some(until) if now >= until => {
                self.excluded_until = None;
                Some(FloodChange::Ended(subject()))
            }
            None if floods => {
                let time = match self.last_flood {
                    Some((time, at)) if now.since(at) < time + FORGIVEN_AFTER => (time * 2).min(EXCLUDED_FOR[1]),
                    Some(_) | None => EXCLUDED_FOR[0],
                };
                self.last_flood = Some((time, now));
                self.excluded_until = Some(now + time);
                Some(FloodChange::Began(subject(), time))
            }
            Some(_) | None => None,
        }
    }

    fn is_silent(&self, now: Moment) -> bool {
        now.since(self.received_at) > SILENT_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_start(Duration::from_millis(millis))
    }

    fn flood(guard: &mut FloodGuard, subject: &str, is_report: bool, now: Moment) {
        (0..=MOST_MESSAGES).for_each(|_| guard.count(subject, 1, is_report, now));
    }

    #[test]
    fn while_a_vantage_floods_the_others_are_read_one_by_one() {
        let mut guard = FloodGuard::default();
        for subject in ["r.b", "r.a", "r.flooder"] {
            guard.count(subject, 100, true, at(0));
        }
        assert_eq!((guard.advance(0, at(250)), guard.subjects(at(250))), (vec![], ReportSubjects::All));
        // Most of a flood is not accepted.
        flood(&mut guard, "r.flooder", false, at(300));
        assert_eq!(guard.advance(0, at(500)), [FloodChange::Began(Some("r.flooder".to_owned()), EXCLUDED_FOR[0])]);
        let others = ReportSubjects::Only(vec!["r.a".to_owned(), "r.b".to_owned()]);
        assert_eq!(guard.subjects(at(500)), others);
        // What was in the queue prolongs nothing.
        flood(&mut guard, "r.flooder", false, at(600));
        assert_eq!((guard.advance(0, at(750)), guard.subjects(at(750))), (vec![], others));
        assert_eq!(guard.advance(0, at(60_500)), [FloodChange::Ended(Some("r.flooder".to_owned()))]);
        assert_eq!(guard.subjects(at(60_500)), ReportSubjects::All);
    }

    #[test]
    fn each_further_flood_is_excluded_for_longer_until_there_was_none_for_long() {
        let mut guard = FloodGuard::default();
        guard.count("r.flooder", 100, true, at(0));
        let (mut now, mut times) = (at(0), Vec::new());
        for _ in 0..7 {
            flood(&mut guard, "r.flooder", true, now);
            let began = guard.advance(0, now);
            let [FloodChange::Began(_, time)] = &began[..] else { panic!("{began:?}") };
            times.push(time.as_secs());
            now = now + *time;
            assert_eq!(guard.advance(0, now).len(), 1, "it is read again");
        }
        assert_eq!(times, [60, 120, 240, 480, 960, 960, 960]);
        now = now + FORGIVEN_AFTER;
        flood(&mut guard, "r.flooder", true, now);
        assert_eq!(guard.advance(0, now), [FloodChange::Began(Some("r.flooder".to_owned()), EXCLUDED_FOR[0])]);
    }

    #[test]
    fn as_much_as_a_vantage_may_send_is_no_flood_however_long_it_lasts() {
        let mut guard = FloodGuard::default();
        for step in 0..400 {
            let now = at(step * 250);
            (0..MOST_MESSAGES / 5).for_each(|_| guard.count("r.a", 4096, true, now));
            assert_eq!((guard.advance(0, now), guard.subjects(now)), (vec![], ReportSubjects::All));
        }
    }

    #[test]
    fn where_messages_were_lost_a_sample_of_the_flood_is_enough() {
        let mut guard = FloodGuard::default();
        for subject in ["r.a", "r.flooder"] {
            (0..20).for_each(|_| guard.count(subject, 100, true, at(0)));
        }
        assert_eq!(guard.advance(MANY_LOST + 1, at(250)), [], "many vantages that sent at once after a break");
        (0..80).for_each(|_| guard.count("r.flooder", 1, false, at(300)));
        assert_eq!(guard.advance(MANY_LOST + 1, at(1250)).len(), 1);
        (0..80).for_each(|_| guard.count("r.a", 1, true, at(1300)));
        assert_eq!(guard.advance(MANY_LOST + 1, at(1500)), [], "nothing was lost since");
    }

    #[test]
    fn a_server_that_reads_slowly_notices_a_flood_by_losses_that_do_not_end() {
        let mut guard = FloodGuard::default();
        guard.count("r.a", 100, true, at(0));
        let second = |guard: &mut FloodGuard, nth: u64, lost: u64| {
            (0..80).for_each(|_| guard.count("r.unknown", 1, false, at(nth * 1000)));
            guard.advance(lost, at(nth * 1000 + 999)).len() + guard.advance(lost, at(nth * 1000 + 1000)).len()
        };
        // A backlog of three seconds, and one lost message later.
        let losses = [100, 200, 300, 300, 301];
        assert_eq!(losses.iter().zip(1..).map(|(lost, nth)| second(&mut guard, nth, *lost)).sum::<usize>(), 0);
        let began: Vec<usize> = (1..5).map(|more| second(&mut guard, 5 + more, 301 + more)).collect();
        assert_eq!(began, [0, 0, 1, 0], "the fourth second with losses");
    }

    #[test]
    fn few_messages_of_many_octets_are_a_flood() {
        let mut guard = FloodGuard::default();
        (0..40).for_each(|_| guard.count("r.a", 1 << 20, true, at(0)));
        assert_eq!(guard.advance(0, at(1)).len(), 1);
    }

    #[test]
    fn subjects_that_nobody_has_are_one_sender_and_take_no_memory() {
        let mut guard = FloodGuard::default();
        guard.count("r.a", 100, true, at(0));
        for nth in 0..=MOST_MESSAGES {
            guard.count(&format!("r.x{nth}"), 1, false, at(0));
        }
        assert_eq!(guard.advance(0, at(0)), [], "a fleet may start");
        for nth in 0..=STRANGERS_COUNT_AS * MOST_MESSAGES {
            guard.count(&format!("r.x{nth}"), 1, false, at(0));
        }
        assert_eq!(guard.advance(0, at(1)), [FloodChange::Began(None, EXCLUDED_FOR[0])]);
        assert_eq!(guard.subjects(at(1)), ReportSubjects::Only(vec!["r.a".to_owned()]));
        for nth in 0..2 * MAX_VANTAGES {
            guard.count(&format!("r.y{nth}"), 1, true, at(0));
        }
        assert_eq!(guard.senders.len(), MAX_VANTAGES);
        guard.advance(0, at(4_000_000));
        assert_eq!(guard.senders.len(), 0, "who was silent for long is forgotten");
    }
}
