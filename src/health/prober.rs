//! The loop that probes: it takes what is due from the schedule, lets `probe` measure it, tells the detectors, and
//! publishes what they believe. All judgement is in values that it owns; here is only the order of events.
//!
//! Observations are published whole, each second and within milliseconds of a change. Publishing never waits: whoever
//! is slow to read finds the newest.

mod holding;
mod sight;
mod watched;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::clock;
use crate::health::probe::{Measurement, ProbeClients, probe};
use crate::health::{Beat, Beats, Blindness, Event, Heartbeats, Observation, Schedule, SlotId};
use crate::model::{CheckKey, Moment};

pub use sight::control_check;
pub use watched::{Plan, RetainedCheck};

use holding::{Holding, News};
use watched::Watched;

/// After a change, other changes are waited for this long, so that a region that dies is one report and not a hundred.
const GATHER: Duration = Duration::from_millis(5);
/// And this much longer for each check, so that making reports never takes the most of the prober's time.
const GATHER_PER_CHECK: Duration = Duration::from_micros(1);

/// Hears of each probe that ended: the monitor's kind, whether it succeeded, how long it took in all.
pub type OnProbe = Arc<dyn Fn(&'static str, bool, Duration) + Send + Sync>;
/// Takes what the prober believes of every check at a moment, and why it is blind if it is. Must not block.
pub type Publish = Box<dyn Fn(Moment, Vec<Observation>, Option<Arc<str>>) + Send + Sync>;

/// How a prober works.
#[derive(Clone)]
pub struct ProberSettings {
    /// From one report to the next when nothing changes; default 1 s.
    pub report_every: Duration,
    /// Most probes under way at once; each may hold several sockets while nothing answers. Default 4096.
    pub max_in_flight: usize,
    /// Most connections that are held for monitors with `hold`. Default 16,384.
    pub max_held: usize,
    /// Hears of each probe; by default nobody.
    pub on_probe: OnProbe,
    /// Checks that are no endpoint's: when they fail as well, this vantage is blind. Default none.
    pub control: Vec<Arc<CheckKey>>,
}

impl Default for ProberSettings {
    fn default() -> ProberSettings {
        ProberSettings {
            report_every: Duration::from_secs(1),
            // Judgment: 8,000 silent endpoints a second at the default time-out.
            max_in_flight: 4096,
            // A descriptor each: a quarter of what a node takes.
            max_held: 16_384,
            on_probe: Arc::new(|_, _, _| {}),
            control: Vec::new(),
        }
    }
}

/// Probes all checks of a plan from one place.
pub struct Prober {
    settings: ProberSettings,
    clients: Arc<ProbeClients>,
    publish: Publish,
    schedule: Schedule,
    holding: Holding,
    watched: HashMap<SlotId, Watched>,
    /// The checks in the plan's order.
    plan: Vec<SlotId>,
    /// Those of the control targets.
    controls: Vec<SlotId>,
    blindness: Blindness,
    blind_why: Option<Arc<str>>,
    /// The checks that are not probed but heard of.
    heartbeats: Heartbeats,
    rounds: Vec<oneshot::Sender<()>>,
    report_at: Moment,
    ended: mpsc::UnboundedSender<Ended>,
}

/// Speaks to a running prober. The prober stops when this is dropped.
pub struct ProberHandle {
    commands: mpsc::UnboundedSender<Command>,
    beats: Beats,
    task: JoinHandle<()>,
}

/// The first round of a plan: every check of it is probed, and a failure is verified.
pub struct Round(oneshot::Receiver<()>);

struct Command {
    plan: Plan,
    round: oneshot::Sender<()>,
}

/// A probe that ended; without a measurement when it broke off.
struct Ended {
    slot: SlotId,
    measurement: Option<Measurement>,
}

impl Prober {
    /// Starts a prober without checks on the current tokio runtime.
    pub fn spawn(settings: ProberSettings, clients: Arc<ProbeClients>, publish: Publish) -> ProberHandle {
        let (commands, orders) = mpsc::unbounded_channel();
        // Never holds more than what is under way, which the schedule bounds.
        let (ended, endings) = mpsc::unbounded_channel();
        let (holding, news) = Holding::new(Arc::clone(&clients), settings.max_held);
        let (beats, heard) = Beats::channel();
        let prober = Prober {
            holding,
            schedule: Schedule::new(settings.max_in_flight),
            report_at: clock::now() + settings.report_every,
            settings,
            clients,
            publish,
            watched: HashMap::new(),
            plan: Vec::new(),
            controls: Vec::new(),
            blindness: Blindness::default(),
            blind_why: None,
            heartbeats: Heartbeats::default(),
            rounds: Vec::new(),
            ended,
        };
        ProberHandle { commands, beats, task: tokio::spawn(prober.run(orders, endings, news, heard)) }
    }

    async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Command>,
        mut endings: mpsc::UnboundedReceiver<Ended>,
        mut news: mpsc::UnboundedReceiver<News>,
        mut beats: mpsc::Receiver<Beat>,
    ) {
        loop {
            let now = clock::now();
            // A vantage that sees nothing hears nothing either: no beat ends for it.
            let hears = self.blind_why.is_none();
            if hears && self.heartbeats.wake(now) {
                self.report_soon();
            }
            self.launch(now);
            self.holding.launch(now);
            if now >= self.report_at || self.blindness.deadline().is_some_and(|until| now >= until) {
                self.report(now);
            }
            let dues = [
                self.schedule.next_due(),
                self.holding.next_due(),
                self.heartbeats.next_due().filter(|_| hears),
                self.blindness.deadline(),
            ];
            let wake = dues.into_iter().flatten().fold(self.report_at, Moment::min);
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.adopt(order),
                    None => return,
                },
                Some(ended) = endings.recv() => {
                    self.hear(ended);
                    while let Ok(ended) = endings.try_recv() {
                        self.hear(ended);
                    }
                }
                Some(news) = news.recv() => self.hear_of_held(&news),
                Some(beat) = beats.recv() => {
                    if self.heartbeats.hear(&beat, clock::now()) {
                        self.report_soon();
                    }
                }
                () = tokio::time::sleep(wake.since(now)) => {}
            }
            self.end_rounds();
        }
    }

    /// Makes the plan's checks the ones that are probed. Those that are probed already go on undisturbed.
    fn adopt(&mut self, order: Command) {
        let now = clock::now();
        self.heartbeats.adopt(&order.plan.checks, now);
        self.heartbeats.restore(&order.plan.retained, now);
        let mut known: HashMap<Arc<CheckKey>, SlotId> =
            self.watched.iter().map(|(slot, watched)| (Arc::clone(&watched.key), *slot)).collect();
        let mut seen = HashSet::new();
        let Plan { checks, regions, retained } = order.plan;
        let mut retained: HashMap<Arc<CheckKey>, RetainedCheck> =
            retained.into_iter().map(|known| (Arc::clone(&known.observation.key), known)).collect();
        let region_of: HashMap<Arc<CheckKey>, usize> = checks.iter().cloned().zip(regions).collect();
        let planned: Vec<Arc<CheckKey>> =
            checks.into_iter().filter(|key| key.monitor.kind.is_probed() && seen.insert(Arc::clone(key))).collect();
        let control = self.settings.control.iter().filter(|key| seen.insert(Arc::clone(key))).cloned();
        let wanted: Vec<Arc<CheckKey>> = planned.iter().cloned().chain(control).collect();
        let fresh: Vec<&Arc<CheckKey>> = wanted.iter().filter(|key| !known.contains_key(*key)).collect();
        let intervals: Vec<Duration> = fresh.iter().map(|key| key.monitor.interval).collect();
        let were_up = self.hosts_up_while_blind();
        for (slot, key) in self.schedule.add(&intervals, now).into_iter().zip(fresh) {
            self.holding.add(slot, key);
            let watched = match retained.remove(key) {
                None if key.target.ip().is_some_and(|ip| were_up.contains(&ip)) => {
                    Watched::assumed_up(Arc::clone(key), now)
                }
                saved => Watched::new(Arc::clone(key), saved),
            };
            self.watched.insert(slot, watched);
            known.insert(Arc::clone(key), slot);
        }
        let slots = |keys: &[Arc<CheckKey>]| keys.iter().filter_map(|key| known.get(key).copied()).collect();
        (self.plan, self.controls) = (slots(&planned), slots(&self.settings.control));
        for key in &wanted {
            known.remove(key);
        }
        for gone in known.into_values() {
            self.schedule.remove(gone);
            self.holding.remove(gone);
            self.watched.remove(&gone);
        }
        // The numbers of the regions may be others now. What is silent is found so again by the next report.
        self.blindness = Blindness::default();
        for slot in &self.plan {
            if let Some(watched) = self.watched.get_mut(slot) {
                watched.region = region_of.get(&watched.key).copied().unwrap_or(0);
            }
        }
        self.rounds.push(order.round);
    }

    fn launch(&mut self, now: Moment) {
        while let Some(slot) = self.schedule.take(now) {
            let Some(watched) = self.watched.get(&slot) else { continue };
            let (key, rtt) = (Arc::clone(&watched.key), *watched.detector.rtt());
            let clients = Arc::clone(&self.clients);
            let mut delivery = Delivery { to: self.ended.clone(), ended: Some(Ended { slot, measurement: None }) };
            tokio::spawn(async move {
                let deliver = move |measurement| {
                    if let Some(ended) = &mut delivery.ended {
                        ended.measurement = Some(measurement);
                    }
                };
                probe(&clients, &key, &rtt, deliver).await;
            });
        }
    }

    fn hear(&mut self, Ended { slot, measurement }: Ended) {
        self.schedule.ended(slot);
        let Some(watched) = self.watched.get_mut(&slot) else { return };
        let Some(measurement) = measurement else {
            watched.is_settled = true;
            return;
        };
        let took = measurement.ended.since(measurement.began);
        tracing::debug!(
            check = watched.key.monitor.kind.as_str(),
            target = %watched.key.target,
            ms = took.as_secs_f64() * 1000.0,
            result = measurement.result.as_ref().map_or_else(ToString::to_string, |_| "success".to_owned()),
            "probe"
        );
        (self.settings.on_probe)(watched.key.monitor.kind.as_str(), measurement.result.is_ok(), took);
        let (began, ended, is_ok) = (measurement.began, measurement.ended, measurement.result.is_ok());
        let (verify_at, has_changed) = watched.judge(measurement);
        let backoff = watched.detector.backoff();
        self.holding.probed(slot, (began, is_ok), watched.detector.health(), ended);
        self.schedule.want(slot, verify_at);
        self.schedule.back_off(slot, backoff, clock::now());
        if has_changed || self.blindness.is_looking() {
            self.report_soon();
        }
    }

    /// The end of a held connection is a reason to probe now.
    fn hear_of_held(&mut self, news: &News) {
        let now = clock::now();
        let Some(slot) = self.holding.hear(news, now) else { return };
        if let Some(watched) = self.watched.get_mut(&slot) {
            // Never a transition: probes decide.
            watched.detector.step(Event::HeldEnded, now);
            self.schedule.want(slot, watched.detector.deadline());
        }
    }

    /// Something changed: it is told when what changes with it has been gathered.
    fn report_soon(&mut self) {
        let gather = GATHER + GATHER_PER_CHECK * u32::try_from(self.plan.len()).unwrap_or(u32::MAX);
        self.report_at = self.report_at.min(clock::now() + gather.min(self.settings.report_every));
    }

    fn report(&mut self, now: Moment) {
        self.look_around(now);
        let observations = self
            .plan
            .iter()
            .filter_map(|slot| Some((self.watched.get(slot)?, self.holding.word(*slot))))
            .map(|(watched, hold)| Observation { hold, ..watched.observation(now) })
            .chain(self.heartbeats.observations(now))
            .collect();
        (self.publish)(now, observations, self.blind_why.clone());
        self.report_at = now + self.settings.report_every;
    }

    /// What was found is published before the round is said to have ended, so that who waited for it finds it.
    fn end_rounds(&mut self) {
        let are_settled = || self.plan.iter().filter_map(|slot| self.watched.get(slot)).all(|w| w.is_settled);
        if !self.rounds.is_empty() && are_settled() {
            self.report(clock::now());
            if self.blindness.is_looking() {
                return;
            }
            for round in self.rounds.drain(..) {
                // Nobody may be waiting any more, and that is fine.
                let _ = round.send(());
            }
        }
    }
}

impl ProberHandle {
    /// Makes the checks of `plan` the ones that are probed; those that are already keep their history and their turns.
    pub fn adopt(&self, plan: impl Into<Plan>) -> Round {
        let (round, ended) = oneshot::channel();
        // A prober that has stopped ends the round by dropping it.
        let _ = self.commands.send(Command { plan: plan.into(), round });
        Round(ended)
    }

    /// Where heartbeats are handed in.
    pub fn beats(&self) -> Beats {
        self.beats.clone()
    }

    /// Ends probing; returns when no probe will begin any more.
    pub async fn stop(self) {
        drop(self.commands);
        // It ends by itself now; a prober that broke has ended as well.
        let _ = self.task.await;
    }
}

impl Round {
    /// Waits until every check of the plan is tried or could not be probed from here, and what was found is published;
    /// or until the prober stops. A plan that was replaced meanwhile ends with the one that replaced it.
    pub async fn ended(mut self) {
        self.wait().await;
    }

    /// The same, to be taken up again after it was broken off. Not to be called once it has returned.
    pub async fn wait(&mut self) {
        // A prober that stopped has ended its rounds as well.
        let _ = (&mut self.0).await;
    }
}

/// Tells the prober that a probe ended even when it broke off.
struct Delivery {
    to: mpsc::UnboundedSender<Ended>,
    ended: Option<Ended>,
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            // The prober may have stopped: then nobody wants to know.
            let _ = self.to.send(ended);
        }
    }
}

#[cfg(test)]
mod tests;
