//! The vantages of this process: a prober each, and the exchange where their reports come together. The steering task
//! receives the view that they agree on.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::clock;
use crate::daemon::fleet::{CheckHashes, PlanMerge};
use crate::daemon::limits;
use crate::daemon::runtimes::{LAST_GRACE, OwnRuntime, PROBE};
use crate::fleet::agreement::MAX_VANTAGES;
use crate::fleet::exchange::RemoteReports;
use crate::fleet::report::Extent;
use crate::fleet::{Agreement, Ballots, Exchange, Received, Report, Vantage};
use crate::health::{
    BeatSender, Injection, Plan, ProbeClients, Prober, ProberHandle, ProberSettings, RetainedCheck, Round,
    SourceAddresses, control_check, programs_ended, reap_orphans,
};
use crate::model::{Answerable, CheckId, CheckKey, Health, Model, Moment, RegionId, WorldView};
use crate::telemetry::{Metrics, ProbeResult};

/// One vantage in this process.
pub struct VantageSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Its region.
    pub region: Arc<str>,
    /// The addresses that it probes from.
    pub sources: SourceAddresses,
}

/// The vantages of this process and where their reports come together.
pub(crate) struct Vantages {
    members: Vec<Member>,
    exchange: Exchange,
    agreement: Agreement,
    /// The model that the agreement is about.
    model: Arc<Model>,
    /// Whether there is no view of the last reports yet.
    is_behind: bool,
    /// Whether the last report was refused.
    is_full: bool,
    /// Joins what the fleet probes; `None`: this node is alone.
    merge: Option<PlanMerge>,
    /// What a drill counts as lost.
    loss: Option<LossInForce>,
    /// Dropped last: the probers run on its threads.
    threads: OwnRuntime,
}

/// What a drill counts as lost.
pub(crate) struct Loss {
    /// The checks.
    pub(crate) injection: Injection,
    /// The vantages whose reports do not arrive.
    pub(crate) vantages: BTreeSet<Arc<str>>,
    /// Whether no reports of other nodes arrive.
    pub(crate) loses_fleet: bool,
}

struct LossInForce {
    loss: Loss,
    /// The lost checks on which no vantage has the verdict down yet.
    waiting: HashSet<Arc<CheckKey>>,
    /// When the report was made after which none was waiting.
    detected: Option<Moment>,
}

struct Member {
    vantage: Vantage,
    prober: ProberHandle,
    /// What it observed before the start, until its prober gets it.
    retained: Vec<RetainedCheck>,
}

impl Vantages {
    /// Starts a prober for each vantage, without checks yet. Together they use a share of `descriptors`. Each probes
    /// the `control` targets too. An error is the system's.
    pub(crate) fn start(
        specs: &[VantageSpec],
        control: &[SocketAddr],
        descriptors: u64,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Vantages> {
        let threads = OwnRuntime::start(PROBE)?;
        let exchange = Exchange::new();
        let member = |spec: &VantageSpec| {
            let vantage = Vantage { name: spec.name.clone(), region: spec.region.clone() };
            let reports = exchange.sender(vantage.clone());
            let (metrics, name) = (metrics.clone(), spec.name.clone());
            let settings = ProberSettings {
                max_in_flight: limits::probes_in_flight(descriptors, specs.len()),
                max_held: limits::held_connections(descriptors, specs.len()),
                on_probe: Arc::new(move |kind, is_ok, took| {
                    metrics.probe_ended(
                        &name,
                        kind,
                        if is_ok { ProbeResult::Success } else { ProbeResult::Failure },
                        took,
                    );
                }),
                control: control.iter().copied().map(control_check).collect(),
                ..ProberSettings::default()
            };
            let clients = Arc::new(ProbeClients::new(spec.sources));
            let publish = move |at, observations, blind| reports.publish(at, observations, blind);
            let prober = Prober::spawn(settings, clients, Box::new(publish));
            Member { vantage, prober, retained: Vec::new() }
        };
        // Orphans of the programs of exec monitors, where this is process 1 of a container.
        threads.spawn(reap_orphans());
        let members = threads.within(|| specs.iter().map(member).collect());
        let model = Arc::new(Model::default());
        Ok(Vantages {
            members,
            exchange,
            agreement: Agreement::new(&model),
            model,
            is_behind: false,
            is_full: false,
            merge: None,
            loss: None,
            threads,
        })
    }

    /// Probes from now on also what the fleet probes.
    pub(crate) fn follow(&mut self, merge: PlanMerge) {
        self.merge = Some(merge);
    }

    /// From now on this counts as lost, and nothing else; with `None` nothing does.
    pub(crate) fn lose(&mut self, mut loss: Option<Loss>) {
        if let Some(loss) = &mut loss {
            let is_lost = |member: &Member| loss.vantages.contains(&member.vantage.name);
            // Somebody must find that the endpoints are lost.
            if !loss.injection.checks.is_empty() && self.members.iter().all(is_lost) {
                self.members.iter().for_each(|member| _ = loss.vantages.remove(&member.vantage.name));
            }
        }
        if let Some(loss) = &loss {
            self.forget_others(&loss.injection);
        }
        let injection = loss.as_ref().map(|loss| &loss.injection);
        self.members.iter().for_each(|member| member.prober.lose(injection.cloned()));
        self.loss = loss.map(|loss| {
            let waiting = loss.injection.checks.iter().cloned().collect();
            LossInForce { loss, waiting, detected: None }
        });
    }

    /// Removes what vantages of other nodes reported of lost checks: they may not take part in the drill. They repeat
    /// it every few seconds, so it is there again soon after the drill.
    fn forget_others(&mut self, injection: &Injection) {
        let known = self.agreement.ballots().vantages.iter().filter(|of| !self.is_own(&of.vantage.name));
        let known: Vec<(Vantage, Moment, bool)> =
            known.map(|of| (of.vantage.clone(), of.received_at, of.left.is_some())).collect();
        for (vantage, received_at, has_left) in known {
            let removed = injection.checks.iter().cloned().collect();
            let extent = if has_left { Extent::End } else { Extent::Behind };
            let report = Report { extent, removed, ..Report::part(vantage, received_at, Vec::new()) };
            self.agreement.receive(&report, received_at);
        }
    }

    fn is_own(&self, vantage: &str) -> bool {
        self.members.iter().any(|member| &*member.vantage.name == vantage)
    }

    /// Since when some vantage has the verdict down on each lost check.
    pub(crate) fn detected(&self) -> Option<Moment> {
        self.loss.as_ref()?.detected
    }

    /// Whether it probes also what the fleet probes.
    pub(crate) fn is_in_fleet(&self) -> bool {
        self.merge.is_some()
    }

    /// Takes over hashes of checks that the next plans will have.
    pub(crate) fn learn(&mut self, hashes: CheckHashes) {
        if let Some(merge) = &mut self.merge {
            merge.learn(hashes);
        }
    }

    /// The way in for the reports of remote vantages.
    pub(crate) fn remote(&self) -> RemoteReports {
        self.exchange.remote()
    }

    /// Restores each vantage from its last report before the start; `retained` gives it by the vantage's name. That
    /// report counts until the vantage reports again, and its prober continues from it. Returns how many checks each
    /// vantage has at least.
    pub(crate) fn restore(&mut self, mut retained: impl FnMut(&str) -> Vec<RetainedCheck>, now: Moment) -> usize {
        let mut fewest = usize::MAX;
        for member in &mut self.members {
            member.retained = retained(&member.vantage.name);
            fewest = fewest.min(member.retained.len());
            if let Some(RetainedCheck { at, .. }) = member.retained.first() {
                let fresh = member.retained.iter().filter(|check| now < check.until);
                let observations = fresh.map(|check| check.observation.clone()).collect();
                self.exchange.sender(member.vantage.clone()).publish(*at, observations, None);
            }
        }
        fewest
    }

    /// What all vantages reported up to now, to agree on it for another model.
    pub(crate) fn ballots(&mut self) -> Ballots {
        let reports = self.exchange.take();
        self.is_behind |= !reports.is_empty();
        self.receive(reports);
        self.agreement.ballots().clone()
    }

    /// The latest reports of the vantages of this process, for the task that writes them to the state directory.
    pub(crate) fn reports(&self) -> watch::Receiver<Vec<Received>> {
        self.exchange.watch()
    }

    /// Where the API delivers heartbeats, for all vantages.
    pub(crate) fn beats(&self) -> BeatSender {
        BeatSender::to_all(self.members.iter().map(|member| member.prober.beats()))
    }

    /// Probes the checks of `model` and no others; returns when each check has had its first round.
    pub(crate) async fn adopt(&mut self, model: &Model) {
        for round in self.begin(plan_of(&[model])) {
            round.ended().await;
        }
    }

    /// Probes the checks of `plan` and no others, without waiting for the rounds.
    pub(crate) fn begin(&mut self, plan: Plan) -> Vec<Round> {
        let plan = match &mut self.merge {
            Some(merge) => merge.with(plan),
            None => plan,
        };
        self.launch(plan)
    }

    fn launch(&mut self, plan: Plan) -> Vec<Round> {
        let begin = |member: &mut Member| {
            member.prober.adopt(Plan { retained: std::mem::take(&mut member.retained), ..plan.clone() })
        };
        self.members.iter_mut().map(begin).collect()
    }

    /// The agreed view as soon as a vantage reports something new, and once a second in any case. Nothing is lost
    /// when this is dropped and called again.
    pub(crate) async fn next_view(&mut self, model: &Arc<Model>) -> WorldView {
        if let Some(plan) = self.merge.as_mut().and_then(PlanMerge::changed) {
            // Nobody waits for the first round of checks of the fleet.
            drop(self.launch(plan));
        }
        let reports = if self.is_behind { self.exchange.take() } else { self.exchange.next().await };
        self.agree(model, reports)
    }

    /// The agreed view of this moment, in the ids of `model`.
    pub(crate) fn view(&mut self, model: &Arc<Model>) -> WorldView {
        let reports = self.exchange.take();
        self.agree(model, reports)
    }

    fn agree(&mut self, model: &Arc<Model>, reports: Vec<Received>) -> WorldView {
        self.receive(reports);
        self.is_behind = false;
        if !Arc::ptr_eq(model, &self.model) {
            self.agreement.adopt(model);
            self.model = model.clone();
        }
        self.agreement.view(model, clock::now())
    }

    fn receive(&mut self, reports: Vec<Received>) {
        for Received { report, received_at } in reports {
            let is_own = self.is_own(&report.vantage.name);
            let report = match &mut self.loss {
                // A goodbye counts: what is gone is no longer a part of the drill.
                Some(loss) if report.extent != Extent::End && loss.has_lost(&report.vantage.name, is_own) => continue,
                Some(loss) => loss.taken(report, is_own),
                None => report,
            };
            let was_full = std::mem::replace(&mut self.is_full, !self.agreement.receive(&report, received_at));
            if self.is_full && !was_full {
                let vantage = &*report.vantage.name;
                tracing::warn!(vantage, most = MAX_VANTAGES, "a report is refused: there are too many vantages");
            }
        }
    }

    /// Ends all probing.
    pub(crate) async fn stop(self) {
        for member in self.members {
            member.prober.stop().await;
        }
        // A program that is being started now would outlive this process.
        let _ = tokio::time::timeout(LAST_GRACE, programs_ended()).await;
        self.threads.stop().await;
    }
}

impl LossInForce {
    /// Whether the reports of a vantage do not arrive.
    fn has_lost(&self, vantage: &Arc<str>, is_own: bool) -> bool {
        (self.loss.loses_fleet && !is_own) || self.loss.vantages.contains(vantage)
    }

    /// What counts of a report: all of one of this node; of others all but the lost checks.
    fn taken(&mut self, report: Arc<Report>, is_own: bool) -> Arc<Report> {
        let checks = &self.loss.injection.checks;
        if !is_own && report.observations.iter().any(|observation| checks.contains(&observation.key)) {
            let mut rest = Report::clone(&report);
            rest.observations.retain(|observation| !checks.contains(&observation.key));
            return Arc::new(rest);
        }
        if is_own {
            self.note_detected(&report);
        }
        report
    }

    fn note_detected(&mut self, report: &Report) {
        if self.waiting.is_empty() {
            return;
        }
        for observation in report.observations.iter().filter(|observation| observation.health == Health::Down) {
            self.waiting.remove(&observation.key);
        }
        if self.waiting.is_empty() {
            self.detected = Some(report.made_at);
        }
    }
}

/// The plan to probe every check of `models`, each once, in order, with the region of the first endpoint that has it.
/// Endpoints without a region count as one region. Takes some milliseconds with thousands of checks.
pub(crate) fn plan_of(models: &[&Model]) -> Plan {
    let mut places: HashMap<Arc<CheckKey>, usize> = HashMap::new();
    let mut names: Vec<Option<&str>> = Vec::new();
    let mut plan = Plan::default();
    for model in models {
        let name_of = |region: RegionId| model.region(region).name.as_str();
        let mut regions = vec![None; model.checks.len()];
        for endpoint in model.endpoints.iter().rev() {
            let mut below: Vec<CheckId> = endpoint.answerables.iter().flat_map(Answerable::checks).collect();
            // The parts of a composite have its region.
            while let Some(check) = below.pop() {
                regions[check.0 as usize] = endpoint.region.map(name_of);
                below.extend(&model.checks[check.0 as usize].parts);
            }
        }
        for (check, region) in model.checks.iter().zip(regions) {
            let at = names.iter().position(|name| *name == region).unwrap_or_else(|| {
                names.push(region);
                names.len() - 1
            });
            if places.insert(check.key.clone(), at).is_none() {
                plan.checks.push(check.key.clone());
                plan.regions.push(at);
            }
        }
    }
    plan.region_names = names.into_iter().map(|name| name.map(str::to_owned)).collect();
    plan
}
