//! The demo on a terminal: draws what is seen, reads keys, runs the tour. Without a terminal it does nothing. Puts
//! together what the pure parts (`scene`, `tour`) need.

use std::net::IpAddr;
use std::time::Duration;

use crate::clock;
use crate::control::JournalEvent;
use crate::daemon::RunningNode;
use crate::demo::children::Region;
use crate::demo::fate::Fate;
use crate::demo::region::REGIONS;
use crate::demo::scene::{Answer, Client, RegionNow, Scene};
use crate::demo::story::Story;
use crate::demo::terminal::Key;
use crate::demo::tour::{TOUR_PAUSE, Tour};
use crate::demo::watch::{Reply, Seen, client};
use crate::model::Moment;

/// The region that the tour takes down.
const TOUR_REGION: &str = "eu-west";

/// The states of an endpoint in events that a command of the user brings about.
const OVERRIDDEN: [&str; 3] = ["drained", "forced-up", "forced-down"];

/// What is shown, and what the demo does by itself.
pub(crate) struct Live {
    /// The name whose answers are shown, absolute.
    name: String,
    began: Moment,
    tour: Tour,
    /// What the tour's client was answered before.
    home: Vec<IpAddr>,
    page: String,
}

impl Live {
    /// Begins now. `tour_after` is the time until the tour; none leaves it out.
    pub(crate) fn begin(name: String, node: &RunningNode, tour_after: Option<Duration>) -> Live {
        let tour = tour_after.map_or(Tour::Off, Tour::Begins);
        Live { name, began: clock::now(), tour, home: Vec::new(), page: format!("http://{}/", node.http()) }
    }

    /// Where the user has changed something by a command, the tour doesn't interfere.
    pub(crate) fn observe(&mut self, event: &JournalEvent) {
        if [&event.from, &event.to].into_iter().any(|state| OVERRIDDEN.contains(&state.as_str())) {
            self.tour.leave_out();
        }
    }

    /// Goes on with the tour, reads keys and draws; whether the demo is to go on.
    pub(crate) fn step(&mut self, regions: &mut [Region], fates: &mut [Fate], story: &mut Story, seen: &Seen) -> bool {
        self.go_on(regions, fates, story, seen);
        let Some(terminal) = story.terminal() else { return true };
        match terminal.key() {
            Some(Key::Quit) => return false,
            Some(Key::Commands) => story.suggest(),
            None => {}
        }
        let Some(terminal) = story.terminal() else { return true };
        let scene = self.scene(regions, fates, seen, terminal.has_keys());
        terminal.draw(scene.lines(terminal.size()));
        !terminal.is_gone()
    }

    /// The next step of the tour.
    fn go_on(&mut self, regions: &mut [Region], fates: &mut [Fate], story: &mut Story, seen: &Seen) {
        let Some(at) = regions.iter().position(|region| region.name == TOUR_REGION) else { return };
        let reply = REGIONS.iter().position(|(name, _)| *name == TOUR_REGION).and_then(|client| seen.reply(client));
        let answered = reply.map(|reply| reply.addresses).unwrap_or_default();
        let was = self.tour;
        let is_time = self.tour.step(crate::demo::tour::Seen {
            elapsed: clock::now().since(self.began),
            do_all_run: fates.iter().all(Fate::runs),
            is_back: answered == self.home,
        });
        if is_time {
            self.home = answered;
            story.say(&format!("{TOUR_REGION}: the demo kills its process now, and starts it again later"));
            if let (Some(region), Some(fate)) = (regions.get_mut(at), fates.get_mut(at)) {
                fate.pause_for(TOUR_PAUSE);
                region.kill();
            }
        } else if was != self.tour && self.tour == Tour::Over {
            story.say(&format!("{TOUR_REGION} answers its clients again; from here on nothing happens by itself"));
        }
    }

    fn scene(&self, regions: &[Region], fates: &[Fate], seen: &Seen, has_keys: bool) -> Scene {
        let now = clock::now();
        let elapsed = now.since(self.began);
        let clients = REGIONS.iter().enumerate().map(|(at, (name, octet))| Client {
            region: (*name).to_owned(),
            address: IpAddr::V4(client(*octet)),
            answer: seen.reply(at).map(|reply| answer(&reply, name, regions, now)),
        });
        let keys = if has_keys { "d: commands to try   q or Ctrl-C: end" } else { "Ctrl-C: end" };
        Scene {
            name: self.name.clone(),
            elapsed,
            clients: clients.collect(),
            regions: regions
                .iter()
                .zip(fates)
                .map(|(region, fate)| RegionNow { name: region.name.clone(), state: fate.state(region, now) })
                .collect(),
            announcement: self.tour.announcement(TOUR_REGION, elapsed),
            footer: format!("{keys}   page: {}", self.page),
        }
    }
}

fn answer(reply: &Reply, own: &str, regions: &[Region], now: Moment) -> Answer {
    Answer {
        now: listed(&reply.addresses, |address| region_of(address, regions)),
        is_own: reply.addresses.iter().all(|address| region_of(*address, regions) == Some(own)),
        before: reply.before.as_ref().map(|(addresses, at)| (listed(addresses, |_| None), now.since(*at))),
        age: now.since(reply.at),
    }
}

/// `127.2.0.10 (eu-west)`, where the region is known.
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

fn region_of(address: IpAddr, regions: &[Region]) -> Option<&str> {
    let has = |region: &&Region| region.addresses.iter().any(|each| each.ip() == address);
    regions.iter().find(has).map(|region| region.name.as_str())
}
