//! Instances that a source no longer lists, and that stay for a while: without them nothing of their pool would be up.
//! Pure.
//!
//! A list that replaces instances by others is such a case: the new ones are not probed yet, or do not work. What was
//! served stays until something else of the pool is up. If the source lists less than the share `min_keep` of what it
//! listed before, that has no end: a wrong list must not empty a pool. Otherwise it ends after [`LONGEST_STAY`].

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::discovery::endpoints::StatedEndpoints;
use crate::discovery::set::SUDDEN;
use crate::model::{
    AdminState, CheckId, Discovered, DiscoveredEndpoint, DiscoveredPool, Endpoint, EndpointId, Health, HealthRule,
    MAX_ENDPOINTS, MemberRef, Model, Moment, OverrideState, PoolId, Stated, WorldView,
};

/// How long an instance stays that no new one replaces. Judgment: a service starts within it, and the window of
/// `min_keep` is as long.
pub const LONGEST_STAY: Duration = SUDDEN;
/// After this time without a new instance that is up, the source counts as held. Judgment: longer than a load of the
/// files and a first probe take, so a list that is replaced as planned is no alarm.
pub const ALARM_AFTER: Duration = Duration::from_secs(10);
/// Longest name of an endpoint, in octets.
const MAX_NAME: usize = 63;
/// Longest part of it that is of a cname.
const MAX_OF_HOST: usize = 40;

/// One instance that stays.
#[derive(Debug, Clone, PartialEq)]
struct Leaver {
    /// As it was listed.
    endpoint: Arc<DiscoveredEndpoint>,
    /// When the source no longer listed it.
    since: Moment,
    /// Whether less than `min_keep` of what it was listed with is still listed.
    has_no_end: bool,
}

/// The instances of one source that stay.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Leaving(Vec<Leaver>);

/// What is served at present, and the source in it.
#[derive(Debug, Clone, Copy)]
pub struct Served<'a> {
    /// The model.
    pub model: &'a Model,
    /// What is known of it.
    pub view: &'a WorldView,
    /// The source.
    pub spec: &'a DiscoveredPool,
}

/// Whether a source lists an endpoint where the model has it. Another weight or region waits for the next model,
/// another address does not, nor does another port where probes go to the port of the instance.
pub(super) fn lists(stated: &StatedEndpoints, of: &DiscoveredEndpoint, is_probed_there: bool) -> bool {
    let found = stated.endpoints.binary_search_by(|other| other.name.cmp(&of.name));
    found.is_ok_and(|at| {
        let now = &stated.endpoints[at];
        (&now.addresses, &now.cname) == (&of.addresses, &of.cname) && (now.port == of.port || !is_probed_there)
    })
}

/// Whether an endpoint of a model is `left`, under its name or [`other_name`].
pub(super) fn is_it(left: &DiscoveredEndpoint, of: &DiscoveredEndpoint) -> bool {
    reached(left) == reached(of) && (left.name == of.name || other_name(left).is_some_and(|name| name == of.name))
}

/// What [`is_it`] compares first: the addresses or the cname, and the port.
pub(super) type ReachedAt<'a> = (&'a [IpAddr], Option<&'a str>, Option<u16>);

/// Where an endpoint is reached.
pub(super) fn reached(of: &DiscoveredEndpoint) -> ReachedAt<'_> {
    (&of.addresses, of.cname.as_deref(), of.port)
}

/// The name of an instance that stays while another one has its name: with its address, or the first label of its
/// cname. `None`: it has neither.
fn other_name(of: &DiscoveredEndpoint) -> Option<String> {
    let address = match (of.addresses.first(), &of.cname) {
        (Some(address), _) => address.to_string().replace(':', "-"),
        (None, Some(host)) => host_part(host),
        (None, None) => return None,
    };
    let room = MAX_NAME - address.len() - 1;
    let name: String = of.name.chars().take(room).collect();
    Some(format!("{name}-{address}"))
}

/// The first label of a cname, as a part of a name.
fn host_part(host: &str) -> String {
    let label = host.split('.').next().unwrap_or_default().chars().take(MAX_OF_HOST);
    label.map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// The endpoints of the next model, in the order of their names: those that are stated, and those that stay. A name is
/// there once.
pub(super) fn joined(
    stated: &[Arc<DiscoveredEndpoint>],
    leaving: &[Arc<DiscoveredEndpoint>],
) -> Arc<[Arc<DiscoveredEndpoint>]> {
    if leaving.is_empty() {
        return stated.into();
    }
    let mut names: HashSet<String> = stated.iter().map(|of| of.name.clone()).collect();
    let mut all = stated.to_vec();
    for left in leaving {
        if names.insert(left.name.clone()) {
            all.push(left.clone());
        } else if let Some(name) = other_name(left).filter(|name| names.insert(name.clone())) {
            all.push(Arc::new(DiscoveredEndpoint { name, ..(**left).clone() }));
        }
    }
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    all.into()
}

/// How good what is left of a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    Nothing,
    NotUp,
    Up,
}

impl Leaving {
    /// None stays any longer: an operator has confirmed it.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether none stays.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that stay.
    pub fn endpoints(&self) -> Vec<Arc<DiscoveredEndpoint>> {
        self.0.iter().map(|left| left.endpoint.clone()).collect()
    }

    /// The source lists `after`, and listed `before`: what is served of the difference stays, until
    /// [`Leaving::settle`] finds that it need not.
    pub fn replace(&mut self, [before, after]: [&StatedEndpoints; 2], served: &Served<'_>, now: Moment) {
        let pool = ServedPool::of(served);
        let gone: Vec<(EndpointId, &Arc<DiscoveredEndpoint>)> = pool
            .of_source()
            .filter(|(_, of)| {
                lists(before, &of.endpoint, of.is_probed_there) && !lists(after, &of.endpoint, of.is_probed_there)
            })
            .filter(|(id, of)| !served.is_out_of_service(*id) && !served.is_down(*id, before, &of.endpoint.name))
            .map(|(id, of)| (id, &of.endpoint))
            .collect();
        let remaining = before.endpoints.iter().filter(|of| lists(after, of, false)).count();
        let has_no_end = (remaining as f64) < served.spec.min_keep * before.endpoints.len() as f64;
        let is_up = |id: EndpointId| served.is_measured_up(served.model.endpoint(id));
        // What is down is no help where something else is up.
        let is_any_up = self.0.iter().any(|left| pool.find(&left.endpoint).is_some_and(is_up))
            || gone.iter().any(|(id, _)| is_up(*id));
        let known: HashSet<EndpointId> = self.0.iter().filter_map(|left| pool.find(&left.endpoint)).collect();
        for (id, endpoint) in gone {
            if !known.contains(&id) && (is_up(id) || !is_any_up) {
                self.0.push(Leaver { endpoint: endpoint.clone(), since: now, has_no_end });
            }
        }
    }

    /// Lets those go that are listed again or need not stay. `stated` is what the source lists.
    pub fn settle(&mut self, stated: &StatedEndpoints, served: &Served<'_>, now: Moment) {
        if self.0.is_empty() {
            return;
        }
        let pool = ServedPool::of(served);
        let rest = self.rest(stated, served, &pool);
        self.0.retain(|left| {
            let id = pool.find(&left.endpoint);
            let is_up = id.is_some_and(|id| served.is_measured_up(served.model.endpoint(id)));
            rest < Rest::Up
                && !lists(stated, &left.endpoint, true)
                && id.is_none_or(|id| !served.is_out_of_service(id))
                && (left.has_no_end || ((is_up || rest == Rest::Nothing) && now.since(left.since) < LONGEST_STAY))
        });
        self.0.truncate(served.room(stated.endpoints.len()));
    }

    /// What the pool has without those that stay.
    fn rest(&self, stated: &StatedEndpoints, served: &Served<'_>, pool: &ServedPool<'_>) -> Rest {
        let rest = pool.ids.iter().copied().filter_map(|id| {
            let endpoint = served.model.endpoint(id);
            if served.is_out_of_service(id) {
                return None;
            }
            let is_up = match &endpoint.discovered {
                Some(of) if Some(of.source) == pool.source => {
                    if !lists(stated, &of.endpoint, of.is_probed_there) {
                        return None;
                    }
                    let is_judged = served.spec.health == HealthRule::Only;
                    !served.is_down(id, stated, &of.endpoint.name) && (is_judged || served.is_measured_up(endpoint))
                }
                Some(_) | None => match served.view.stated.get(&id) {
                    Some(Stated::Withdrawn { .. } | Stated::Leaving { .. }) => return None,
                    Some(Stated::Judged(judged)) => judged.health == Health::Up,
                    None => served.is_measured_up(endpoint),
                },
            };
            let is_forced = served.view.override_of(id).is_some_and(|over| over.state == OverrideState::Up);
            Some(if is_up || is_forced { Rest::Up } else { Rest::NotUp })
        });
        rest.max().unwrap_or(Rest::Nothing)
    }

    /// How many stay without an end for so long that somebody must look; 0: none.
    pub fn overdue(&self, now: Moment) -> usize {
        self.0.iter().filter(|left| left.has_no_end && now.since(left.since) >= ALARM_AFTER).count()
    }

    /// When to settle again, if nothing else changes.
    pub fn next(&self, now: Moment) -> Option<Moment> {
        let ends = self.0.iter().map(|left| left.since + if left.has_no_end { ALARM_AFTER } else { LONGEST_STAY });
        ends.filter(|at| *at > now).min()
    }
}

/// The pool of a source in a model.
struct ServedPool<'a> {
    model: &'a Model,
    /// The index of the source.
    source: Option<u32>,
    /// All endpoints below the pool.
    ids: Vec<EndpointId>,
    by_reached: HashMap<ReachedAt<'a>, Vec<EndpointId>>,
}

impl<'a> ServedPool<'a> {
    fn of(served: &Served<'a>) -> ServedPool<'a> {
        let (model, spec) = (served.model, served.spec);
        let is_source = |of: &Arc<DiscoveredPool>| of.name == spec.name && of.zone == spec.zone;
        let source = model.sources.iter().position(is_source).map(|at| at as u32);
        // The endpoints of a pool are of its zone, and there its name is unique.
        let pools = (0..).map(PoolId).zip(&model.pools);
        let pools = pools.filter(|(_, pool)| spec.pool.as_ref().is_some_and(|name| *name == pool.name));
        let mut below = pools.map(|(id, _)| model.endpoints_below(MemberRef::Pool(id)));
        let is_of_zone = |id: &EndpointId| model.zone(model.endpoint(*id).zone).apex == spec.zone;
        let ids = below.find(|ids| ids.first().is_some_and(is_of_zone)).unwrap_or_default();
        let mut pool = ServedPool { model, source, ids, by_reached: HashMap::new() };
        let reached: Vec<_> = pool.of_source().map(|(id, of)| (id, reached(&of.endpoint))).collect();
        for (id, reached) in reached {
            pool.by_reached.entry(reached).or_default().push(id);
        }
        pool
    }

    fn of_source(&self) -> impl Iterator<Item = (EndpointId, &'a Discovered)> {
        let (model, source) = (self.model, self.source);
        self.ids.iter().filter_map(move |id| {
            let discovered = model.endpoint(*id).discovered.as_ref()?;
            (Some(discovered.source) == source).then_some((*id, discovered))
        })
    }

    /// The endpoint of the model that is `left`.
    fn find(&self, left: &DiscoveredEndpoint) -> Option<EndpointId> {
        let is_left =
            |id: &EndpointId| self.model.endpoint(*id).discovered.as_ref().is_some_and(|of| is_it(left, &of.endpoint));
        self.by_reached.get(&reached(left))?.iter().copied().find(is_left)
    }
}

impl Served<'_> {
    /// Whether the file or an operator has it out of service.
    fn is_out_of_service(&self, id: EndpointId) -> bool {
        match (self.model.endpoint(id).state, self.view.override_of(id).map(|over| over.state)) {
            (AdminState::Disabled, _) | (_, Some(OverrideState::Drain | OverrideState::Down)) => true,
            (AdminState::Drain, None) => true,
            (AdminState::Enabled, None) | (AdminState::Enabled | AdminState::Drain, Some(OverrideState::Up)) => false,
        }
    }

    /// Whether the source calls it down, where that counts.
    fn is_down(&self, id: EndpointId, stated: &StatedEndpoints, name: &str) -> bool {
        let is_measured = self.model.endpoint(id).answerables.iter().any(|side| side.checks().next().is_some());
        stated.down.contains_key(name) && (self.spec.health != HealthRule::Advice || !is_measured)
    }

    /// Whether a side of it is up by every check; one without a check always is.
    fn is_measured_up(&self, endpoint: &Endpoint) -> bool {
        let is_up = |check: CheckId| self.view.check(check).health == Health::Up;
        endpoint.answerables.iter().any(|side| side.checks().all(is_up))
    }

    /// How many may stay besides `listed` instances, so that every name of the zone has at most [`MAX_ENDPOINTS`].
    fn room(&self, listed: usize) -> usize {
        let of_zone: Vec<_> = self.model.sources.iter().filter(|of| of.zone == self.spec.zone).collect();
        let is_of_file = |of: &&Endpoint| of.discovered.is_none() && self.model.zone(of.zone).apex == self.spec.zone;
        let of_file = self.model.endpoints.iter().filter(is_of_file).count();
        let most: usize = of_file + of_zone.iter().map(|of| of.max).sum::<usize>();
        let spare = MAX_ENDPOINTS.saturating_sub(most) / of_zone.len().max(1);
        self.spec.max.saturating_sub(listed) + spare
    }
}
