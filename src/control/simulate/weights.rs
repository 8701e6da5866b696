//! The demand as a weight for each steered name and client class of one model.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::control::simulate::demand::{DemandLine, MAX_LINES, is_rate};
use crate::control::simulate::request::{SimulationError, SimulationRequest};
use crate::model::{ClassId, Facet, Model, Policy, PolicyId, ZoneId};
use crate::snapshot::{ClassGroup, KnownBy, LocalClass, Snapshot};

/// Most pieces into which all nets together are divided. Each piece belongs to one class. Judgment: about a second of
/// look-ups.
const MAX_PARTS: usize = 4_000_000;

/// How much each class of clients asks for each name. The classes are those of the name's policy.
pub(super) struct Weights {
    /// The weight of every steered name, by group of policies and by class.
    common: HashMap<ClassGroup, Vec<f64>>,
    /// The additional weight of single names, by class.
    named: HashMap<NameAt, Vec<f64>>,
    /// The names of each policy.
    names: Vec<Vec<NameAt>>,
    /// The sum over all names and classes.
    pub(super) total: f64,
    /// Whether the weights are queries a second; else they are shares.
    pub(super) is_rate: bool,
    /// The demand as text, for the report.
    pub(super) description: String,
}

/// A steered name: its zone, and its index in the zone.
pub(super) type NameAt = (ZoneId, usize);

impl Weights {
    /// The demand of a request, on the names and classes of `snapshot`.
    pub(super) fn of(snapshot: &Snapshot, request: &SimulationRequest) -> Result<Weights, SimulationError> {
        if request.demand.len() > MAX_LINES {
            let why = format!("a demand has at most {MAX_LINES} lines, here are {}", request.demand.len());
            return Err(SimulationError::TooMuch(why));
        }
        let refused = |why: String| Err(SimulationError::Refused(why));
        let wrong = request.demand.iter().map(|line| line.qps).chain(request.qps).find(|qps| !is_rate(*qps));
        match (request.demand.is_empty(), request.qps, wrong) {
            (_, _, Some(qps)) => refused(format!("{qps} is no number of queries a second")),
            (false, Some(_), None) => refused("qps and demand exclude each other: the lines add up".to_owned()),
            (true, qps, None) => Ok(Weights::even(snapshot, qps)),
            (false, None, None) => Weights::of_lines(snapshot, &request.demand),
        }
    }

    fn none(snapshot: &Snapshot) -> Weights {
        let (common, named) = (HashMap::new(), HashMap::new());
        let names = names_by_policy(&snapshot.model);
        Weights { common, named, names, total: 0.0, is_rate: true, description: String::new() }
    }

    fn all_names(&self) -> Vec<NameAt> {
        self.names.iter().flatten().copied().collect()
    }

    /// The same demand from every class of the model.
    pub(super) fn even(snapshot: &Snapshot, qps: Option<f64>) -> Weights {
        let mut weights = Weights::none(snapshot);
        let classes = snapshot.model.clients.classes.len();
        (weights.total, weights.is_rate) = (qps.unwrap_or(1.0), qps.is_some());
        let each = weights.total / classes as f64 / weights.all_names().len().max(1) as f64;
        for policy in groups(snapshot) {
            let mut row = vec![0.0; snapshot.local_classes(policy).len()];
            for class in (0..classes as u16).map(ClassId) {
                row[usize::from(snapshot.local(policy, class).0)] += each;
            }
            weights.common.insert(snapshot.group(policy), row);
        }
        let spread = if classes == 1 { "one client class".to_owned() } else { format!("{classes} client classes") };
        weights.description = match qps {
            Some(qps) => format!("{qps} queries a second, even over {spread}"),
            None => format!("even over {spread}"),
        };
        weights
    }

    fn of_lines(snapshot: &Snapshot, lines: &[DemandLine]) -> Result<Weights, SimulationError> {
        let mut weights = Weights::none(snapshot);
        let all_names = weights.all_names();
        let mut parts = MAX_PARTS;
        let mut divided = |at: usize, policy| {
            classes_of(snapshot, lines[at].net, policy, &mut parts).ok_or_else(|| {
                let net = lines[at].net;
                SimulationError::TooMuch(format!(
                    "line {}: the nets up to {net} have too many different clients",
                    at + 1
                ))
            })
        };
        for policy in groups(snapshot) {
            let mut row = vec![0.0; snapshot.local_classes(policy).len()];
            for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.name.is_none()) {
                let each = line.qps / all_names.len().max(1) as f64;
                divided(at, policy)?.iter().for_each(|(class, part)| row[usize::from(class.0)] += each * part);
            }
            weights.common.insert(snapshot.group(policy), row);
        }
        for (at, line) in lines.iter().enumerate() {
            let Some(name) = &line.name else { continue };
            let found_names = names_called(&snapshot.model, &all_names, name)?;
            for name in &found_names {
                let policy = policy_of(&snapshot.model, *name);
                let row = weights.named.entry(*name).or_insert_with(|| vec![0.0; snapshot.local_classes(policy).len()]);
                let each = line.qps / found_names.len() as f64;
                divided(at, policy)?.iter().for_each(|(class, part)| row[usize::from(class.0)] += each * part);
            }
        }
        weights.total = lines.iter().map(|line| line.qps).sum();
        let count = if lines.len() == 1 { "one line".to_owned() } else { format!("{} lines", lines.len()) };
        weights.description = format!("{} queries a second in {count} of demand", weights.total);
        Ok(weights)
    }

    /// The names of a policy that clients ask for.
    pub(super) fn names(&self, policy: PolicyId) -> &[NameAt] {
        &self.names[policy.0 as usize]
    }

    fn common(&self, snapshot: &Snapshot, policy: PolicyId) -> &[f64] {
        self.common.get(&snapshot.group(policy)).map_or(&[], Vec::as_slice)
    }

    /// The weight of one name of a policy, by class.
    pub(super) fn of_name(&self, snapshot: &Snapshot, policy: PolicyId, name: NameAt) -> Vec<f64> {
        let common = self.common(snapshot, policy);
        match self.named.get(&name) {
            None => common.to_vec(),
            Some(row) => common.iter().zip(row).map(|(common, own)| common + own).collect(),
        }
    }

    /// The weight of all names of a policy together, by class.
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

/// One policy of each group.
fn groups(snapshot: &Snapshot) -> Vec<PolicyId> {
    let mut known = HashSet::new();
    let all = (0..snapshot.model.policies.len() as u32).map(PolicyId);
    all.filter(|policy| known.insert(snapshot.group(*policy))).collect()
}

fn policy_of(model: &Model, (zone, at): NameAt) -> PolicyId {
    model.zone(zone).steered[at].policy
}

/// The steered names of each policy, without those whose policy answers no type.
pub(in crate::control) fn names_by_policy(model: &Model) -> Vec<Vec<NameAt>> {
    let mut names = vec![Vec::new(); model.policies.len()];
    for (zone_at, zone) in model.zones.iter().enumerate() {
        for (at, name) in zone.steered.iter().enumerate() {
            if !queried_facets(model.policy(name.policy)).is_empty() {
                names[name.policy.0 as usize].push((ZoneId(zone_at as u32), at));
            }
        }
    }
    names
}

/// The names called `name`: the full name, or the name as a policy file writes it, in any zone.
fn names_called(model: &Model, steered_names: &[NameAt], name: &str) -> Result<Vec<NameAt>, SimulationError> {
    let steered = |key: &NameAt| &model.zone(key.0).steered[key.1];
    let whole = crate::wire::Name::parse(name).ok();
    let is_called = |key: &&NameAt| steered(key).label == name || Some(&steered(key).owner) == whole.as_ref();
    let found_names: Vec<NameAt> = steered_names.iter().filter(is_called).copied().collect();
    if found_names.is_empty() {
        return Err(SimulationError::unknown(
            "steered name",
            name,
            steered_names.iter().map(|key| steered(key).label.as_str()),
        ));
    }
    Ok(found_names)
}

/// The types that clients ask for at the names of a policy: all that it answers. An alias counts only without
/// addresses, because it is given to clients that ask for an address.
pub(in crate::control) fn queried_facets(policy: &Policy) -> Vec<Facet> {
    let has_addresses = policy.facets.iter().any(|facet| matches!(facet, Facet::V4 | Facet::V6));
    let is_queried = |facet: &Facet| match facet {
        Facet::V4 | Facet::V6 | Facet::Srv | Facet::Https | Facet::Svcb => true,
        Facet::Alias => !has_addresses,
    };
    policy.facets.iter().copied().filter(is_queried).collect()
}

/// Divides the addresses of a net among the classes of a policy; the parts add up to 1. `parts` is the number of
/// pieces that may still be used; `None` if the net has more.
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
