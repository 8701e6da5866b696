//! The vantages of this process: a prober each, and the exchange where their reports come together. `steer` asks for
//! what they agree on.

use std::collections::HashSet;
use std::sync::Arc;

use crate::clock;
use crate::daemon::limits;
use crate::fleet::{Exchange, Vantage, agree};
use crate::health::{ProbeClients, Prober, ProberHandle, ProberSettings, Round, Sources};
use crate::model::{CheckKey, Model, WorldView};
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
}

impl Vantages {
    /// Starts a prober for each, without checks yet; together they take a share of so many file descriptors.
    pub(crate) fn start(specs: &[VantageSpec], descriptors: u64, metrics: &Arc<Metrics>) -> Vantages {
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
                ..ProberSettings::default()
            };
            let clients = Arc::new(ProbeClients::new(spec.sources));
            Prober::spawn(settings, clients, Box::new(move |at, observations| seat.publish(at, observations)))
        };
        let probers = specs.iter().map(prober).collect();
        Vantages { probers, exchange }
    }

    /// Probes the checks of all `models` and no others; returns when each check has had its first round.
    pub(crate) async fn adopt(&mut self, models: &[&Model]) {
        for round in self.begin(models) {
            round.ended().await;
        }
    }

    /// The same without waiting: the rounds are still to end.
    pub(crate) fn begin(&mut self, models: &[&Model]) -> Vec<Round> {
        let checks = checks_of(models);
        self.probers.iter().map(|prober| prober.adopt(checks.clone())).collect()
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

/// Every check of `models`, each once, in order.
fn checks_of(models: &[&Model]) -> Vec<Arc<CheckKey>> {
    let mut seen = HashSet::new();
    let all = models.iter().flat_map(|model| &model.checks).map(|check| check.key.clone());
    all.filter(|key| seen.insert(key.clone())).collect()
}
