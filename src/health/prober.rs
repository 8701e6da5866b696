//! The loop that probes. It gets the checks that are due from the schedule, probes them, passes the measurements to the
//! detectors, and publishes the observations. The decisions are made by the values that it owns; this file has only the
//! order of events.
//!
//! The observations of all checks are published together, each second and within milliseconds of a change. Publishing
//! never waits: a slow reader gets only the newest.

mod adoption;
mod held_connections;
mod loss;
mod plan;
mod probed_check;
mod reported;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::clock;
use crate::health::probe::{Measurement, ProbeClients, probe};
use crate::health::{Beat, BeatSender, Blindness, DetectorEvent, Heartbeats, Injection, Observation, Schedule, SlotId};
use crate::model::{CheckKey, Moment};

pub use plan::Plan;
pub use reported::control_check;

use held_connections::{ConnectionEvent, HeldConnections};
use loss::ActiveLoss;
use probed_check::ProbedCheck;

/// The time from a change to the report, in which other changes are collected. So the failure of a region is one report
/// and not a hundred.
const GATHER: Duration = Duration::from_millis(5);
/// The additional time for each check. So reports never take most of the prober's time.
const GATHER_PER_CHECK: Duration = Duration::from_micros(1);

/// Called after each probe with the kind of the monitor, whether the probe succeeded, and how long it took.
pub type OnProbe = Arc<dyn Fn(&'static str, bool, Duration) + Send + Sync>;
/// Receives the observations of all checks at a moment, and the reason if the vantage is blind. Must not block.
pub type Publish = Box<dyn Fn(Moment, Vec<Observation>, Option<Arc<str>>) + Send + Sync>;

/// The settings of a prober.
#[derive(Clone)]
pub struct ProberSettings {
    /// The time from one report to the next if nothing changes. Default 1 s.
    pub report_every: Duration,
    /// The most probes at a time. Each may have several sockets while nothing answers. Default 4096.
    pub max_in_flight: usize,
    /// The most held connections, for monitors with `hold`. Default 16,384.
    pub max_held: usize,
    /// Called after each probe. Does nothing by default.
    pub on_probe: OnProbe,
    /// The checks of the control targets. If they fail as well, this vantage is blind. Default none.
    pub control: Vec<Arc<CheckKey>>,
}

impl Default for ProberSettings {
    fn default() -> ProberSettings {
        ProberSettings {
            report_every: Duration::from_secs(1),
            // Judgment: 8,000 silent endpoints a second at the default time-out.
            max_in_flight: 4096,
            // Each takes a descriptor: a quarter of those that a node uses.
            max_held: 16_384,
            on_probe: Arc::new(|_, _, _| {}),
            control: Vec::new(),
        }
    }
}

/// Probes all checks of a plan for one vantage.
pub struct Prober {
    settings: ProberSettings,
    clients: Arc<ProbeClients>,
    publish: Publish,
    schedule: Schedule,
    held: HeldConnections,
    checks: HashMap<SlotId, ProbedCheck>,
    /// The slot of each of them. The keys are our own, so a fast hash without a secret is enough.
    slots: HashMap<Arc<CheckKey>, SlotId, FixedState>,
    /// The checks of the plan, in its order.
    plan: Vec<SlotId>,
    /// The checks of the control targets.
    controls: Vec<SlotId>,
    blindness: Blindness,
    blind_why: Option<Arc<str>>,
    /// The heartbeat checks, which are not probed.
    heartbeats: Heartbeats,
    rounds: Vec<oneshot::Sender<()>>,
    /// The loss that a drill rehearses.
    loss: Option<ActiveLoss>,
    report_at: Moment,
    ended: mpsc::UnboundedSender<EndedProbe>,
}

/// Controls a running prober. The prober stops when this is dropped.
pub struct ProberHandle {
    orders: mpsc::UnboundedSender<Order>,
    beats: BeatSender,
    task: JoinHandle<()>,
}

/// The first round of a plan: every check of it is probed, and failures are verified.
pub struct Round(oneshot::Receiver<()>);

enum Order {
    Adopt(NewPlan),
    /// From now on these checks count as lost; `None`: none.
    Lose(Option<Injection>),
}

struct NewPlan {
    plan: Plan,
    round: oneshot::Sender<()>,
}

/// A probe that ended. Without a measurement, its task panicked.
struct EndedProbe {
    slot: SlotId,
    measurement: Option<Measurement>,
}

impl Prober {
    /// Starts a prober without checks on the current tokio runtime.
    pub fn spawn(settings: ProberSettings, clients: Arc<ProbeClients>, publish: Publish) -> ProberHandle {
        let (orders, received_orders) = mpsc::unbounded_channel();
        let (beats, received) = BeatSender::channel();
        let (prober, endings, connection_events) = Prober::new(settings, clients, publish);
        let task = tokio::spawn(prober.run(received_orders, endings, connection_events, received));
        ProberHandle { orders, beats, task }
    }

    /// With the probes that end, and the events of held connections.
    fn new(
        settings: ProberSettings,
        clients: Arc<ProbeClients>,
        publish: Publish,
    ) -> (Prober, mpsc::UnboundedReceiver<EndedProbe>, mpsc::UnboundedReceiver<ConnectionEvent>) {
        // Contains no more than the probes under way, which the schedule bounds.
        let (ended, endings) = mpsc::unbounded_channel();
        let (held, connection_events) = HeldConnections::new(Arc::clone(&clients), settings.max_held);
        let prober = Prober {
            held,
            schedule: Schedule::new(settings.max_in_flight),
            report_at: clock::now() + settings.report_every,
            settings,
            clients,
            publish,
            checks: HashMap::new(),
            slots: HashMap::default(),
            plan: Vec::new(),
            controls: Vec::new(),
            blindness: Blindness::default(),
            blind_why: None,
            heartbeats: Heartbeats::default(),
            rounds: Vec::new(),
            loss: None,
            ended,
        };
        (prober, endings, connection_events)
    }

    async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut endings: mpsc::UnboundedReceiver<EndedProbe>,
        mut connection_events: mpsc::UnboundedReceiver<ConnectionEvent>,
        mut beats: mpsc::Receiver<Beat>,
    ) {
        loop {
            let now = clock::now();
            // A blind vantage may not receive beats either, so no service goes down by its ttl.
            let is_receiving = self.blind_why.is_none();
            if is_receiving && self.heartbeats.advance(now) {
                self.report_soon();
            }
            self.launch(now);
            self.held.launch(now);
            if now >= self.report_at || self.blindness.deadline().is_some_and(|until| now >= until) {
                self.report(now);
            }
            let dues = [
                self.schedule.next_due(),
                self.held.next_due(),
                self.heartbeats.next_due().filter(|_| is_receiving),
                self.blindness.deadline(),
            ];
            let wake = dues.into_iter().flatten().fold(self.report_at, Moment::min);
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Adopt(new)) => self.adopt(new).await,
                    Some(Order::Lose(injection)) => self.lose(injection, clock::now()),
                    None => return,
                },
                Some(ended) = endings.recv() => {
                    self.take_result(ended);
                    while let Ok(ended) = endings.try_recv() {
                        self.take_result(ended);
                    }
                }
                Some(event) = connection_events.recv() => self.take_connection_event(&event),
                Some(beat) = beats.recv() => {
                    if self.heartbeats.receive(&beat, clock::now()) {
                        self.report_soon();
                    }
                }
                () = tokio::time::sleep(wake.since(now)) => {}
            }
            self.end_rounds();
        }
    }

    /// Begins the probes that are due.
    fn launch(&mut self, now: Moment) {
        while let Some(slot) = self.schedule.take_due(now) {
            let Some(check) = self.checks.get(&slot) else { continue };
            let under_way = self.schedule.under_way_of(slot);
            if let Some(after) = check.detector.overlap_after(under_way) {
                self.schedule.overlap(slot, now + after);
            }
            let (key, rtt) = (Arc::clone(&check.key), check.detector.rtt_for_probe(under_way));
            let lost_until = check.is_lost().then(|| now + rtt.timeout(&key.monitor));
            let clients = Arc::clone(&self.clients);
            let mut delivery = Delivery { to: self.ended.clone(), ended: Some(EndedProbe { slot, measurement: None }) };
            tokio::spawn(async move {
                let deliver = move |measurement| {
                    if let Some(ended) = &mut delivery.ended {
                        ended.measurement = Some(measurement);
                    }
                    // The silence of a lost check lasts until the time-out.
                    if let Some(until) = lost_until {
                        tokio::spawn(async move {
                            tokio::time::sleep(until.since(clock::now())).await;
                            drop(delivery);
                        });
                    }
                };
                probe(&clients, &key, &rtt, deliver).await;
            });
        }
    }

    /// Takes in the result of a probe.
    fn take_result(&mut self, EndedProbe { slot, measurement }: EndedProbe) {
        self.schedule.ended(slot);
        let Some(check) = self.checks.get_mut(&slot) else { return };
        let Some(measurement) = measurement else {
            check.is_settled = true;
            return;
        };
        let took = measurement.ended.since(measurement.began);
        tracing::debug!(
            check = check.key.monitor.kind.as_str(),
            target = %check.key.target,
            ms = took.as_secs_f64() * 1000.0,
            result = measurement.result.as_ref().map_or_else(ToString::to_string, |_| "success".to_owned()),
            "probe"
        );
        (self.settings.on_probe)(check.key.monitor.kind.as_str(), measurement.result.is_ok(), took);
        let (began, mut ended, mut is_ok) = (measurement.began, measurement.ended, measurement.result.is_ok());
        let (verify_at, has_changed) = match &self.loss {
            Some(loss) if check.is_lost() && began >= loss.since => {
                (ended, is_ok) = (clock::now(), false);
                check.judge_lost(measurement, &loss.injection, ended)
            }
            Some(_) | None => {
                if let Some(real) = check.real() {
                    real.judge(measurement.clone());
                }
                check.judge(measurement)
            }
        };
        let backoff = check.detector.backoff();
        self.held.probed(slot, (began, is_ok), check.detector.health(), ended);
        self.schedule.set_extra_turn(slot, verify_at);
        self.schedule.back_off(slot, backoff, clock::now());
        if has_changed || self.blindness.is_examining() {
            self.report_soon();
        }
    }

    /// Takes in what happened to a held connection. Its end is a reason to probe now.
    fn take_connection_event(&mut self, event: &ConnectionEvent) {
        let now = clock::now();
        let Some(slot) = self.held.take_event(event, now) else { return };
        if let Some(check) = self.checks.get_mut(&slot) {
            // This never changes the verdict: probes decide.
            check.detector.step(DetectorEvent::ConnectionEnded, now);
            if let Some(real) = check.real() {
                real.detector.step(DetectorEvent::ConnectionEnded, now);
            }
            self.schedule.set_extra_turn(slot, check.detector.deadline());
        }
    }

    /// Makes a report after a change, when other changes were collected.
    fn report_soon(&mut self) {
        let gather = GATHER + GATHER_PER_CHECK * u32::try_from(self.plan.len()).unwrap_or(u32::MAX);
        self.report_at = self.report_at.min(clock::now() + gather.min(self.settings.report_every));
    }

    fn report(&mut self, now: Moment) {
        self.note_missing_beats(now);
        self.update_reported(now);
        let observations = self
            .plan
            .iter()
            .filter_map(|slot| Some((self.checks.get(slot)?, self.held.status(*slot))))
            .map(|(check, hold)| Observation { hold, ..check.observation(now) })
            .chain(self.heartbeats.observations(now))
            .collect();
        (self.publish)(now, observations, self.blind_why.clone());
        self.report_at = now + self.settings.report_every;
    }

    /// Ends the rounds when all checks are settled. The results are published before.
    fn end_rounds(&mut self) {
        let are_settled = || self.plan.iter().filter_map(|slot| self.checks.get(slot)).all(|check| check.is_settled);
        if !self.rounds.is_empty() && are_settled() {
            self.report(clock::now());
            if self.blindness.is_examining() {
                return;
            }
            for round in self.rounds.drain(..) {
                // It fails if nobody waits any more.
                let _ = round.send(());
            }
        }
    }
}

impl ProberHandle {
    /// Begins to probe the checks of `plan`, and ends the others. Checks that are probed already keep their state and
    /// their turns.
    pub fn adopt(&self, plan: impl Into<Plan>) -> Round {
        let (round, ended) = oneshot::channel();
        // A prober that has stopped drops the sender, which ends the round.
        let _ = self.orders.send(Order::Adopt(NewPlan { plan: plan.into(), round }));
        Round(ended)
    }

    /// From now on the checks of `injection` count as lost, and no others; with `None` none does.
    pub fn lose(&self, injection: Option<Injection>) {
        // A prober that has stopped reports nothing.
        let _ = self.orders.send(Order::Lose(injection));
    }

    /// The sender of beats to this prober.
    pub fn beats(&self) -> BeatSender {
        self.beats.clone()
    }

    /// Stops the prober. Returns when no more probes will begin.
    pub async fn stop(self) {
        drop(self.orders);
        // The task ends now. The error of a task that panicked is ignored.
        let _ = self.task.await;
    }
}

impl Round {
    /// Waits until every check of the plan is tried or can't be probed from here, and the results are published; or
    /// until the prober stops. If another plan replaces this one, waits for the round of that one.
    pub async fn ended(mut self) {
        self.wait().await;
    }

    /// As [`Round::ended`]. May be cancelled and called again, but not after it has returned.
    pub async fn wait(&mut self) {
        // An error means that the prober stopped, which ends its rounds.
        let _ = (&mut self.0).await;
    }
}

/// Reports the end of a probe to the prober when it is dropped, even if the probe panics.
struct Delivery {
    to: mpsc::UnboundedSender<EndedProbe>,
    ended: Option<EndedProbe>,
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            // It fails if the prober has stopped.
            let _ = self.to.send(ended);
        }
    }
}

#[cfg(test)]
mod tests;
