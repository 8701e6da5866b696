//! What a client measures at one server: for each question, until when an answer had a lost endpoint, which answers
//! broke a fence, and when the lost endpoints were back. All times are those of the client's clock. It counts and
//! remembers a few moments, so it takes the same memory for any number of answers.

use std::time::Duration;

use crate::drill::DrillQuestion;
use crate::model::Moment;

/// The end of the loss reaches the client through another connection than the answers. A run of answers with lost
/// endpoints that began less than this before is the restoration, and not stale. Judgment: far above the way of a
/// message on a busy machine, and far below the time in which anything recovers.
const MESSAGE_DELAY: Duration = Duration::from_millis(500);

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// When the question was sent.
    pub sent: Moment,
    /// When the answer came.
    pub received: Moment,
    /// The records in it: addresses, and names of aliases with the final dot. Empty for NODATA and for errors.
    pub records: Vec<String>,
}

/// The measurement at one server.
#[derive(Debug, Clone)]
pub struct Watch {
    questions: Vec<DrillQuestion>,
    /// By question.
    answers: Vec<WatchedAnswers>,
    injected: Option<Moment>,
    ended: Option<Moment>,
}

/// What was measured for one question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchedAnswers {
    /// Questions sent.
    pub sent: u64,
    /// Questions without an answer in time.
    pub timed_out: u64,
    /// Answers with a lost endpoint before the loss.
    pub before: u64,
    /// Answers with a lost endpoint during the loss.
    pub stale: u64,
    /// When the last of them came, and when its question was sent.
    pub last_stale: Option<[Moment; 2]>,
    /// The first answer without a lost endpoint after that, when it came.
    pub fresh_since: Option<Moment>,
    /// Answers without records, to questions that were sent during the loss.
    pub empty: u64,
    /// Records that the fence of these clients forbids.
    pub outside: u64,
    /// The first of those records.
    pub first_outside: Option<String>,
    /// The first answer with a lost endpoint after the end of the loss, when it came.
    pub back: Option<Moment>,
    /// Answers with lost endpoints without another between them, the last ones: when the question of the first was
    /// sent, and what was known before it.
    run: Option<Run>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    began: Moment,
    stale_before: u64,
    last_before: Option<[Moment; 2]>,
    fresh_before: Option<Moment>,
}

impl Watch {
    /// Nothing was measured yet.
    pub fn new(questions: &[DrillQuestion]) -> Watch {
        let answers = vec![WatchedAnswers::default(); questions.len()];
        Watch { questions: questions.to_vec(), answers, injected: None, ended: None }
    }

    /// A question was sent.
    pub fn sent(&mut self, question: usize) {
        if let Some(answers) = self.answers.get_mut(question) {
            answers.sent += 1;
        }
    }

    /// A question got no answer in time.
    pub fn timed_out(&mut self, question: usize) {
        if let Some(answers) = self.answers.get_mut(question) {
            answers.timed_out += 1;
        }
    }

    /// The loss began.
    pub fn inject(&mut self, at: Moment) {
        self.injected.get_or_insert(at);
    }

    /// The loss ended.
    pub fn end(&mut self, at: Moment) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(at);
        for answers in &mut self.answers {
            let is_restoration = |run: &Run| run.began + MESSAGE_DELAY > at && run.fresh_before.is_some();
            if let Some(run) = answers.run.take_if(|run| is_restoration(run)) {
                answers.back = answers.last_stale.map(|[received, _]| received);
                answers.stale = run.stale_before;
                (answers.last_stale, answers.fresh_since) = (run.last_before, run.fresh_before);
            }
        }
    }

    /// Takes in an answer.
    pub fn received(&mut self, question: usize, answer: &Answer) {
        let (Some(of), Some(answers)) = (self.questions.get(question), self.answers.get_mut(question)) else { return };
        let is_lost = answer.records.iter().any(|record| of.lost.contains(record));
        if let Some(allowed) = &of.allowed {
            let mut outside = answer.records.iter().filter(|record| !allowed.contains(record)).peekable();
            if let Some(first) = outside.peek() {
                answers.first_outside.get_or_insert_with(|| (*first).clone());
            }
            answers.outside += outside.count() as u64;
        }
        if self.injected.is_none_or(|injected| answer.sent < injected) {
            answers.before += u64::from(is_lost);
            return;
        }
        if let Some(ended) = self.ended {
            if is_lost && answer.sent >= ended {
                let back = answers.back.get_or_insert(answer.received);
                *back = (*back).min(answer.received);
            }
            return;
        }
        answers.empty += u64::from(answer.records.is_empty());
        match is_lost {
            true => {
                if answers.run.is_none() {
                    let (stale_before, last_before, fresh_before) =
                        (answers.stale, answers.last_stale, answers.fresh_since);
                    answers.run = Some(Run { began: answer.sent, stale_before, last_before, fresh_before });
                }
                answers.stale += 1;
                let last = answers.last_stale.map_or(answer.received, |[received, _]| received.max(answer.received));
                answers.last_stale = Some([last, answer.sent]);
                answers.fresh_since = None;
            }
            false => {
                answers.run = None;
                answers.fresh_since.get_or_insert(answer.received);
            }
        }
    }

    /// The questions with what was measured.
    pub fn results(&self) -> impl Iterator<Item = (&DrillQuestion, &WatchedAnswers)> {
        self.questions.iter().zip(&self.answers)
    }

    /// When the loss began.
    pub fn injected(&self) -> Option<Moment> {
        self.injected
    }

    /// When the loss ended.
    pub fn ended(&self) -> Option<Moment> {
        self.ended
    }

    /// Whether after the end of the loss every question that had a lost endpoint in an answer has one again. Others may
    /// never have one: with affinity a client gets one endpoint, which need not be a lost one.
    pub fn is_back(&self) -> bool {
        self.ended.is_some() && self.answers.iter().all(|answers| answers.back.is_some() || answers.stale == 0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::drill) fn question() -> DrillQuestion {
        DrillQuestion {
            name: "www.svc.example.".to_owned(),
            rtype: "A".to_owned(),
            client: None,
            class: "eu".to_owned(),
            probability: 1.0,
            rto_ms: None,
            lost: vec!["192.0.2.1".to_owned()],
            allowed: None,
        }
    }

    pub(in crate::drill) fn at(ms: u64) -> Moment {
        Moment::from_start(Duration::from_millis(ms))
    }

    /// An answer to a question of this moment that comes 2 ms later.
    pub(in crate::drill) fn answer(watch: &mut Watch, ms: u64, records: &[&str]) {
        watch.sent(0);
        let records = records.iter().map(|record| (*record).to_owned()).collect();
        watch.received(0, &Answer { sent: at(ms), received: at(ms + 2), records });
    }

    fn measured(watch: &Watch) -> &WatchedAnswers {
        watch.results().next().expect("one question").1
    }

    #[test]
    fn the_last_stale_answer_counts_and_what_follows_is_fresh() {
        let mut watch = Watch::new(&[question()]);
        answer(&mut watch, 900, &["192.0.2.1"]);
        watch.inject(at(1000));
        // This question was sent before the loss.
        answer(&mut watch, 999, &["192.0.2.1"]);
        for ms in (1000..3000).step_by(50) {
            answer(&mut watch, ms, &["192.0.2.1"]);
        }
        for ms in (3000..9000).step_by(50) {
            answer(&mut watch, ms, &["192.0.2.2"]);
        }
        watch.end(at(9000));
        assert!(!watch.is_back());
        answer(&mut watch, 9050, &["192.0.2.1"]);
        assert!(watch.is_back());
        let found = measured(&watch);
        assert_eq!((found.before, found.stale, found.empty), (2, 40, 0));
        assert_eq!(found.last_stale, Some([at(2952), at(2950)]));
        assert_eq!((found.fresh_since, found.back), (Some(at(3002)), Some(at(9052))));
    }

    #[test]
    fn answers_of_the_restoration_are_not_stale_although_its_message_comes_later() {
        let mut watch = Watch::new(&[question()]);
        watch.inject(at(0));
        answer(&mut watch, 10, &["192.0.2.1"]);
        answer(&mut watch, 60, &["192.0.2.2"]);
        answer(&mut watch, 5000, &["192.0.2.1"]);
        answer(&mut watch, 5050, &["192.0.2.1"]);
        watch.end(at(5070));
        let found = measured(&watch);
        assert_eq!((found.stale, found.last_stale), (1, Some([at(12), at(10)])));
        assert_eq!((found.fresh_since, found.back), (Some(at(62)), Some(at(5052))));
    }

    #[test]
    fn an_answer_that_never_recovered_stays_stale() {
        let mut watch = Watch::new(&[question()]);
        watch.inject(at(0));
        answer(&mut watch, 10, &["192.0.2.1"]);
        answer(&mut watch, 60, &["192.0.2.1"]);
        watch.end(at(100));
        assert_eq!((measured(&watch).last_stale, measured(&watch).fresh_since), (Some([at(62), at(60)]), None));
    }

    #[test]
    fn answers_outside_the_fence_and_empty_ones_are_counted() {
        let fenced = DrillQuestion { allowed: Some(vec!["192.0.2.1".to_owned()]), ..question() };
        let mut watch = Watch::new(&[fenced]);
        watch.inject(at(0));
        answer(&mut watch, 10, &["192.0.2.1", "192.0.2.9"]);
        answer(&mut watch, 20, &[]);
        let found = measured(&watch);
        assert_eq!((found.outside, found.first_outside.as_deref(), found.empty), (1, Some("192.0.2.9"), 1));
    }
}
