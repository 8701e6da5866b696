//! The demo on a terminal: draws the block, reads keys, and runs the tour. Without a terminal it does nothing. Collects
//! the input of the pure modules `scene` and `tour`.

use std::net::IpAddr;
use std::time::Duration;

use crate::clock;
use crate::control::JournalEvent;
use crate::daemon::RunningNode;
use crate::demo::children::RegionProcess;
use crate::demo::output::DemoOutput;
use crate::demo::region::REGIONS;
use crate::demo::scene::{ClientRow, RegionRow, Scene, ShownAnswer};
use crate::demo::supervisor::Supervisor;
use crate::demo::terminal::DemoKey;
use crate::demo::tour::{TOUR_PAUSE, Tour};
use crate::demo::watch::{AnswerLog, LastReply, client};
use crate::model::Moment;

/// The region that the tour kills.
const TOUR_REGION: &str = "eu-west";

/// The states of an endpoint in events that a command of the user causes.
const OVERRIDDEN: [&str; 3] = ["drained", "forced-up", "forced-down"];

/// The block on the terminal, and the tour.
pub(crate) struct LiveView {
    /// The name whose answers are shown, absolute.
    name: String,
    began: Moment,
    tour: Tour,
    /// The addresses in the answers to the tour's client before the tour.
    home: Vec<IpAddr>,
    page: String,
}

impl LiveView {
    /// Begins now. `tour_after` is the time until the tour; `None`: no tour.
    pub(crate) fn begin(name: String, node: &RunningNode, tour_after: Option<Duration>) -> LiveView {
        let tour = tour_after.map_or(Tour::Off, Tour::Begins);
        LiveView { name, began: clock::now(), tour, home: Vec::new(), page: format!("http://{}/", node.http()) }
    }

    /// Cancels the tour if the event shows that the user has changed something by a command.
    pub(crate) fn observe(&mut self, event: &JournalEvent) {
        if [&event.from, &event.to].into_iter().any(|state| OVERRIDDEN.contains(&state.as_str())) {
            self.tour.cancel();
        }
    }

    /// Continues the tour, reads keys and draws. Returns whether the demo continues.
    pub(crate) fn step(
        &mut self,
        regions: &mut [RegionProcess],
        supervisors: &mut [Supervisor],
        output: &mut DemoOutput,
        log: &AnswerLog,
    ) -> bool {
        self.continue_tour(regions, supervisors, output, log);
        let Some(terminal) = output.terminal() else { return true };
        match terminal.key() {
            Some(DemoKey::Quit) => return false,
            Some(DemoKey::Commands) => output.print_commands(),
            None => {}
        }
        let Some(terminal) = output.terminal() else { return true };
        let scene = self.scene(regions, supervisors, log, terminal.has_keys());
        terminal.draw(scene.lines(terminal.size()));
        !terminal.is_gone()
    }

    fn continue_tour(
        &mut self,
        regions: &mut [RegionProcess],
        supervisors: &mut [Supervisor],
        output: &mut DemoOutput,
        log: &AnswerLog,
    ) {
        let Some(at) = regions.iter().position(|region| region.name == TOUR_REGION) else { return };
        let reply = REGIONS.iter().position(|(name, _)| *name == TOUR_REGION).and_then(|client| log.reply(client));
        let answered = reply.map(|reply| reply.addresses).unwrap_or_default();
        let was = self.tour;
        let is_time = self.tour.step(crate::demo::tour::TourInput {
            elapsed: clock::now().since(self.began),
            do_all_run: supervisors.iter().all(Supervisor::is_running),
            is_back: answered == self.home,
        });
        if is_time {
            self.home = answered;
            output.report(&format!("{TOUR_REGION}: the demo kills its process now, and starts it again later"));
            if let (Some(region), Some(supervisor)) = (regions.get_mut(at), supervisors.get_mut(at)) {
                supervisor.pause_for(TOUR_PAUSE);
                region.kill();
            }
        } else if was != self.tour && self.tour == Tour::Over {
            output.report(&format!("{TOUR_REGION} answers its clients again; from here on nothing happens by itself"));
        }
    }

    fn scene(&self, regions: &[RegionProcess], supervisors: &[Supervisor], log: &AnswerLog, has_keys: bool) -> Scene {
        let now = clock::now();
        let elapsed = now.since(self.began);
        let clients = REGIONS.iter().enumerate().map(|(at, (name, octet))| ClientRow {
            region: (*name).to_owned(),
            address: IpAddr::V4(client(*octet)),
            answer: log.reply(at).map(|reply| answer(&reply, name, regions, now)),
        });
        let keys = if has_keys { "d: commands to try   q or Ctrl-C: end" } else { "Ctrl-C: end" };
        Scene {
            name: self.name.clone(),
            elapsed,
            clients: clients.collect(),
            regions: regions
                .iter()
                .zip(supervisors)
                .map(|(region, supervisor)| RegionRow {
                    name: region.name.clone(),
                    state: supervisor.state(region, now),
                })
                .collect(),
            announcement: self.tour.announcement(TOUR_REGION, elapsed),
            footer: format!("{keys}   page: {}", self.page),
        }
    }
}

fn answer(reply: &LastReply, own: &str, regions: &[RegionProcess], now: Moment) -> ShownAnswer {
    ShownAnswer {
        now: listed(&reply.addresses, |address| region_of(address, regions)),
        is_own: reply.addresses.iter().all(|address| region_of(*address, regions) == Some(own)),
        before: reply.before.as_ref().map(|(addresses, at)| (listed(addresses, |_| None), now.since(*at))),
        age: now.since(reply.at),
    }
}

/// `127.2.0.10 (eu-west)` if the region is known.
fn listed<'a>(addresses: &[IpAddr], region_of: impl Fn(IpAddr) -> Option<&'a str>) -> String {
    let shown = |address: &IpAddr| match region_of(*address) {
        Some(region) => format!("{address} ({region})"),
        None => address.to_string(),
    };
    match addresses.is_empty() {
        true => "no address".to_owned(),
        false => addresses.iter().map(shown).collect::<Vec<_>>().join(", "),
    }
}

fn region_of(address: IpAddr, regions: &[RegionProcess]) -> Option<&str> {
    let has = |region: &&RegionProcess| region.addresses.iter().any(|each| each.ip() == address);
    regions.iter().find(has).map(|region| region.name.as_str())
}
