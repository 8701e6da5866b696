//! `portolan demo`: the server with three regions on loopback, without any set-up. Each region is a process that can be
//! killed and stopped, and has a vantage. The demo prints commands to try, and then what happens. On a terminal it also
//! shows the answers to one client of each region. The server is that of `serve`. [`discover`] is another demo, without
//! regions to kill.

mod children;
mod discover;
mod files;
mod fleet;
mod live;
mod output;
mod ports;
pub mod region;
mod scene;
mod supervisor;
mod terminal;
mod tour;
mod watch;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Flags, Loaded};
use crate::control::JournalEvent;
use crate::daemon::{NodeSpec, RunningNode, StartError, VantageSpec, stop_signal};
use crate::demo::children::RegionProcess;
use crate::demo::files::DemoFiles;
use crate::demo::fleet::{DemoFleet, DemoNats, FIRST};
use crate::demo::live::LiveView;
use crate::demo::output::DemoOutput;
use crate::demo::region::{PORT_IN_USE, REGIONS};
use crate::demo::supervisor::Supervisor;
use crate::demo::terminal::Terminal;
use crate::demo::watch::{AnswerLog, watch};
use crate::health::SourceAddresses;
use crate::model::{Answerable, Model, ProbeTarget};
use crate::timer;

/// The options of `portolan demo`.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// The demo ends after this time; without it, it runs until a signal.
    pub duration: Option<Duration>,
    /// The address for DNS.
    pub dns: SocketAddr,
    /// The address of the API.
    pub http: SocketAddr,
    /// On a terminal, the demo kills a region once after this time; `None`: never.
    pub tour_after: Option<Duration>,
    /// Endpoints that come and go, in place of the regions.
    pub discover: bool,
    /// A server in each region instead of one.
    pub fleet: bool,
    /// The program `nats-server` for the fleet; `None`: that of PATH.
    pub nats_server: Option<PathBuf>,
}

/// How often the state of the processes is read: the resolution of the time of an outage.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often the terminal is drawn and its keys are read.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// The name whose answers are shown, if the demo's zone has it.
const SHOWN: &str = "www.demo.example.";

/// Host part of the vantages' addresses.
const VANTAGE: u8 = 53;

/// How often the regions are started again when another process takes one of their ports (judgment).
const STARTS: usize = 4;

/// Runs the demo. All processes that it started have ended when this returns.
pub async fn run(options: DemoOptions) -> Result<(), StartError> {
    ports::check_free(options.dns, options.http)?;
    if options.discover {
        return discover::run(&options).await;
    }
    let mut files = DemoFiles::prepare()?;
    let flags =
        Flags::default().with("listen.dns", &options.dns.to_string()).with("listen.http", &options.http.to_string());
    let mut flags = with_control_target(files.with_own_files(flags), options.http);
    let nats = match options.fleet {
        true => Some(DemoNats::start(options.nats_server.clone(), &files).await?),
        false => None,
    };
    if let Some(nats) = &nats {
        flags = nats.with_fleet(flags, FIRST, &files);
    }
    let load = |files: &DemoFiles| crate::config::load(Some(&files.settings()), &flags).map_err(StartError::Problems);
    let mut loaded = load(&files)?;
    let mut regions = Vec::new();
    let stop = stop_signal();
    tokio::pin!(stop);
    let started = tokio::select! {
        // In this order, so that a signal that arrives during the start is not missed.
        biased;
        () = &mut stop => Ok(false),
        started = start_regions(&mut loaded, &mut files, load, &mut regions) => started.map(|()| true),
    };
    let outcome = match started {
        Ok(true) => show(&options, loaded, &files, (flags.clone(), nats), &mut regions, stop).await,
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    for region in &mut regions {
        region.end().await;
    }
    outcome
}

/// Makes the API a control target of the vantages. It always answers, so two regions that are killed at the same time
/// are not mistaken for a vantage that is cut off.
fn with_control_target(flags: Flags, http: SocketAddr) -> Flags {
    match http.port() == 0 || http.ip().is_unspecified() {
        true => flags,
        false => flags.with("vantage.control", &http.to_string()),
    }
}

/// Gives the endpoints another port if theirs is in use. Returns whether it was.
fn evade_taken_ports(model: &Model, files: &mut DemoFiles) -> Result<bool, StartError> {
    let endpoints: Vec<SocketAddr> = regions_of(model).into_iter().flat_map(|region| region.addresses).collect();
    let taken = ports::taken_ports(&endpoints);
    if taken.is_empty() {
        return Ok(false);
    }
    // Without a free port the regions fail to start, and report the port that is in use.
    let Some(port) = ports::another(&endpoints) else { return Ok(false) };
    let dir = files.move_port(&taken, port).map_err(StartError::System)?.display();
    let taken: Vec<String> = taken.iter().map(u16::to_string).collect();
    eprintln!(
        "port {} is in use; the endpoints of this demo have port {port}, and its files are copies in {dir}",
        taken.join(", ")
    );
    Ok(true)
}

/// Starts the regions one after the other. Another demo that starts at the same time can take a port after it was found
/// free. Then all regions start again on another port.
async fn start_regions(
    loaded: &mut Loaded,
    files: &mut DemoFiles,
    load: impl Fn(&DemoFiles) -> Result<Loaded, StartError>,
    regions: &mut Vec<RegionProcess>,
) -> Result<(), StartError> {
    let mut left = STARTS;
    loop {
        if evade_taken_ports(&loaded.model, files)? {
            *loaded = load(files)?;
        }
        *regions = regions_of(&loaded.model);
        let Err(why) = start_all(regions).await else { return Ok(()) };
        for region in regions.iter_mut() {
            region.end().await;
        }
        left -= 1;
        if left == 0 || !why.contains(PORT_IN_USE) {
            return Err(StartError::Demo(why));
        }
    }
}

async fn start_all(regions: &mut [RegionProcess]) -> Result<(), String> {
    for region in regions {
        eprintln!("starting the endpoints of {} ...", region.name);
        region.start().await?;
    }
    Ok(())
}

async fn show(
    options: &DemoOptions,
    loaded: Loaded,
    files: &DemoFiles,
    (flags, nats): (Flags, Option<DemoNats>),
    regions: &mut [RegionProcess],
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), StartError> {
    let names = steered_names(&loaded.model);
    let (node, mut fleet) = tokio::select! {
        biased;
        () = &mut stop => return Ok(()),
        started = start(loaded, files, flags, nats, options.dns) => started?,
    };
    let shown = names.iter().find(|name| *name == SHOWN).or(names.first()).cloned().unwrap_or_default();
    let mut output = DemoOutput::begin(&node, regions, files.token(), Terminal::open(), fleet.as_ref());
    let live = LiveView::begin(shown.clone(), &node, options.tour_after.filter(|_| output.has_terminal()));
    let log = AnswerLog::default();
    let server = node.dns().first().copied().unwrap_or(options.dns);
    let watcher = tokio::spawn(watch(server, names, shown, log.clone()));
    run_until_stopped(options.duration, (&node, fleet.as_mut()), regions, (&mut output, live), &log, stop).await;
    watcher.abort();
    // The terminal is restored before anything else is printed.
    drop(output);
    // What it can't save is removed with the demo.
    let _ = node.stop().await;
    if let Some(fleet) = fleet {
        fleet.end().await;
    }
    eprintln!("the demo has ended");
    Ok(())
}

/// Starts the server with all vantages; in a fleet one server in each region, each with one vantage. With an error
/// everything that this has started has ended.
async fn start(
    loaded: Loaded,
    files: &DemoFiles,
    flags: Flags,
    nats: Option<DemoNats>,
    host: SocketAddr,
) -> Result<(RunningNode, Option<DemoFleet>), StartError> {
    let what = if nats.is_some() { "a server" } else { "the server and a vantage" };
    eprintln!("starting {what} in each region; the first probes are on their way ...");
    let here = REGIONS.into_iter().filter(|(name, _)| nats.is_none() || *name == FIRST);
    let vantages = here.map(|(name, octet)| vantage_of(name, octet)).collect();
    let spec = NodeSpec { loaded, settings_file: Some(files.settings()), flags: flags.clone(), vantages };
    let (node, nats) = match (RunningNode::start(spec).await, nats) {
        (Ok(node), None) => return Ok((node, None)),
        (Ok(node), Some(nats)) => (node, nats),
        (Err(error), nats) => {
            if let Some(nats) = nats {
                nats.end().await;
            }
            return Err(error);
        }
    };
    match nats.start_servers(&flags, files, host, &node).await {
        Ok(fleet) => Ok((node, Some(fleet))),
        Err((error, nats)) => {
            let _ = node.stop().await;
            nats.end().await;
            Err(error)
        }
    }
}

/// The vantage of a region.
fn vantage_of(name: &str, octet: u8) -> VantageSpec {
    let sources = SourceAddresses { v4: Some(Ipv4Addr::new(127, octet, 0, VANTAGE)), v6: None };
    VantageSpec { name: name.into(), region: name.into(), sources }
}

/// Runs the demo until a signal, a key or the end of its duration.
async fn run_until_stopped(
    duration: Option<Duration>,
    (node, mut fleet): (&RunningNode, Option<&mut DemoFleet>),
    regions: &mut [RegionProcess],
    (output, mut live): (&mut DemoOutput, LiveView),
    log: &AnswerLog,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) {
    let mut events = node.events();
    let every = |period| {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        ticks
    };
    let (mut look, mut draw) = (every(LOOK_EVERY), every(DRAW_EVERY));
    let mut suspend = suspend_signal(output);
    let end = timer::after(duration);
    tokio::pin!(end);
    let mut supervisors: Vec<Supervisor> = regions.iter().map(|_| Supervisor::default()).collect();
    loop {
        tokio::select! {
            _ = &mut end => return,
            _ = &mut stop => return,
            () = next(&mut suspend) => {
                if let Some(terminal) = output.terminal() {
                    terminal.suspend();
                }
            }
            Ok(event) = events.recv() => {
                live.observe(&event);
                output.event(&event);
                if let Some(line) = fleet.as_mut().and_then(|fleet| fleet.note(0, &event)) {
                    output.report(&line);
                }
            }
            (server, event) = next_of_fleet(&mut fleet) => {
                if let Some(line) = fleet.as_mut().and_then(|fleet| fleet.note(server, &event)) {
                    output.report(&line);
                }
            }
            _ = draw.tick() => {
                if !live.step(regions, &mut supervisors, output, log) {
                    return;
                }
            }
            _ = look.tick() => {
                output.answers(&node.snapshot());
                for (region, supervisor) in regions.iter_mut().zip(&mut supervisors) {
                    supervisor.check(region, node, output, log).await;
                }
            }
        }
    }
}

/// The signal of Ctrl-Z, if there is a terminal to restore before the process stops.
fn suspend_signal(output: &DemoOutput) -> Option<Signal> {
    // Without a handler the signal has its default action.
    output.has_terminal().then(|| signal(SignalKind::from_raw(libc::SIGTSTP)).ok()).flatten()
}

async fn next_of_fleet(fleet: &mut Option<&mut DemoFleet>) -> (usize, Arc<JournalEvent>) {
    match fleet {
        Some(fleet) => fleet.next_event().await,
        None => std::future::pending().await,
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => signal.recv().await.unwrap_or(()),
        None => std::future::pending().await,
    }
}

/// The demo's regions, each with all addresses at which its endpoints are probed.
fn regions_of(model: &Model) -> Vec<RegionProcess> {
    let mut by_region: BTreeMap<usize, Vec<SocketAddr>> = BTreeMap::new();
    for endpoint in &model.endpoints {
        let name = endpoint.region.map(|id| model.region(id).name.as_str());
        let Some(at) = REGIONS.iter().position(|(region, _)| Some(*region) == name) else { continue };
        let checks = endpoint.answerables.iter().flat_map(Answerable::checks);
        by_region.entry(at).or_default().extend(checks.filter_map(|id| match model.checks[id.0 as usize].key.target {
            ProbeTarget::Socket(address) if address.ip().is_loopback() => Some(address),
            ProbeTarget::Socket(_) | ProbeTarget::Host(_) | ProbeTarget::Nowhere => None,
        }));
    }
    by_region.into_iter().map(|(at, addresses)| RegionProcess::new(REGIONS[at].0.to_string(), addresses)).collect()
}

/// All steered names, absolute.
fn steered_names(model: &Model) -> Vec<String> {
    model.zones.iter().flat_map(|zone| &zone.steered).map(|name| name.owner.to_string()).collect()
}
