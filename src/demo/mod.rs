//! The main job with nothing to set up: three regions on loopback, each a process that can be killed and stopped; a
//! vantage in each; the server over them. Tells what to type, and then what happens. The server is the one of `serve`.

mod children;
mod files;
pub mod region;
mod story;
mod watch;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use crate::clock;
use crate::config::{Flags, Loaded};
use crate::daemon::{Node, NodeSpec, StartError, VantageSpec, stop_signal};
use crate::demo::children::{Life, Region};
use crate::demo::files::Files;
use crate::demo::region::REGIONS;
use crate::demo::story::Story;
use crate::demo::watch::{LastNamed, watch};
use crate::health::Sources;
use crate::model::{Model, Moment, ProbeTarget};
use crate::steering::Given;

/// What `portolan demo` was asked for.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Ends by itself after this; runs until a signal without.
    pub duration: Option<Duration>,
    /// Where the server answers DNS.
    pub dns: SocketAddr,
    /// Where the API is.
    pub http: SocketAddr,
}

/// A killed region is started again after this: long enough to see it gone from `dig`, and from caches.
const RESTART_AFTER: Duration = Duration::from_secs(20);

/// How often the processes are looked at: the resolution of "when it went".
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A region counts as out of the answers when no answer named it for this long.
const SETTLED: Duration = Duration::from_millis(300);

/// Host part of the vantages' addresses.
const VANTAGE: u8 = 53;

/// Runs the demo. Everything it started has ended when this returns.
pub async fn run(options: DemoOptions) -> Result<(), StartError> {
    let files = Files::find()?;
    let flags =
        Flags::default().with("listen.dns", &options.dns.to_string()).with("listen.http", &options.http.to_string());
    let flags = within_reach(files.settled(flags), options.http);
    let settings_file = files.settings();
    let loaded = crate::config::load(Some(&settings_file), &flags).map_err(StartError::Problems)?;
    let mut regions = regions(&loaded.model);
    let stop = stop_signal();
    tokio::pin!(stop);
    let outcome = show(&options, loaded, &files, flags, &mut regions, stop).await;
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
        // In this order, so that the signals are listened for before anything is started.
        biased;
        () = &mut stop => return Ok(()),
        started = start(loaded, files.settings(), flags, regions) => started?,
    };
    let mut story = Story::begin(&node, regions, files.token());
    let seen = LastNamed::default();
    let server = node.dns().first().copied().unwrap_or(options.dns);
    let watcher = tokio::spawn(watch(server, names, seen.clone()));
    tell(options, &node, regions, &mut story, &seen, stop).await;
    watcher.abort();
    node.stop().await;
    eprintln!("the demo has ended");
    Ok(())
}

/// Starts the regions one after the other, then the server.
async fn start(
    loaded: Loaded,
    settings_file: PathBuf,
    flags: Flags,
    regions: &mut [Region],
) -> Result<Node, StartError> {
    for region in regions.iter_mut() {
        eprintln!("starting the endpoints of {} ...", region.name);
        region.start().await.map_err(StartError::Demo)?;
    }
    eprintln!("starting the server and a vantage in each region; the first probes are on their way ...");
    let vantages = REGIONS.map(|(name, octet)| VantageSpec {
        name: name.into(),
        region: name.into(),
        sources: Sources { v4: Some(Ipv4Addr::new(127, octet, 0, VANTAGE)), v6: None },
    });
    let spec = NodeSpec { loaded, settings_file: Some(settings_file), flags, vantages: vantages.into() };
    Node::start(spec).await
}

/// Tells what happens until a signal comes or the time is up.
async fn tell(
    options: &DemoOptions,
    node: &Node,
    regions: &mut [Region],
    story: &mut Story,
    seen: &LastNamed,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) {
    let mut events = node.events();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let end = async {
        match options.duration {
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
            Ok(event) = events.recv() => story.event(&event),
            _ = look.tick() => {
                story.answers(&node.snapshot());
                for (region, fate) in regions.iter_mut().zip(&mut fates) {
                    fate.follow(region, node, story, seen).await;
                }
            }
        }
    }
}

/// What has become of one region's process.
#[derive(Default)]
struct Fate {
    went: Option<Moment>,
    is_gone: bool,
    is_told: bool,
}

impl Fate {
    /// Notices that the region went or came back, says how long answers went on naming it, starts it again.
    async fn follow(&mut self, region: &mut Region, node: &Node, story: &mut Story, seen: &LastNamed) {
        let (now, life) = (clock::now(), region.life());
        match (life, self.went) {
            (Life::Running, Some(_)) => {
                story.say(&format!("{} runs again", region.name));
                *self = Fate::default();
            }
            (Life::Stopped | Life::Gone, None) => {
                *self = Fate { went: Some(now), is_gone: life == Life::Gone, is_told: false };
                let how = if self.is_gone { "is gone; it will be started again in 20 s" } else { "is stopped" };
                story.say(&format!("{}: its process {how}", region.name));
            }
            (Life::Gone, Some(_)) => self.is_gone = true,
            (Life::Running, None) | (Life::Stopped, Some(_)) => {}
        }
        let Some(went) = self.went else { return };
        if !self.is_told && !names_any(node, region) && now.since(seen.of(&region.addresses).unwrap_or(went)) > SETTLED
        {
            self.is_told = true;
            let last = seen.of(&region.addresses).map_or(Duration::ZERO, |last| last.since(went));
            story.say(&format!(
                "{}: the last answer that named it came {} ms after it went",
                region.name,
                last.as_millis()
            ));
        }
        if self.is_gone && now.since(went) >= RESTART_AFTER {
            match region.start().await {
                Ok(()) => {
                    story.print(&region.line());
                    *self = Fate::default();
                }
                Err(error) => {
                    story.say(&error);
                    self.went = Some(now);
                }
            }
        }
    }
}

/// Whether any decision that is being served gives one of the region's endpoints.
fn names_any(node: &Node, region: &Region) -> bool {
    let snapshot = node.snapshot();
    snapshot.decisions().any(|decision| match &decision.given {
        Given::Endpoints(distribution) => {
            let given = distribution.tiers.first().into_iter().flat_map(|tier| &tier.shares);
            given.flat_map(|share| &share.endpoints).any(|id| {
                let of = snapshot.model.endpoint(*id).region;
                of.is_some_and(|of| snapshot.model.region(of).name == region.name)
            })
        }
        Given::Static | Given::Nodata => false,
    })
}

/// The demo's regions, each with every address that its endpoints are probed at.
fn regions(model: &Model) -> Vec<Region> {
    let mut by_region: BTreeMap<usize, Vec<SocketAddr>> = BTreeMap::new();
    for endpoint in &model.endpoints {
        let name = endpoint.region.map(|id| model.region(id).name.as_str());
        let Some(at) = REGIONS.iter().position(|(region, _)| Some(*region) == name) else { continue };
        let checks = endpoint.answerables.iter().filter_map(|answerable| answerable.check);
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
