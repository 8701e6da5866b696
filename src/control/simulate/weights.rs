//! The demand as a weight for each steered name and client class of one model.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::control::simulate::demand::{DemandLine, MAX_LINES, is_rate};
use crate::control::simulate::request::{SimulationError, SimulationRequest};
use crate::model::{ClassId, Facet, Model, Policy, PolicyId, ZoneId};
use crate::snapshot::{Group, KnownBy, LocalClass, Snapshot};

/// Most parts of different classes that all nets together are divided into: a second or so of look-ups.
const MAX_PARTS: usize = 4_000_000;

/// How much each class asks for each name. A class is one that the name's policy tells apart.
pub(super) struct Weights {
    /// What every steered name gets, by group of policies, then by class.
    common: HashMap<Group, Vec<f64>>,
    /// What single names get on top.
    named: HashMap<NameAt, Vec<f64>>,
    /// The names of each policy.
    names: Vec<Vec<NameAt>>,
    /// Of all names and classes.
    pub(super) total: f64,
    /// Whether weights are queries a second; else they are shares.
    pub(super) is_rate: bool,
    /// In words.
    pub(super) told: String,
}

/// A steered name: its zone, and its place in the zone's list.
pub(super) type NameAt = (ZoneId, usize);

impl Weights {
    /// The demand that `ask` has, on the names and classes of `snapshot`.
    pub(super) fn of(snapshot: &Snapshot, ask: &SimulationRequest) -> Result<Weights, SimulationError> {
        if ask.demand.len() > MAX_LINES {
            let why = format!("a demand has at most {MAX_LINES} lines, here are {}", ask.demand.len());
            return Err(SimulationError::TooMuch(why));
        }
        let refused = |why: String| Err(SimulationError::Refused(why));
        let wrong = ask.demand.iter().map(|line| line.qps).chain(ask.qps).find(|qps| !is_rate(*qps));
        match (ask.demand.is_empty(), ask.qps, wrong) {
            (_, _, Some(qps)) => refused(format!("{qps} is no number of queries a second")),
            (false, Some(_), None) => refused("qps and demand exclude each other: the lines add up".to_owned()),
            (true, qps, None) => Ok(Weights::even(snapshot, qps)),
            (false, None, None) => Weights::of_lines(snapshot, &ask.demand),
        }
    }

    fn none(snapshot: &Snapshot) -> Weights {
        let (common, named) = (HashMap::new(), HashMap::new());
        let names = names(&snapshot.model);
        Weights { common, named, names, total: 0.0, is_rate: true, told: String::new() }
    }

    fn asked(&self) -> Vec<NameAt> {
        self.names.iter().flatten().copied().collect()
    }

    /// All classes of the model the same.
    pub(super) fn even(snapshot: &Snapshot, qps: Option<f64>) -> Weights {
        let mut weights = Weights::none(snapshot);
        let classes = snapshot.model.clients.classes.len();
        (weights.total, weights.is_rate) = (qps.unwrap_or(1.0), qps.is_some());
        let each = weights.total / classes as f64 / weights.asked().len().max(1) as f64;
        for policy in groups(snapshot) {
            let mut row = vec![0.0; snapshot.local_classes(policy).len()];
            for class in (0..classes as u16).map(ClassId) {
                row[usize::from(snapshot.local(policy, class).0)] += each;
            }
            weights.common.insert(snapshot.group(policy), row);
        }
        let spread = if classes == 1 { "one client class".to_owned() } else { format!("{classes} client classes") };
        weights.told = match qps {
            Some(qps) => format!("{qps} queries a second, even over {spread}"),
            None => format!("even over {spread}"),
        };
        weights
    }

    fn of_lines(snapshot: &Snapshot, lines: &[DemandLine]) -> Result<Weights, SimulationError> {
        let mut weights = Weights::none(snapshot);
        let asked = weights.asked();
        let mut parts = MAX_PARTS;
        let mut divided = |at: usize, policy| {
            classes_of(snapshot, lines[at].net, policy, &mut parts).ok_or_else(|| {
                let net = lines[at].net;
                SimulationError::TooMuch(format!("line {}: up to {net} there are too many different clients", at + 1))
            })
        };
        for policy in groups(snapshot) {
            let mut row = vec![0.0; snapshot.local_classes(policy).len()];
            for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.name.is_none()) {
                let each = line.qps / asked.len().max(1) as f64;
                divided(at, policy)?.iter().for_each(|(class, part)| row[usize::from(class.0)] += each * part);
            }
            weights.common.insert(snapshot.group(policy), row);
        }
        for (at, line) in lines.iter().enumerate() {
            let Some(name) = &line.name else { continue };
            let meant = of_name(&snapshot.model, &asked, name)?;
            for name in &meant {
                let policy = policy_of(&snapshot.model, *name);
                let row = weights.named.entry(*name).or_insert_with(|| vec![0.0; snapshot.local_classes(policy).len()]);
                let each = line.qps / meant.len() as f64;
                divided(at, policy)?.iter().for_each(|(class, part)| row[usize::from(class.0)] += each * part);
            }
        }
        weights.total = lines.iter().map(|line| line.qps).sum();
        let count = if lines.len() == 1 { "one line".to_owned() } else { format!("{} lines", lines.len()) };
        weights.told = format!("{} queries a second in {count} of demand", weights.total);
        Ok(weights)
    }

    /// The names that a policy answers, and that are asked for.
    pub(super) fn names(&self, policy: PolicyId) -> &[NameAt] {
        &self.names[policy.0 as usize]
    }

    fn common(&self, snapshot: &Snapshot, policy: PolicyId) -> &[f64] {
        self.common.get(&snapshot.group(policy)).map_or(&[], Vec::as_slice)
    }

    /// What one name of a policy is asked, by class.
    pub(super) fn of_name(&self, snapshot: &Snapshot, policy: PolicyId, name: NameAt) -> Vec<f64> {
        let common = self.common(snapshot, policy);
        match self.named.get(&name) {
            None => common.to_vec(),
            Some(row) => common.iter().zip(row).map(|(common, own)| common + own).collect(),
        }
    }

    /// What all names of a policy are asked together, by class.
    pub(super) fn of_policy(&self, snapshot: &Snapshot, policy: PolicyId) -> Vec<f64> {
        let names = self.names(policy);
        let mut sum: Vec<f64> =
            self.common(snapshot, policy).iter().map(|weight| weight * names.len() as f64).collect();
        for row in names.iter().filter_map(|name| self.named.get(name)) {
            sum.iter_mut().zip(row).for_each(|(sum, own)| *sum += own);
        }
        sum
    }
}

/// A policy of each group.
fn groups(snapshot: &Snapshot) -> Vec<PolicyId> {
    let mut known = HashSet::new();
    let all = (0..snapshot.model.policies.len() as u32).map(PolicyId);
    all.filter(|policy| known.insert(snapshot.group(*policy))).collect()
}

fn policy_of(model: &Model, (zone, at): NameAt) -> PolicyId {
    model.zone(zone).steered[at].policy
}

/// The steered names of each policy, as zone and place in its list; without those that nothing is asked of.
fn names(model: &Model) -> Vec<Vec<NameAt>> {
    let mut names = vec![Vec::new(); model.policies.len()];
    for (zone_at, zone) in model.zones.iter().enumerate() {
        for (at, name) in zone.steered.iter().enumerate() {
            if !asked_facets(model.policy(name.policy)).is_empty() {
                names[name.policy.0 as usize].push((ZoneId(zone_at as u32), at));
            }
        }
    }
    names
}

/// The names that are called `name`: as a policy file writes it, in any zone, or whole.
fn of_name(model: &Model, asked: &[NameAt], name: &str) -> Result<Vec<NameAt>, SimulationError> {
    let steered = |key: &NameAt| &model.zone(key.0).steered[key.1];
    let whole = crate::wire::Name::parse(name).ok();
    let is_meant = |key: &&NameAt| steered(key).label == name || Some(&steered(key).owner) == whole.as_ref();
    let meant: Vec<NameAt> = asked.iter().filter(is_meant).copied().collect();
    if meant.is_empty() {
        return Err(SimulationError::unknown(
            "steered name",
            name,
            asked.iter().map(|key| steered(key).label.as_str()),
        ));
    }
    Ok(meant)
}

/// The types that clients of a policy's names ask for: all that it answers, but an alias only where it has no
/// addresses, as it is given to those who ask for an address.
pub(super) fn asked_facets(policy: &Policy) -> Vec<Facet> {
    let has_addresses = policy.facets.iter().any(|facet| matches!(facet, Facet::V4 | Facet::V6));
    let is_asked = |facet: &Facet| match facet {
        Facet::V4 | Facet::V6 | Facet::Srv | Facet::Https | Facet::Svcb => true,
        Facet::Alias => !has_addresses,
    };
    policy.facets.iter().copied().filter(is_asked).collect()
}

/// How the clients of a net are divided among the classes of a policy, by addresses; parts of 1. `None` when there are
/// more than `parts` pieces, which are used up.
fn classes_of(snapshot: &Snapshot, net: IpNet, policy: PolicyId, parts: &mut usize) -> Option<Vec<(LocalClass, f64)>> {
    let mut found: HashMap<LocalClass, f64> = HashMap::new();
    let bits = u32::from(net.max_prefix_len());
    let (mut at, last) = (number(net.network()), number(net.broadcast()));
    loop {
        *parts = parts.checked_sub(1)?;
        let (class, scope) = snapshot.place(address(at, bits), policy, KnownBy::Address);
        let scope = scope.max(net.prefix_len());
        *found.entry(class).or_default() += 0.5_f64.powi(i32::from(scope - net.prefix_len()));
        let rest = u128::MAX.checked_shr(128 - bits + u32::from(scope)).unwrap_or(0);
        let end = at | rest;
        if end >= last {
            let mut found: Vec<(LocalClass, f64)> = found.into_iter().collect();
            found.sort_by_key(|(class, _)| *class);
            return Some(found);
        }
        at = end + 1;
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn address(number: u128, bits: u32) -> IpAddr {
    match bits {
        32 => IpAddr::V4((number as u32).into()),
        _ => IpAddr::V6(number.into()),
    }
}
