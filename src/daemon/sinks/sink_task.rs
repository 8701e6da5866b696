//! The task of one sink: reads the log, sends what [`Delivery`] wants, and reports.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::SinkSettings;
use crate::control::{Journal, JournalEvent};
use crate::daemon::sinks::END_WAIT;
use crate::daemon::sinks::positions::{SavedSink, SinkPositions};
use crate::fleet::events::EventId;
use crate::fleet::nats::token;
use crate::model::Moment;
use crate::printable;
use crate::sinks::{
    DeadLetter, Delivery, DeliveryLimits, EndedTry, FailureKind, LostNumbers, LostRange, OutgoingEvent, Outlet,
    SendFailure, SinkBoard, SinkError, SinkNotice, SinkNotices, SinkPosition, SinkState, SinkSummary, WaitingEvents,
};
use crate::timer;

/// Most events that are taken from the log in one step, so that the others get their turn.
const MAX_TAKEN: usize = 512;
/// From one write of the position to the next: what was confirmed since then is sent again after a crash (judgment).
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How often a sink without a position looks whether numbers of events have begun (judgment).
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Most dead letters that are listed (judgment: the log has all of them).
const MAX_DEAD_LETTERS: usize = 16;
/// Most endpoints whose waiting events are listed (judgment: enough to see what they have in common).
const MAX_WAITING: usize = 8;

type Try = Pin<Box<dyn Future<Output = (u64, Result<(), SendFailure>)> + Send>>;

/// One sink.
pub(super) struct SinkTask {
    name: Arc<str>,
    at: usize,
    limits: DeliveryLimits,
    journal: Arc<Journal>,
    positions: Arc<SinkPositions>,
    board: Arc<SinkBoard>,
    outlet: Arc<Outlet>,
    dead_letters: Vec<DeadLetter>,
    notices: SinkNotices,
    /// Why a try failed last.
    failed: Option<SendFailure>,
}

impl SinkTask {
    pub(super) fn new(
        settings: &SinkSettings,
        outlet: Outlet,
        at: usize,
        (journal, positions, board): (Arc<Journal>, Arc<SinkPositions>, Arc<SinkBoard>),
    ) -> SinkTask {
        let SinkSettings { name, timeout: _, tries, concurrency, to: _ } = settings;
        SinkTask {
            name: name.as_str().into(),
            at,
            limits: DeliveryLimits { at_a_time: *concurrency, tries: *tries },
            journal,
            positions,
            board,
            outlet: Arc::new(outlet),
            dead_letters: Vec::new(),
            notices: SinkNotices::default(),
            failed: None,
        }
    }

    /// Sends events until `stop`. While `held`, nothing is sent, and the task counts in `resting`.
    pub(super) async fn run(
        mut self,
        mut held: watch::Receiver<bool>,
        resting: Arc<watch::Sender<usize>>,
        stop: CancellationToken,
    ) {
        let Some(mut delivery) = self.begin(&stop).await else { return };
        let mut shown = self.journal.shown();
        let mut tries = FuturesUnordered::<Try>::new();
        let mut saved = delivery.position();
        self.save(&saved);
        let mut save_at: Option<Moment> = None;
        loop {
            shown.borrow_and_update();
            self.take(&mut delivery);
            self.send(&mut delivery, &tries);
            self.report(&delivery);
            let position = delivery.position();
            if position != saved && save_at.is_none() {
                save_at = Some(clock::now() + SAVE_EVERY);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                _ = becomes(&mut held, true) => {
                    self.end(&mut delivery, &mut tries).await;
                    resting.send_modify(|count| *count += 1);
                    let is_released = tokio::select! {
                        is_released = becomes(&mut held, false) => is_released,
                        () = stop.cancelled() => false,
                    };
                    resting.send_modify(|count| *count -= 1);
                    if !is_released {
                        return;
                    }
                    (saved, save_at) = (delivery.position(), None);
                }
                Some((number, result)) = tries.next(), if !tries.is_empty() => {
                    self.ended(&mut delivery, number, result);
                }
                // The journal lives as long as this task.
                _ = shown.changed() => {}
                () = timer::until(delivery.wake()) => {}
                () = self.outlet.is_back(), if delivery.is_failing() => delivery.note_back(),
                () = timer::until(self.notices.next()) => self.sum_up(&delivery),
                () = timer::until(save_at) => {
                    self.save(&position);
                    (saved, save_at) = (position, None);
                }
            }
        }
        self.end(&mut delivery, &mut tries).await;
    }

    /// Where the sink goes on; `None`: the server stops. A sink without a position gets the events from this start on:
    /// an old outage must not look like a new one.
    async fn begin(&mut self, stop: &CancellationToken) -> Option<Delivery> {
        if let Some(saved) = self.positions.of_sink(&self.name) {
            let position = saved.position();
            self.dead_letters = saved.dead_letters;
            return Some(Delivery::new(self.limits, position));
        }
        while self.journal.is_held() {
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = stop.cancelled() => return None,
            }
        }
        Some(Delivery::new(self.limits, SinkPosition { last: self.journal.begun(), open: Vec::new() }))
    }

    /// Takes the new events of the log.
    fn take(&mut self, delivery: &mut Delivery) {
        if let Some(lost) = delivery.note_log(self.journal.range(0.0).floor, self.journal.last()) {
            self.lost(lost);
        }
        loop {
            let before = delivery.taken();
            let events = self.journal.visible(before, MAX_TAKEN);
            delivery.take(events.iter().map(|event| (event.number(), event.endpoint.as_str().into())));
            if delivery.taken() == before {
                return;
            }
        }
    }

    /// Begins the tries that may begin.
    fn send(&mut self, delivery: &mut Delivery, tries: &FuturesUnordered<Try>) {
        while let Some(number) = delivery.next(clock::now()) {
            let found = self.journal.visible(number.saturating_sub(1), 1).pop();
            let Some(event) = found.filter(|event| event.number() == number).and_then(|event| outgoing(&event)) else {
                delivery.skip(number);
                // Without this the number was given to no event.
                if number <= self.journal.range(0.0).floor {
                    self.lost(LostNumbers { first: number, last: number, count: 1 });
                }
                continue;
            };
            let outlet = self.outlet.clone();
            tries.push(Box::pin(async move { (number, outlet.send(&event).await) }));
        }
    }

    /// A try ended.
    fn ended(&mut self, delivery: &mut Delivery, number: u64, result: Result<(), SendFailure>) {
        let (now, random) = (clock::now(), clock::entropy());
        let ended = delivery.ended(number, result.as_ref().copied(), now, random);
        let state = state_of(delivery);
        let notice = self.notices.tried(result.is_ok(), state, now);
        let Err(failure) = result else {
            self.board.update(self.at, clock::unix_seconds(), |report| report.delivered += 1);
            if notice == Some(SinkNotice::Recovers) {
                tracing::info!(sink = %self.name, behind = self.behind(delivery), "the sink takes events again");
            }
            return;
        };
        let (at, why) = (clock::unix_seconds(), failure.to_string());
        self.board.update(self.at, at, |report| {
            report.failed += 1;
            report.last_error = Some(SinkError { at, why: failure.why.clone(), hint: failure.hint.to_owned() });
        });
        let (sink, tries) = (&*self.name, self.limits.tries);
        match ended {
            EndedTry::Delivered | EndedTry::Again => {}
            EndedTry::Lost => self.lost(LostNumbers { first: number, last: number, count: 1 }),
            EndedTry::Off => {
                tracing::error!(sink, why, "the sink wants no more events: nothing is sent to it until a restart");
            }
            EndedTry::DeadLetter => {
                let id = format!("{}/{number}", self.journal.node());
                if self.notices.refused(now) {
                    tracing::error!(sink, event = id, why, "the sink refused this event too often: it is given up");
                }
                self.dead_letters.push(DeadLetter { id, at, why: failure.why.clone() });
                let extra = self.dead_letters.len().saturating_sub(MAX_DEAD_LETTERS);
                self.dead_letters.drain(..extra);
                self.board.update(self.at, clock::unix_seconds(), |report| report.dead_letters += 1);
            }
        }
        let sink = &*self.name;
        match (notice, failure.kind) {
            (Some(SinkNotice::Fails), FailureKind::Refused) => {
                tracing::warn!(sink, why, tries, "the sink refuses events: each is given up after so many tries");
            }
            (Some(SinkNotice::Fails), FailureKind::Broken | FailureKind::Away | FailureKind::Gone) => {
                tracing::warn!(sink, why, "the sink takes no events: they stay in the log, and are sent again");
            }
            (Some(SinkNotice::Recovers) | None, _) => {}
        }
        self.failed = Some(failure);
    }

    /// Logs what repeated and had no line of its own.
    fn sum_up(&mut self, delivery: &Delivery) {
        let Some(summary) = self.notices.sum_up(clock::now()) else { return };
        let SinkSummary { within, failures, recoveries, dead_letters, is_failing } = summary;
        let (sink, behind, waiting_endpoints) = (&*self.name, self.behind(delivery), delivery.held_up_keys());
        let why = self.failed.as_ref().map_or_else(String::new, SendFailure::to_string);
        let within = humantime::format_duration(within);
        if is_failing || dead_letters > 0 {
            tracing::warn!(
                sink, %within, failures, recoveries, dead_letters, waiting_endpoints, behind, why,
                "more tries of the sink failed"
            );
        } else {
            tracing::info!(
                sink, %within, failures, recoveries, behind, why, "more tries of the sink failed, and it works now"
            );
        }
    }

    fn lost(&mut self, lost: LostNumbers) {
        let LostNumbers { first, last, count } = lost;
        let sink = &*self.name;
        tracing::error!(sink, first, last, count, "the sink was away so long that the log no longer has these events");
        self.board.update(self.at, clock::unix_seconds(), |report| {
            report.lost += count;
            report.lost_range = Some(LostRange { first, last });
        });
    }

    fn behind(&self, delivery: &Delivery) -> u64 {
        (self.journal.count_after(delivery.taken()) + delivery.open()) as u64
    }

    fn report(&self, delivery: &Delivery) {
        let waiting_endpoints = delivery.held_up_keys() as u64;
        let state = state_of(delivery);
        let (now, unix_now) = (clock::now(), clock::unix_seconds());
        let time_of = |at: Moment| unix_now + at.since(now).as_secs_f64() - now.since(at).as_secs_f64();
        let next_try = match state {
            SinkState::Ok | SinkState::Off => None,
            SinkState::Waiting => delivery.held_up().filter_map(|held_up| held_up.next_try).min(),
            SinkState::Retrying => delivery.wake(),
        };
        let next_try = next_try.map(time_of);
        let waiting = delivery.held_up().take(MAX_WAITING).map(|held_up| WaitingEvents {
            subject: held_up.key.to_string(),
            events: held_up.events as u64,
            since: time_of(held_up.since),
            next_try: held_up.next_try.map(time_of).filter(|_| state != SinkState::Off),
            why: held_up.why.to_string(),
            hint: held_up.hint.to_owned(),
        });
        let waiting = waiting.collect();
        let (behind, position) = (self.behind(delivery), delivery.done_up_to());
        self.board.update(self.at, unix_now, |report| {
            (report.state, report.behind, report.position, report.next_try) = (state, behind, position, next_try);
            (report.waiting_endpoints, report.waiting) = (waiting_endpoints, waiting);
            if report.last_dead_letters.last() != self.dead_letters.last() {
                report.last_dead_letters.clone_from(&self.dead_letters);
            }
        });
    }

    /// Waits for the tries that are under way, breaks off those that take long, and has the position written.
    async fn end(&mut self, delivery: &mut Delivery, tries: &mut FuturesUnordered<Try>) {
        let ending = async {
            while let Some((number, result)) = tries.next().await {
                self.ended(delivery, number, result);
            }
        };
        // What is broken off is sent again.
        let _ = tokio::time::timeout(END_WAIT, ending).await;
        tries.clear();
        delivery.break_off(clock::now());
        self.report(delivery);
        self.save(&delivery.position());
    }

    fn save(&self, position: &SinkPosition) {
        let SinkPosition { last, open } = position.clone();
        self.positions.put(&self.name, SavedSink { last, open, dead_letters: self.dead_letters.clone() });
    }
}

/// What the sink does.
fn state_of(delivery: &Delivery) -> SinkState {
    match (delivery.is_off(), delivery.is_failing()) {
        (true, _) => SinkState::Off,
        (false, true) => SinkState::Retrying,
        (false, false) if delivery.held_up_keys() > 0 => SinkState::Waiting,
        (false, false) => SinkState::Ok,
    }
}

/// An event as it is sent; `None` if it has no number.
fn outgoing(event: &JournalEvent) -> Option<OutgoingEvent> {
    let id = EventId::parse(&event.id)?;
    let body = printable::json(&event.to_cloud_event()?).into();
    let at_millis = (event.at * 1000.0) as u64;
    let id = format!("{}/{}", token(&id.node), id.number);
    Some(OutgoingEvent { id, subject: event.endpoint.as_str().to_owned(), at_millis, body })
}

/// Waits until it has this value; `false`: the other end has gone.
async fn becomes(held: &mut watch::Receiver<bool>, wanted: bool) -> bool {
    held.wait_for(|held| *held == wanted).await.is_ok()
}
