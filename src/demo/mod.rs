//! The main job with nothing to set up: three regions on loopback, each a process that can be killed and stopped; a
//! vantage in each; the server over them. Prints what to type, and then what happens; on a terminal it also shows what one
//! client of each region is answered. The server is the one of `serve`.

mod children;
mod fate;
mod files;
mod live;
mod ports;
pub mod region;
mod scene;
mod story;
mod terminal;
mod tour;
mod watch;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Flags, Loaded};
use crate::daemon::{NodeSpec, RunningNode, StartError, VantageSpec, stop_signal};
use crate::demo::children::Region;
use crate::demo::fate::Fate;
use crate::demo::files::Files;
use crate::demo::live::Live;
use crate::demo::region::{PORT_IN_USE, REGIONS};
use crate::demo::story::Story;
use crate::demo::terminal::Terminal;
use crate::demo::watch::{Seen, watch};
use crate::health::SourceAddresses;
use crate::model::{Answerable, Model, ProbeTarget};

/// The options of `portolan demo`.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Ends by itself after this; runs until a signal without.
    pub duration: Option<Duration>,
    /// Where the server answers DNS.
    pub dns: SocketAddr,
    /// Where the API is.
    pub http: SocketAddr,
    /// On a terminal a region is taken down once after this; `None` leaves that out.
    pub tour_after: Option<Duration>,
}

/// How often the processes are looked at: the resolution of "when it went".
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often a terminal is drawn and its keys are read.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// The name whose answers are shown, where the demo's zone has it.
const SHOWN: &str = "www.demo.example.";

/// Host part of the vantages' addresses.
const VANTAGE: u8 = 53;

/// How often the regions are started where somebody else takes a port of theirs (judgment).
const STARTS: usize = 4;

/// Runs the demo. Everything it started has ended when this returns.
pub async fn run(options: DemoOptions) -> Result<(), StartError> {
    ports::check_free(options.dns, options.http)?;
    let mut files = Files::find()?;
    let flags =
        Flags::default().with("listen.dns", &options.dns.to_string()).with("listen.http", &options.http.to_string());
    let flags = within_reach(files.settled(flags), options.http);
    let load = |files: &Files| crate::config::load(Some(&files.settings()), &flags).map_err(StartError::Problems);
    let mut loaded = load(&files)?;
    let mut regions = Vec::new();
    let stop = stop_signal();
    tokio::pin!(stop);
    let started = tokio::select! {
        // In this order, so that the signals are listened for before anything is started.
        biased;
        () = &mut stop => Ok(false),
        started = start_regions(&mut loaded, &mut files, load, &mut regions) => started.map(|()| true),
    };
    let outcome = match started {
        Ok(true) => show(&options, loaded, &files, flags.clone(), &mut regions, stop).await,
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    for region in &mut regions {
        region.end().await;
    }
    outcome
}

/// The API is a control target: it is always there, so that two regions that are killed at once are two regions that are
/// gone, and not a vantage that is cut off.
fn within_reach(flags: Flags, http: SocketAddr) -> Flags {
    match http.port() == 0 || http.ip().is_unspecified() {
        true => flags,
        false => flags.with("vantage.control", &http.to_string()),
    }
}

/// Gives the endpoints another port where somebody has theirs; whether that was so.
fn evade_taken_ports(model: &Model, files: &mut Files) -> Result<bool, StartError> {
    let endpoints: Vec<SocketAddr> = regions_of(model).into_iter().flat_map(|region| region.addresses).collect();
    let taken = ports::taken_ports(&endpoints);
    if taken.is_empty() {
        return Ok(false);
    }
    // Without a free port the processes of the regions report the one that is taken.
    let Some(port) = ports::another(&endpoints) else { return Ok(false) };
    let dir = files.move_port(&taken, port).map_err(StartError::System)?.display();
    let taken: Vec<String> = taken.iter().map(u16::to_string).collect();
    eprintln!(
        "port {} is in use; the endpoints of this demo have port {port}, and its files are copies in {dir}",
        taken.join(", ")
    );
    Ok(true)
}

/// Starts the regions one after the other. Another demo that begins at the same time can take a port after it was found
/// free: then all of them start again, on another port.
async fn start_regions(
    loaded: &mut Loaded,
    files: &mut Files,
    load: impl Fn(&Files) -> Result<Loaded, StartError>,
    regions: &mut Vec<Region>,
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

async fn start_all(regions: &mut [Region]) -> Result<(), String> {
    for region in regions {
        eprintln!("starting the endpoints of {} ...", region.name);
        region.start().await?;
    }
    Ok(())
}

async fn show(
    options: &DemoOptions,
    loaded: Loaded,
    files: &Files,
    flags: Flags,
    regions: &mut [Region],
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), StartError> {
    let names = steered_names(&loaded.model);
    let node = tokio::select! {
        biased;
        () = &mut stop => return Ok(()),
        started = start(loaded, files.settings(), flags) => started?,
    };
    let shown = names.iter().find(|name| *name == SHOWN).or(names.first()).cloned().unwrap_or_default();
    let mut story = Story::begin(&node, regions, files.token(), Terminal::open());
    let live = Live::begin(shown.clone(), &node, options.tour_after.filter(|_| story.has_terminal()));
    let seen = Seen::default();
    let server = node.dns().first().copied().unwrap_or(options.dns);
    let watcher = tokio::spawn(watch(server, names, shown, seen.clone()));
    tell(options.duration, &node, regions, (&mut story, live), &seen, stop).await;
    watcher.abort();
    // The terminal is restored before anything else is printed.
    drop(story);
    node.stop().await;
    eprintln!("the demo has ended");
    Ok(())
}

/// Starts the server.
async fn start(loaded: Loaded, settings_file: PathBuf, flags: Flags) -> Result<RunningNode, StartError> {
    eprintln!("starting the server and a vantage in each region; the first probes are on their way ...");
    let vantages = REGIONS.map(|(name, octet)| VantageSpec {
        name: name.into(),
        region: name.into(),
        sources: SourceAddresses { v4: Some(Ipv4Addr::new(127, octet, 0, VANTAGE)), v6: None },
    });
    let spec = NodeSpec { loaded, settings_file: Some(settings_file), flags, vantages: vantages.into() };
    RunningNode::start(spec).await
}

/// Reports what happens until a signal or a key ends it, or the time is up.
async fn tell(
    duration: Option<Duration>,
    node: &RunningNode,
    regions: &mut [Region],
    (story, mut live): (&mut Story, Live),
    seen: &Seen,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) {
    let mut events = node.events();
    let every = |period| {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        ticks
    };
    let (mut look, mut draw) = (every(LOOK_EVERY), every(DRAW_EVERY));
    let mut suspend = suspend_signal(story);
    let end = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let mut fates: Vec<Fate> = regions.iter().map(|_| Fate::default()).collect();
    loop {
        tokio::select! {
            _ = &mut end => return,
            _ = &mut stop => return,
            () = next(&mut suspend) => {
                if let Some(terminal) = story.terminal() {
                    terminal.suspend();
                }
            }
            Ok(event) = events.recv() => {
                live.observe(&event);
                story.event(&event);
            }
            _ = draw.tick() => {
                if !live.step(regions, &mut fates, story, seen) {
                    return;
                }
            }
            _ = look.tick() => {
                story.answers(&node.snapshot());
                for (region, fate) in regions.iter_mut().zip(&mut fates) {
                    fate.follow(region, node, story, seen).await;
                }
            }
        }
    }
}

/// Ctrl-Z, where a terminal must be restored before the process stops.
fn suspend_signal(story: &Story) -> Option<Signal> {
    // Without one the signal keeps its default action.
    story.has_terminal().then(|| signal(SignalKind::from_raw(libc::SIGTSTP)).ok()).flatten()
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => signal.recv().await.unwrap_or(()),
        None => std::future::pending().await,
    }
}

/// The demo's regions, each with every address that its endpoints are probed at.
fn regions_of(model: &Model) -> Vec<Region> {
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
    by_region.into_iter().map(|(at, addresses)| Region::new(REGIONS[at].0.to_string(), addresses)).collect()
}

/// Every steered name, absolute.
fn steered_names(model: &Model) -> Vec<String> {
    model.zones.iter().flat_map(|zone| &zone.steered).map(|name| name.owner.to_string()).collect()
}
