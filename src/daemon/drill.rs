//! Runs a drill in the steering task: makes the vantages lose what is to be lost, watches each view, and restores
//! everything. Of a drill only its status is written to the disk: a restart ends it, and reports that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::control::drill::{DrillBoard, DrillOrder, not_now};
use crate::control::{Journal, JournalEvent};
use crate::daemon::drill_facts::{answers_by_endpoint, choices, names_of_checks};
use crate::daemon::drill_file;
use crate::daemon::state::StateDir;
use crate::daemon::vantages::{Loss, Vantages};
use crate::drill::{DrillEnd, DrillObservation, DrillPlan, DrillRun, DrillStatus, LostSet};
use crate::fleet::events::EventKind;
use crate::health::Injection;
use crate::model::{
    CheckId, CheckTable, Endpoint, Health, MemberRef, Model, Moment, PolicyId, PoolId, VantageState, WorldView,
};
use crate::server::Counters;
use crate::snapshot::Snapshot;
use crate::timer;

/// The rates of answers are compared with capacities this often: a shorter time counts bursts.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Real failures that wait; one is enough to end a drill.
const MAX_FAILURES: usize = 4;

/// The drills of this server.
pub(crate) struct Drills {
    board: Arc<DrillBoard>,
    counters: Arc<Counters>,
    state_dir: StateDir,
    last_id: u64,
    running: Option<Box<RunningDrill>>,
}

struct RunningDrill {
    run: DrillRun,
    status: DrillStatus,
    lost: LostSet,
    /// The model of the plan; another one ends the drill.
    model: Arc<Model>,
    /// The checks as they were before.
    before: CheckTable,
    /// The vantages that were there before; all of them had a vote.
    vantages: Vec<Arc<str>>,
    /// The choices of the policies with failback as they were before.
    choices: HashMap<PolicyId, Vec<(PoolId, MemberRef)>>,
    failures: mpsc::Receiver<String>,
    client: CancellationToken,
    statuses: mpsc::Sender<DrillStatus>,
    counted: Option<(Moment, HashMap<u32, u64>)>,
}

/// What woke the steering task.
pub(crate) enum DrillWake {
    /// The client has gone.
    ClientGone,
    /// An operator ends it.
    Stopped(Arc<str>),
    /// An endpoint that counts as lost is really down.
    Failed(String),
    /// Time has passed.
    Passed,
}

impl Drills {
    /// No drill runs. Reports the end of `interrupted`, in the middle of which the last process ended.
    pub(crate) fn new(
        board: Arc<DrillBoard>,
        counters: Arc<Counters>,
        (state_dir, interrupted): (StateDir, Option<DrillStatus>),
        journal: &Journal,
    ) -> Drills {
        let last_id = interrupted.as_ref().map_or(0, |status| status.id);
        if let Some(status) = interrupted {
            let why = status.aborted.clone().unwrap_or_default();
            // The first generation is served.
            let event = event(&status, DrillStatus::LOST, 1, why);
            tracing::warn!(drill = event.endpoint, who = event.who, why = event.why, "a drill did not end");
            journal.append(event);
            board.show(status);
            drill_file::put(&state_dir, None);
        }
        Drills { board, counters, state_dir, last_id, running: None }
    }

    /// Begins a drill, if nothing speaks against it in the snapshot that is served.
    pub(crate) fn begin(
        &mut self,
        order: DrillOrder,
        served: &Snapshot,
        vantages: &mut Vantages,
    ) -> Option<JournalEvent> {
        let DrillOrder { plan, lost, lasting, who, client, statuses, reply } = order;
        let gone = || client.is_cancelled().then(|| "it was ended before the loss began".to_owned());
        if let Some(why) = gone().or_else(|| self.refusal(&plan, served, &lost)) {
            // Whoever waited may have gone.
            let _ = reply.send(Err(why));
            return None;
        }
        self.last_id += 1;
        let (failed, failures) = mpsc::channel(MAX_FAILURES);
        let subject = plan.drill.subject(&plan.target);
        let model = served.model.clone();
        let (names, real) = (names_of_checks(&model, &lost), failed);
        let injection = Injection {
            checks: lost.keys.clone(),
            why: format!("drill of {who}: {subject} counts as lost").into(),
            on_failure: Arc::new(move |key, why| {
                let name = names.get(key).map_or("an endpoint", String::as_str);
                // If it is full, there is a reason to end the drill already.
                let _ = real.try_send(format!("{name} is really down: {why}"));
            }),
        };
        let (now, injected_at) = (clock::now(), clock::unix_seconds());
        vantages.lose(Some(Loss { injection, vantages: lost.vantages.clone(), loses_fleet: lost.loses_fleet }));
        let subject_of = (plan.drill, plan.target.as_str());
        let status = DrillStatus::begun(self.last_id, subject_of, &who, injected_at, lasting.as_secs_f64());
        self.board.begin();
        self.board.show(status.clone());
        drill_file::put(&self.state_dir, Some(&status));
        let event = event(&status, "none", served.generation, format!("{subject} counts as lost for {lasting:?}"));
        let running = RunningDrill {
            run: DrillRun::new(now, lasting),
            status: status.clone(),
            lost,
            before: served.view.checks.clone(),
            vantages: served.view.vantages.iter().map(|of| of.name.clone()).collect(),
            choices: choices(served),
            model,
            failures,
            client,
            statuses,
            counted: None,
        };
        self.running = Some(Box::new(running));
        // A client that has gone ends the drill.
        let _ = reply.send(Ok(status));
        Some(event)
    }

    fn refusal(&self, plan: &DrillPlan, served: &Snapshot, lost: &LostSet) -> Option<String> {
        if let Some(why) = self.board.busy() {
            return Some(why);
        }
        if plan.generation != served.generation {
            return Some(format!("generation {} is served now, and the plan is of another one", served.generation));
        }
        not_now(&served.model, &served.view, lost)
    }

    /// Why no other process can take over, while a drill runs: it would know nothing of the drill.
    pub(crate) fn hinder(&self) -> Option<String> {
        let DrillStatus { drill, who, .. } = &self.running.as_ref()?.status;
        Some(format!("a drill runs ({} of {who}): end it with `portolan drill stop`", drill.as_str()))
    }

    /// Waits for the next thing that ends or restores a drill. Nothing is lost when this is dropped and called again.
    pub(crate) async fn next(&mut self) -> DrillWake {
        let Some(drill) = &mut self.running else { return std::future::pending().await };
        let deadline = drill.run.deadline();
        tokio::select! {
            () = drill.client.cancelled(), if drill.run.is_lost() => DrillWake::ClientGone,
            who = self.board.stopped(), if drill.run.is_lost() => DrillWake::Stopped(who),
            Some(why) = drill.failures.recv() => DrillWake::Failed(why),
            () = timer::until(deadline) => DrillWake::Passed,
        }
    }

    /// Takes in what [`Drills::next`] returned.
    pub(crate) fn wake(&mut self, wake: DrillWake, served: &Snapshot, vantages: &mut Vantages) -> Option<DrillEnd> {
        let (now, drill) = (clock::now(), self.running.as_mut()?);
        if let Some(at) = self.board.renewed(drill.status.id) {
            drill.run.renew(at);
        }
        let end = match wake {
            DrillWake::ClientGone => drill.run.leave(now),
            DrillWake::Stopped(who) => drill.run.is_lost().then(|| drill.run.abort(format!("{who} ended it"), now)),
            DrillWake::Failed(why) => drill.run.is_lost().then(|| drill.run.abort(why, now)),
            DrillWake::Passed => drill.run.pass(now),
        };
        self.follow(end, &served.model, &served.view, vantages)
    }

    /// Takes in a view, before it is published.
    pub(crate) fn observe(
        &mut self,
        model: &Arc<Model>,
        view: &WorldView,
        served: &Snapshot,
        vantages: &mut Vantages,
    ) -> Option<DrillEnd> {
        let totals = || self.counters.totals();
        let (now, drill) = (clock::now(), self.running.as_mut()?);
        let trouble = match drill.run.is_lost() {
            false => None,
            true if !Arc::ptr_eq(model, &drill.model) => Some("other files are served".to_owned()),
            true => drill.trouble(view).or_else(|| drill.over_capacity(served, totals, now)),
        };
        let is_same = Arc::ptr_eq(model, &drill.model);
        let observed = DrillObservation {
            detected: vantages.detected(),
            is_down: is_same && drill.is_down(view),
            is_back: !is_same || drill.is_back(view),
            trouble,
        };
        let end = drill.run.observe(&observed, now);
        self.follow(end, model, view, vantages)
    }

    /// The view was published.
    pub(crate) fn published(&mut self) {
        let Some(drill) = &mut self.running else { return };
        drill.run.published(clock::now());
        let DrillStatus { detect_ms, decide_ms, publish_ms, .. } = drill.status;
        if drill.shown_now() != [detect_ms, decide_ms, publish_ms] {
            drill.show(&self.board);
        }
    }

    /// Ends the loss, if `end` says so; `view` is the newest one, in the ids of `model`.
    fn follow(
        &mut self,
        end: Option<DrillEnd>,
        model: &Arc<Model>,
        view: &WorldView,
        vantages: &mut Vantages,
    ) -> Option<DrillEnd> {
        let drill = self.running.as_mut()?;
        if end == Some(DrillEnd::EndLoss) {
            if Arc::ptr_eq(model, &drill.model) {
                drill.status.unnoticed = drill.unnoticed(view);
            }
            drill.status.phase = DrillStatus::RESTORING.to_owned();
            drill.status.aborted = drill.run.aborted().map(str::to_owned);
            // The client knows of the end before the answers change.
            drill.show(&self.board);
            vantages.lose(None);
        }
        end
    }

    /// The policies whose choices are not those from before, as far as a failback can restore them.
    pub(crate) fn moved(&self, served: &Snapshot) -> Vec<PolicyId> {
        let Some(drill) = &self.running else { return Vec::new() };
        if !Arc::ptr_eq(&served.model, &drill.model) {
            return Vec::new();
        }
        let is_moved = |(policy, before): &(&PolicyId, &Vec<_>)| served.failover_choices(**policy) != **before;
        let mut moved: Vec<PolicyId> = drill.choices.iter().filter(is_moved).map(|(policy, _)| *policy).collect();
        moved.sort_unstable_by_key(|policy| policy.0);
        moved
    }

    /// Ends a drill that is over. Returns its event.
    pub(crate) fn finish(&mut self, served: &Snapshot) -> Option<JournalEvent> {
        let left = self.moved(served);
        let mut drill = self.running.take()?;
        let status = &mut drill.status;
        for policy in left {
            let names = served.model.zones.iter().flat_map(|zone| &zone.steered).filter(|name| name.policy == policy);
            let names: Vec<String> = names.map(|name| name.owner.to_string()).take(3).collect();
            status.left.push(format!("{} did not return to the member from before", names.join(", ")));
        }
        let was_up = |id: usize| drill.before[id].health == Health::Up;
        if Arc::ptr_eq(&served.model, &drill.model) {
            for id in &drill.lost.endpoints {
                let sides = served.model.endpoint(*id).answerables.iter();
                let checks = sides.filter_map(|side| side.check).filter(|check| drill.lost.affects(*check));
                let mut down = checks.filter(|check| was_up(check.0 as usize));
                if down.any(|check| served.view.check(check).health != Health::Up) {
                    status.left.push(format!("{} is not up again", served.model.endpoint(*id).name));
                }
            }
        }
        status.left.extend(not_back(&drill.lost, &served.view));
        let (phase, why) = match (&status.aborted, status.left.is_empty()) {
            (Some(why), _) => (DrillStatus::ABORTED, why.clone()),
            (None, true) => (DrillStatus::RESTORED, "its time is over".to_owned()),
            (None, false) => (DrillStatus::FAILED, status.left.join("; ")),
        };
        status.phase = phase.to_owned();
        status.restored_at = status.left.is_empty().then(clock::unix_seconds);
        let event = event(status, DrillStatus::LOST, served.generation, why);
        drill.show(&self.board);
        drill_file::put(&self.state_dir, None);
        Some(event)
    }
}

impl RunningDrill {
    /// Shows the status, and sends it to the client.
    fn show(&mut self, board: &DrillBoard) {
        [self.status.detect_ms, self.status.decide_ms, self.status.publish_ms] = self.shown_now();
        board.show(self.status.clone());
        // It fails if the client has gone.
        let _ = self.statuses.try_send(self.status.clone());
    }

    fn shown_now(&self) -> [Option<f64>; 3] {
        self.run.marks().map(|mark| mark.map(|time| (time.as_secs_f64() * 10_000.0).round() / 10.0))
    }

    /// Something that fails and is not part of the drill.
    fn trouble(&self, view: &WorldView) -> Option<String> {
        let changed = view.checks.changed_since(&self.before);
        let mut down = changed.filter(|(id, before, now)| {
            (before.health, now.health) == (Health::Up, Health::Down) && !self.lost.affects(CheckId(*id as u32))
        });
        if let Some((id, ..)) = down.next() {
            let check = CheckId(id as u32);
            let has =
                |endpoint: &&Endpoint| endpoint.answerables.iter().any(|side| side.checks().any(|of| of == check));
            let name = self.model.endpoints.iter().find(has).map_or("a check", |endpoint| endpoint.name.as_str());
            let evidence = view.evidence.of(&self.model, check, view.at);
            let why = evidence.iter().find_map(|of| of.why.as_deref()).unwrap_or("its probes fail");
            return Some(format!("{name} is really down: {why}"));
        }
        let is_meant = |name: &Arc<str>| self.lost.vantages.contains(name);
        let is_there = |name: &Arc<str>| view.vantages.iter().any(|of| of.name == *name);
        if let Some(gone) = self.vantages.iter().find(|name| !is_meant(name) && !is_there(name)) {
            return Some(format!("vantage {gone} has stopped"));
        }
        let lost = view.vantages.iter().find(|of| of.state != VantageState::Up && !is_meant(&of.name))?;
        Some(format!("vantage {} is {}", lost.name, lost.state.as_str()))
    }

    /// An endpoint that is answered with more often than its capacity allows.
    fn over_capacity(
        &mut self,
        served: &Snapshot,
        totals: impl Fn() -> crate::server::Totals,
        now: Moment,
    ) -> Option<String> {
        if self.counted.as_ref().is_some_and(|(at, _)| now.since(*at) < COUNT_EVERY) {
            return None;
        }
        let counts = answers_by_endpoint(served, &totals());
        let (at, before) = self.counted.replace((now, counts))?;
        let (_, counts) = self.counted.as_ref()?;
        let secs = now.since(at).as_secs_f64();
        self.model.endpoints.iter().zip(0..).find_map(|(endpoint, id)| {
            let capacity = endpoint.capacity?;
            let count = counts.get(&id)?.saturating_sub(before.get(&id).copied().unwrap_or_default());
            let rate = count as f64 / secs;
            let name = &endpoint.name;
            (rate > capacity as f64)
                .then(|| format!("{name} gets {rate:.0} answers a second, and its capacity is {capacity}"))
        })
    }

    /// Whether what is to be lost is lost by agreement.
    fn is_down(&self, view: &WorldView) -> bool {
        let is_stale = |name: &Arc<str>| {
            let of = view.vantages.iter().find(|of| of.name == *name);
            of.is_none_or(|of| of.state == VantageState::Stale)
        };
        let are_endpoints_down = || {
            let mut lost = (0..self.model.checks.len() as u32).map(CheckId).filter(|check| self.lost.affects(*check));
            lost.all(|check| view.check(check).health == Health::Down)
        };
        match self.lost.endpoints.is_empty() {
            false => are_endpoints_down(),
            true => self.lost.vantages.iter().all(is_stale),
        }
    }

    /// The lost endpoints that are not down by agreement.
    fn unnoticed(&self, view: &WorldView) -> Vec<String> {
        let is_noticed = |endpoint: &Endpoint| {
            let checks = endpoint.answerables.iter().filter_map(|side| side.check);
            checks.filter(|check| self.lost.affects(*check)).all(|check| view.check(check).health == Health::Down)
        };
        let lost = self.lost.endpoints.iter().map(|id| self.model.endpoint(*id));
        lost.filter(|endpoint| !is_noticed(endpoint)).map(|endpoint| endpoint.name.clone()).collect()
    }

    /// Whether what was lost is as before.
    fn is_back(&self, view: &WorldView) -> bool {
        let mut lost = (0..self.model.checks.len() as u32).map(CheckId).filter(|check| self.lost.affects(*check));
        lost.all(|check| view.check(check).health == self.before[check.0 as usize].health)
            && not_back(&self.lost, view).is_empty()
    }
}

/// Why vantages whose loss has ended have no vote: they stopped during the drill, or are really cut off.
fn not_back(lost: &LostSet, view: &WorldView) -> Vec<String> {
    let reason = |name: &Arc<str>| {
        let found = view.vantages.iter().find(|of| of.name == *name);
        let why = match found.map(|of| (of.state, of.reported_at)) {
            Some((VantageState::Up, _)) => return None,
            Some((VantageState::Blind, _)) => "it is blind".to_owned(),
            Some((VantageState::Stale, at)) => format!("its last report is {} s old", view.at.since(at).as_secs()),
            None => "it has stopped".to_owned(),
        };
        Some(format!("vantage {name} did not come back: {why}"))
    };
    lost.vantages.iter().filter_map(reason).collect()
}

fn event(status: &DrillStatus, from: &str, generation: u64, why: String) -> JournalEvent {
    JournalEvent {
        at: clock::unix_seconds(),
        kind: EventKind::Drill,
        endpoint: format!("{} {}", status.drill.as_str(), status.target).trim_end().to_owned(),
        from: from.to_owned(),
        to: status.phase.clone(),
        why,
        who: Some(status.who.clone()),
        generation,
        ..JournalEvent::default()
    }
}
