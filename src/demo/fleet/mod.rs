//! `portolan demo --fleet`: a server in each region instead of one, in this process, and a NATS server through which
//! they agree. Each server has the vantage of its region only; it gets the reports of the others through NATS.

mod nats_process;
mod spread;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::clock;
use crate::config::Flags;
use crate::control::JournalEvent;
use crate::daemon::{NodeSpec, RunningNode, StartError};
use crate::demo::files::DemoFiles;
use crate::demo::fleet::nats_process::NatsProcess;
use crate::demo::fleet::spread::Spread;
use crate::demo::region::REGIONS;
use crate::demo::vantage_of;

/// The region of the server that has the address of the demo.
pub(crate) const FIRST: &str = "eu-west";
/// The name of the fleet.
const CLUSTER: &str = "demo";
/// Events of other servers that wait to be printed; more are lost (judgment: a transition of each endpoint at once).
const MAX_EVENTS: usize = 256;
/// How long the start waits until every server knows every vantage (judgment: a bucket and a report take two
/// seconds). After it the demo goes on, and `status` shows who is missing.
const MEET_WITHIN: Duration = Duration::from_secs(15);
/// How often the start checks that (judgment: nobody sees 50 ms).
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// The other servers of the demo's fleet, and its NATS server.
pub(crate) struct DemoFleet {
    nats: NatsProcess,
    servers: Vec<(&'static str, RunningNode)>,
    events: mpsc::Receiver<(usize, Arc<JournalEvent>)>,
    passing: Vec<JoinHandle<()>>,
    spread: Spread,
}

/// The NATS server of the fleet, before any other.
pub(crate) struct DemoNats(NatsProcess);

impl DemoNats {
    /// Starts the program `path`, or the `nats-server` of PATH.
    pub(crate) async fn start(path: Option<PathBuf>, files: &DemoFiles) -> Result<DemoNats, StartError> {
        let program = nats_process::find(path).map_err(StartError::Demo)?;
        eprintln!("starting {} ...", program.display());
        NatsProcess::start(&program, &files.own_folder().join("nats")).await.map(DemoNats).map_err(StartError::Demo)
    }

    /// `flags` for the server of a region.
    pub(crate) fn with_fleet(&self, flags: Flags, region: &str, files: &DemoFiles) -> Flags {
        let state = files.own_folder().join(format!("state-{region}"));
        flags
            .with("region", region)
            .with("node", region)
            .with("fleet.nats", self.0.url())
            .with("fleet.cluster", CLUSTER)
            .with("state.dir", &state.to_string_lossy())
    }

    /// Ends it.
    pub(crate) async fn end(self) {
        self.0.end().await;
    }

    /// Starts the servers of the other regions, on any free ports, and waits until all know the vantages of all.
    /// `flags` are those of the first server.
    pub(crate) async fn start_servers(
        self,
        flags: &Flags,
        files: &DemoFiles,
        host: SocketAddr,
        first: &RunningNode,
    ) -> Result<DemoFleet, (StartError, DemoNats)> {
        let mut servers: Vec<(&'static str, RunningNode)> = Vec::new();
        for (region, octet) in REGIONS.into_iter().filter(|(region, _)| *region != FIRST) {
            let any = SocketAddr::new(host.ip(), 0).to_string();
            let flags = flags.clone().with("listen.dns", &any).with("listen.http", &any);
            let flags = self.with_fleet(flags, region, files);
            let settings = files.settings();
            let started = match crate::config::load(Some(&settings), &flags) {
                Ok(loaded) => {
                    let vantages = vec![vantage_of(region, octet)];
                    RunningNode::start(NodeSpec { loaded, settings_file: Some(settings), flags, vantages }).await
                }
                Err(problems) => Err(StartError::Problems(problems)),
            };
            match started {
                Ok(node) => servers.push((region, node)),
                Err(error) => {
                    stop_all(servers).await;
                    return Err((error, self));
                }
            }
        }
        wait_until_met(first, &servers).await;
        let (to, events) = mpsc::channel(MAX_EVENTS);
        let pass = |(at, (_, node)): (usize, &(&str, RunningNode))| {
            let (to, mut of_node) = (to.clone(), node.events());
            tokio::spawn(async move {
                loop {
                    match of_node.recv().await {
                        // A full channel loses this line of the output only.
                        Ok(event) => drop(to.try_send((at + 1, event))),
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return,
                    }
                }
            })
        };
        let passing = servers.iter().enumerate().map(pass).collect();
        let spread = Spread::new(servers.len() + 1);
        Ok(DemoFleet { nats: self.0, servers, events, passing, spread })
    }
}

impl DemoFleet {
    /// Lines that describe the other servers and NATS.
    pub(crate) fn lines(&self) -> Vec<String> {
        let server = |(region, node): &(&str, RunningNode)| {
            let dns = node.dns().first().map(SocketAddr::to_string).unwrap_or_default();
            format!("server {region} dns={dns} http={}", node.http())
        };
        let mut lines: Vec<String> = self.servers.iter().map(server).collect();
        lines.push(format!("nats {} pid {}", self.nats.url(), self.nats.pid()));
        lines
    }

    /// Commands to try on the other servers. `program` is this program.
    pub(crate) fn commands(&self, program: &str) -> Vec<String> {
        let mut lines = vec!["# the other servers of the fleet: they agree on what is up".to_owned()];
        for (_, node) in &self.servers {
            if let Some(dns) = node.dns().first() {
                lines.push(format!("dig @{} -p {} www.demo.example -b 127.2.0.1 +short", dns.ip(), dns.port()));
            }
            lines.push(format!("{program} status --server http://{}", node.http()));
        }
        lines
    }

    /// The next event of another server: which one it is, and what happened.
    pub(crate) async fn next_event(&mut self) -> (usize, Arc<JournalEvent>) {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Notes an event of a server; 0 is the first one. Returns a line once all servers have it.
    pub(crate) fn note(&mut self, server: usize, event: &JournalEvent) -> Option<String> {
        // A reload is of no endpoint, and of one server.
        if event.endpoint.is_empty() {
            return None;
        }
        let what = format!("{} -> {}", event.endpoint, event.to);
        let took = self.spread.note(server, &what, clock::now())?;
        Some(format!("{what}: on all {} servers, the last one {} ms after the first", REGIONS.len(), took.as_millis()))
    }

    /// Ends the servers, and NATS after them.
    pub(crate) async fn end(self) {
        self.passing.iter().for_each(JoinHandle::abort);
        stop_all(self.servers).await;
        self.nats.end().await;
    }
}

async fn stop_all(servers: Vec<(&'static str, RunningNode)>) {
    for (_, node) in servers {
        // What it can't save is removed with the demo.
        let _ = node.stop().await;
    }
}

/// Waits until each server has a round-trip time of each region for each endpoint that is probed.
async fn wait_until_met(first: &RunningNode, others: &[(&'static str, RunningNode)]) {
    let have_met = || std::iter::once(first).chain(others.iter().map(|(_, node)| node)).all(knows_all_regions);
    let met = async {
        while !have_met() {
            tokio::time::sleep(CHECK_EVERY).await;
        }
    };
    if tokio::time::timeout(MEET_WITHIN, met).await.is_err() {
        eprintln!("not every server has reports of the others yet; `portolan status` shows who is missing");
    }
}

fn knows_all_regions(node: &RunningNode) -> bool {
    let snapshot = node.snapshot();
    snapshot.view.checks.iter().all(|check| check.rtts.len() >= REGIONS.len())
}
