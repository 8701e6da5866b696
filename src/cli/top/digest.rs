//! What follows from a status: the endpoints in the order of their problems, the regions, and what is wrong. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::problems::{Alert, problems};
use crate::control::names::NameReport;
use crate::control::status::{CheckReport, EndpointStatus, Status};

/// How good something is. The order is that of the matrix: the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    Down,
    Unknown,
    /// A part of it is down, drained, or out of reach.
    Partly,
    Drained,
    /// As it was before the vantages became blind or silent.
    LastKnown,
    Up,
}

/// An endpoint of the status.
#[derive(Debug, Clone)]
pub(super) struct EndpointPlace {
    /// Which zone of the status, and which endpoint of the zone.
    at: (usize, usize),
    /// How an operator or the files took it out, or forced it up; empty if nobody did.
    pub(super) out: &'static str,
    pub(super) is_well: bool,
}

/// A region of the settings, or one that only endpoints have.
#[derive(Debug, Clone)]
pub(super) struct RegionDigest {
    /// Empty for the endpoints without a region.
    pub(super) name: String,
    /// Latitude and longitude.
    pub(super) location: Option<[f64; 2]>,
    /// Positions in [`Digest::endpoints`].
    pub(super) endpoints: Vec<usize>,
    pub(super) up: usize,
    pub(super) condition: Condition,
    /// The condition for people: `up`, `partly down`, `2 drained`.
    pub(super) words: String,
    pub(super) has_vantage: bool,
}

/// What the vantages of a region observe of the endpoints of another one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RegionSight {
    /// The middle round-trip time in milliseconds.
    pub(super) rtt_ms: Option<f64>,
    pub(super) condition: Condition,
}

/// The digest of a status.
#[derive(Debug, Clone, Default)]
pub(super) struct Digest {
    /// Regions with a problem first, and endpoints with a problem first in each region.
    pub(super) endpoints: Vec<EndpointPlace>,
    pub(super) regions: Vec<RegionDigest>,
    /// The regions with a vantage, in the order of the settings.
    pub(super) from: Vec<String>,
    /// Those of which no vantage has a vote.
    silent: BTreeSet<String>,
    pub(super) up: usize,
    /// Whether some health is only the last one that is known.
    pub(super) is_last_known: bool,
    /// The worst first.
    pub(super) problems: Vec<Alert>,
}

impl Digest {
    /// The digest of a status; `away` are the names that are not as preferred.
    pub(super) fn of(status: &Status, away: &[NameReport]) -> Digest {
        let vantages: BTreeSet<&str> = status.vantages.iter().map(|vantage| vantage.region.as_str()).collect();
        let seeing = status.vantages.iter().filter(|vantage| vantage.state == "up");
        let seeing: BTreeSet<&str> = seeing.map(|vantage| vantage.region.as_str()).collect();
        let mut of_region: BTreeMap<&str, Vec<EndpointPlace>> = BTreeMap::new();
        for (zone, of_zone) in status.zones.iter().enumerate() {
            for (at, endpoint) in of_zone.endpoints.iter().enumerate() {
                let out = taken_out(endpoint);
                let is_well = endpoint.health == "up" && out.is_empty() && endpoint.basis.is_none();
                let place = EndpointPlace { at: (zone, at), out, is_well };
                of_region.entry(endpoint.region.as_deref().unwrap_or_default()).or_default().push(place);
            }
        }
        let mut regions = Vec::new();
        for place in &status.regions {
            let endpoints = of_region.remove(place.name.as_str()).unwrap_or_default();
            regions.push((place.name.as_str(), place.location, endpoints));
        }
        regions.extend(of_region.into_iter().map(|(name, endpoints)| (name, None, endpoints)));
        let mut regions: Vec<(RegionDigest, Vec<EndpointPlace>)> = regions
            .into_iter()
            .map(|(name, location, mut endpoints)| {
                endpoints.sort_by_key(|place| place.is_well);
                let mut region = region(status, name, &endpoints);
                region.location = location;
                region.has_vantage = vantages.contains(name);
                (region, endpoints)
            })
            .collect();
        regions.sort_by_key(|(region, _)| region.condition);
        let mut digest = Digest {
            from: status.regions.iter().map(|of| of.name.clone()).filter(|of| vantages.contains(of.as_str())).collect(),
            silent: vantages.difference(&seeing).map(|name| (*name).to_owned()).collect(),
            ..Digest::default()
        };
        for (mut region, endpoints) in regions {
            region.endpoints = (digest.endpoints.len()..digest.endpoints.len() + endpoints.len()).collect();
            digest.up += region.up;
            digest.endpoints.extend(endpoints);
            digest.regions.push(region);
        }
        let all = || status.zones.iter().flat_map(|zone| &zone.endpoints);
        digest.is_last_known = all().any(|endpoint| endpoint.basis.is_some());
        let down = digest.regions.iter().filter(|of| of.condition == Condition::Down && !of.name.is_empty());
        let down: Vec<(&str, usize)> = down.map(|of| (of.name.as_str(), of.endpoints.len())).collect();
        digest.problems = problems(status, away, &down);
        digest
    }

    /// The zone and the endpoint of a place.
    pub(super) fn endpoint<'s>(&self, status: &'s Status, at: usize) -> Option<(&'s str, &'s EndpointStatus)> {
        let (zone, at) = self.endpoints.get(at)?.at;
        let zone = status.zones.get(zone)?;
        Some((&zone.zone, zone.endpoints.get(at)?))
    }

    /// What the vantages of the region `from` observe of a region; `None` if they probe nothing there.
    pub(super) fn sight(&self, status: &Status, from: &str, region: &RegionDigest) -> Option<RegionSight> {
        let (mut rtts, mut up, mut all) = (Vec::new(), 0, 0);
        for (_, endpoint) in region.endpoints.iter().filter_map(|at| self.endpoint(status, *at)) {
            let report = endpoint.regions.iter().find(|of| of.region == from);
            rtts.extend(report.and_then(|of| of.rtt_ms));
            let is_reachable = report.is_none_or(|of| of.reachable);
            for check in own_checks(endpoint, from) {
                all += 1;
                up += usize::from(check.health == "up" && is_reachable);
            }
        }
        rtts.sort_by(f64::total_cmp);
        let condition = match (self.silent.contains(from), up) {
            (true, _) => Condition::LastKnown,
            (false, 0) => Condition::Down,
            (false, up) if up == all => Condition::Up,
            (false, _) => Condition::Partly,
        };
        (all > 0).then(|| RegionSight { rtt_ms: rtts.get(rtts.len() / 2).copied(), condition })
    }
}

/// The endpoint's own checks by the vantages of a region: those of monitors of names judge the name.
pub(super) fn own_checks<'s>(endpoint: &'s EndpointStatus, from: &'s str) -> impl Iterator<Item = &'s CheckReport> {
    endpoint.verdicts.iter().filter(move |check| check.region == from && check.monitor.is_none())
}

/// How an operator or the files changed what an endpoint gets; empty if nobody did.
fn taken_out(endpoint: &EndpointStatus) -> &'static str {
    let state = endpoint.overridden.as_ref().map(|entry| entry.state.as_str()).or(endpoint.state.as_deref());
    match state {
        None => "",
        Some("drain") => "drained",
        Some("down") => "forced down",
        Some("up") => "forced up",
        Some("disabled") => "disabled",
        // One of a later release.
        Some(_) => "overridden",
    }
}

fn region(status: &Status, name: &str, endpoints: &[EndpointPlace]) -> RegionDigest {
    let number = |test: &dyn Fn(&EndpointPlace, &EndpointStatus) -> bool| {
        endpoints.iter().filter(|place| test(place, &status.zones[place.at.0].endpoints[place.at.1])).count()
    };
    let up = number(&|_, endpoint| endpoint.health == "up");
    let down = number(&|_, endpoint| endpoint.health == "down");
    let out = number(&|place, _| !matches!(place.out, "" | "forced up"));
    let last = number(&|_, endpoint| endpoint.basis.is_some());
    let (condition, words) = match endpoints.len() {
        0 => (Condition::Up, "vantage only".to_owned()),
        all if out == all => (Condition::Drained, "drained".to_owned()),
        _ if up == 0 && down > 0 => (Condition::Down, "down".to_owned()),
        _ if up == 0 => (Condition::Unknown, "not known yet".to_owned()),
        _ if last > 0 => (Condition::LastKnown, "last known".to_owned()),
        _ if out > 0 => (Condition::Partly, format!("{out} drained")),
        all if up < all => (Condition::Partly, "partly down".to_owned()),
        _ => (Condition::Up, "up".to_owned()),
    };
    RegionDigest {
        name: name.to_owned(),
        location: None,
        endpoints: Vec::new(),
        up,
        condition,
        words,
        has_vantage: false,
    }
}
