//! The vantages of this process: a prober each, and the exchange where their reports come together. `steer` asks for
//! what they agree on.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock;
use crate::daemon::limits;
use crate::daemon::probing::Probing;
use crate::fleet::{Exchange, Vantage, agree};
use crate::health::{Beats, Plan, ProbeClients, Prober, ProberHandle, ProberSettings, Round, Sources, control_check};
use crate::model::{CheckId, CheckKey, Model, RegionId, WorldView};
use crate::telemetry::{Metrics, ProbeResult};

/// One vantage in this process.
pub struct VantageSpec {
    /// Its name.
    pub name: Arc<str>,
    /// The region it stands in.
    pub region: Arc<str>,
    /// Where it probes from.
    pub sources: Sources,
}

/// The vantages of this process and where their reports come together.
pub(crate) struct Vantages {
    probers: Vec<ProberHandle>,
    exchange: Exchange,
    /// Dropped last: it is what the probers run on.
    _probing: Probing,
}

impl Vantages {
    /// Starts a prober for each, without checks yet; together they take a share of so many file descriptors. Each tries
    /// the `control` targets too. An error is the system's.
    pub(crate) fn start(
        specs: &[VantageSpec],
        control: &[SocketAddr],
        descriptors: u64,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Vantages> {
        let probing = Probing::start()?;
        let exchange = Exchange::new();
        let prober = |spec: &VantageSpec| {
            let seat = exchange.join(Vantage { name: spec.name.clone(), region: spec.region.clone() });
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
            let publish = move |at, observations, blind| seat.publish(at, observations, blind);
            Prober::spawn(settings, clients, Box::new(publish))
        };
        let on_its_threads = probing.enter();
        let probers = specs.iter().map(prober).collect();
        drop(on_its_threads);
        Ok(Vantages { probers, exchange, _probing: probing })
    }

    /// Where heartbeats are handed in, for all of them.
    pub(crate) fn beats(&self) -> Beats {
        Beats::to_all(self.probers.iter().map(ProberHandle::beats))
    }

    /// Probes the checks of all `models` and no others; returns when each check has had its first round.
    pub(crate) async fn adopt(&mut self, models: &[&Model]) {
        for round in self.begin(models) {
            round.ended().await;
        }
    }

    /// The same without waiting: the rounds are still to end.
    pub(crate) fn begin(&mut self, models: &[&Model]) -> Vec<Round> {
        let plan = plan_of(models);
        self.probers.iter().map(|prober| prober.adopt(plan.clone())).collect()
    }

    /// What they agree on as soon as one of them says something new, and once a second in any case. Nothing is lost
    /// when this is dropped and called again.
    pub(crate) async fn next_view(&mut self, model: &Model) -> WorldView {
        agree(model, &self.exchange.next().await, clock::now())
    }

    /// What the vantages agree on now, in the ids of `model`.
    pub(crate) fn view(&mut self, model: &Model) -> WorldView {
        agree(model, &self.exchange.latest(), clock::now())
    }

    /// Ends all probing.
    pub(crate) async fn stop(self) {
        for prober in self.probers {
            prober.stop().await;
        }
    }
}

/// Every check of `models`, each once, in order, with the region of the first endpoint that it is for. Endpoints without
/// a region are of one together.
fn plan_of(models: &[&Model]) -> Plan {
    let mut places: HashMap<Arc<CheckKey>, usize> = HashMap::new();
    let mut names: Vec<Option<&str>> = Vec::new();
    let mut plan = Plan::default();
    for model in models {
        let name_of = |region: RegionId| model.region(region).name.as_str();
        let mut regions = vec![None; model.checks.len()];
        for endpoint in model.endpoints.iter().rev() {
            let mut below: Vec<CheckId> =
                endpoint.answerables.iter().filter_map(|answerable| answerable.check).collect();
            // What a composite is made of stands where it does.
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
    plan
}
