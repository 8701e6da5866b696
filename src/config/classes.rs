//! Reads the zones and places their clients. The number of classes of clients is a bound that all zones share, and how
//! many there are is known only after all zones are read. Where there are too many, zones are left out, and all are
//! read again: first zones that have changed, in the order of how many classes each distinguishes alone. A last good
//! version that is served is given up only if that is not enough. So a load never fails because of what one zone
//! distinguishes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::clients::{self, Unplaced};
use crate::config::settings::Settings;
use crate::config::zones::{self, ReadZones, VersionStatus, WhyLeftOut, ZoneHistory, ZoneState, ZonesLeftOut};
use crate::model::{ClientSources, Model, Selector};
use crate::placing;
use crate::source::{ManualSection, Place, Problems};
use crate::wire::Name;

/// How often zones are left out in one load before all zones with selectors are: first those that have changed, then
/// those whose last good version is too large (judgment).
const ROUNDS: usize = 3;

/// Of how many zones the classes are counted: those with the most selectors. Counting takes as long as placing all
/// clients, which is a second with large databases (judgment).
const MOST_COUNTED: usize = 16;

/// Most classes of clients: their ids have 16 bits.
const MAX_CLASSES: usize = 65_535;

/// All zones, with their clients.
pub(super) struct LoadedZones {
    /// The zones.
    pub(super) model: Model,
    /// The state of each zone, in the order of the model.
    pub(super) zones: Vec<ZoneState>,
    /// Files to watch: see [`ReadZones`], and the databases.
    pub(super) files: Vec<PathBuf>,
    /// Zones whose last good version is not valid under these settings.
    pub(super) invalid: Vec<Name>,
    /// Whether the clients could be placed.
    pub(super) is_complete: bool,
}

/// Reads every zone of the directory, and places the clients. `served` is the model that is in force.
pub(super) fn read_and_place(
    settings: &Settings,
    before: &ZoneHistory,
    served: Option<&Model>,
    problems: &mut Problems,
) -> LoadedZones {
    let mut left_out = ZonesLeftOut::new();
    let mut round = 0;
    loop {
        let mut found = problems.separate();
        let mut read = zones::read(settings, before, &left_out, &mut found);
        if read.model.zones.is_empty() && problems.errors() + found.errors() == 0 {
            let message = "there are no zones here, so every query is refused";
            let problem = found.warning(&Place::start_of(&settings.zones_shown), message);
            problem.hint("write NAME.zone, and NAME.policy.toml for what is steered");
        }
        let result = found.about(ManualSection::Clients, |found| clients::place(settings, &mut read, served, found));
        if let Err(Unplaced::TooMany(sources)) = &result {
            round += 1;
            let more = blamed(sources, &read, before, round > ROUNDS);
            if !more.is_empty() {
                left_out.extend(more);
                continue;
            }
            let message = "the regions and databases distinguish more than 65,535 classes of clients";
            found.about(ManualSection::Clients, |found| {
                let problem = found.error(&Place::start_of(&settings.zones_shown), message);
                problem.hint("declare fewer regions, or put several countries and nets into one list");
            });
        }
        problems.extend(found);
        let ReadZones { model, zones, files, invalid, .. } = read;
        return LoadedZones { model, zones, files, invalid, is_complete: result.is_ok() };
    }
}

/// A zone that distinguishes clients.
struct DistinguishingZone<'a> {
    zone: &'a ZoneState,
    selectors: BTreeSet<usize>,
    /// How many classes it distinguishes alone; `MAX_CLASSES + 1`: more than that; 0: not counted,
    /// see [`MOST_COUNTED`].
    classes: usize,
    /// Whether its files are not those of the version that is served, so that leaving them out takes nothing away.
    is_new: bool,
}

/// The zones to leave out; none if the settings alone distinguish too much. `all`: every zone with selectors.
fn blamed(sources: &ClientSources, read: &ReadZones, before: &ZoneHistory, all: bool) -> ZonesLeftOut {
    let mut by_zone: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
    for (zone, selector) in &read.uses {
        by_zone.entry(zone.0).or_default().insert(usize::from(selector.0));
    }
    let distinguishing = |(zone, selectors): (u32, BTreeSet<usize>)| {
        let zone = read.zones.get(zone as usize)?;
        let known = before.version(&zone.apex).zip(zone.version.as_ref());
        let is_same = known.is_some_and(|(known, version)| Arc::ptr_eq(known, version));
        let is_new = zone.status == VersionStatus::Current && !is_same;
        Some(DistinguishingZone { zone, selectors, classes: 0, is_new })
    };
    let mut zones: Vec<DistinguishingZone<'_>> = by_zone.into_iter().filter_map(distinguishing).collect();
    zones.sort_by(|a, b| (b.selectors.len(), &b.zone.apex).cmp(&(a.selectors.len(), &a.zone.apex)));
    for (at, of) in zones.iter_mut().enumerate() {
        of.classes = if at < MOST_COUNTED { alone(sources, read, &of.selectors) } else { 0 };
    }
    // Stable: of equal ones, the one with more selectors stays first.
    zones.sort_by_key(|of| (!of.is_new, std::cmp::Reverse(of.classes)));
    let fits = |without: usize| {
        let left: HashSet<usize> = zones[without..].iter().flat_map(|of| of.selectors.iter().copied()).collect();
        places(sources.clone(), read, |at| left.contains(&at)).is_some()
    };
    if !fits(zones.len()) {
        return ZonesLeftOut::new();
    }
    // The fewest that must go: between `fewest`, and a number that is enough.
    let (mut fewest, mut enough) = (1, zones.len());
    while fewest < enough && !all {
        let middle = usize::midpoint(fewest, enough);
        match fits(middle) {
            true => enough = middle,
            false => fewest = middle + 1,
        }
    }
    zones.truncate(enough);
    zones.into_iter().map(|of| (of.zone.apex.clone(), why(&of, all))).collect()
}

fn why(of: &DistinguishingZone<'_>, all: bool) -> WhyLeftOut {
    let message = match of.classes {
        0 => "with the clients that this zone distinguishes, all zones have more than 65,535 classes of clients".into(),
        too_many if too_many > MAX_CLASSES => "this zone distinguishes more than 65,535 classes of clients".into(),
        has => format!(
            "with the {has} classes of clients that this zone distinguishes, all zones together have more than 65,535"
        ),
    };
    let hint = "ask for fewer countries, autonomous systems and nets, or put several into one list";
    WhyLeftOut { message, hint, is_unserved: all || !of.is_new }
}

/// How many classes these selectors distinguish alone.
fn alone(sources: &ClientSources, read: &ReadZones, selectors: &BTreeSet<usize>) -> usize {
    let is_by_nets = |selector: &Selector| {
        let Selector { groups: _, nets: _, asns, countries, continents, regions, unknown } = selector;
        asns.is_empty() && countries.is_empty() && continents.is_empty() && regions.is_empty() && !unknown
    };
    let mut sources = sources.clone();
    let all = &read.model.clients.selectors;
    if selectors.iter().filter_map(|at| all.get(*at)).all(is_by_nets) {
        // The databases make no difference for it.
        sources.databases.clear();
    }
    places(sources, read, |at| selectors.contains(&at)).unwrap_or(MAX_CLASSES + 1)
}

/// The number of classes by some of the selectors; `None` if there are too many.
fn places(sources: ClientSources, read: &ReadZones, is_in: impl Fn(usize) -> bool) -> Option<usize> {
    let all = read.model.clients.selectors.iter().enumerate();
    let selectors: Vec<Selector> = all.filter(|(at, _)| is_in(*at)).map(|(_, selector)| selector.clone()).collect();
    placing::place(sources, &selectors, None).ok().map(|clients| clients.classes.len())
}
