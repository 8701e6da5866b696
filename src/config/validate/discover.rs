//! The sources of endpoints that come and go: what they refer to exists, and with as many instances as they may have
//! every name is valid. Their instances are not known when a file is checked, so one invented instance of each source
//! is validated with the file; see `sample`.

use std::sync::Arc;

use crate::config::regions;
use crate::config::spec::{DiscoverSpec, PolicySpec};
use crate::config::validate::Used;
use crate::config::validate::composite::leaves;
use crate::config::validate::judging::Judging;
use crate::model::{Country, DiscoveredEndpoint, HostRule, Mapping, MemberRef, Model, PoolId, Steering, probe_address};
use crate::source::{At, Problems};

/// Checks the references of all sources. They count as use.
pub(super) fn check(spec: &PolicySpec, model: &Model, used: &mut Used<'_>, problems: &mut Problems) {
    for discover in &spec.discovers {
        if let Some(monitor) = &discover.monitor {
            used.monitors.find(monitor, problems);
        }
        if let Some(pool) = &discover.pool {
            check_pool(discover, pool, spec, problems);
        }
        check_fixed(discover, model, problems);
    }
}

fn check_pool(discover: &DiscoverSpec, written: &At<String>, spec: &PolicySpec, problems: &mut Problems) {
    let what = discover.what();
    match spec.pool(&written.value) {
        None if spec.endpoint(&written.value).is_some() => {
            let problem = problems.error(&written.place, format!("`{}` is an endpoint, not a pool", written.value));
            problem.hint(format!("declare a pool for {what}: [pool.{}-all]", written.value));
        }
        None => {
            let known = spec.pools.iter().map(|pool| pool.name.value.as_str());
            let problem = problems.error(&written.place, format!("there is no pool `{}`", written.value));
            let declare = || format!("declare it: [pool.{}], without `members` or with some", written.value);
            problem.suggest(&written.value, known).or_hint(declare);
        }
        Some(pool) if *pool.steer == Steering::Geo => {
            let message = format!("{what} can't fill the geo pool `{}`: its members need a `when`", written.value);
            let problem = problems.error(&written.place, message);
            problem.label(&pool.name.place, "the pool");
            problem.hint("declare another pool for it, and make that a member with a `when`");
        }
        Some(_) => {}
    }
}

/// A fixed region or country is checked here, a field of an instance when it is listed.
fn check_fixed(discover: &DiscoverSpec, model: &Model, problems: &mut Problems) {
    if let Some(At { value: Mapping::Fixed(name), place }) = &discover.region {
        regions::find(&model.regions, &At { value: name.clone(), place: place.clone() }, problems);
    }
    if let Some(At { value: Mapping::Fixed(code), place }) = &discover.country
        && Country::parse(code).is_none()
    {
        let problem = problems.error(place, format!("there is no country `{code}`"));
        problem.hint("write the two letters of ISO 3166-1: \"DE\" for Germany");
    }
    if let Some(At { value: Mapping::Fixed(text), place }) = &discover.probe
        && let Err((message, hint)) = probe_address(text)
    {
        problems.error(place, message).hint(hint);
    }
    for (key, at, most) in
        [("weight", &discover.weight, 1_000_000), ("capacity", &discover.capacity, 1_000_000_000_000)]
    {
        let Some(At { value: Mapping::Fixed(text), place }) = at else { continue };
        if text.parse::<u64>().ok().is_none_or(|value| value > most) {
            problems.error(place, format!("`{key}` must be a whole number from 0 to {most}, not `{text}`"));
        }
    }
}

/// Endpoints as a source could state them, to find what is wrong with every one: one with both addresses, one with the
/// name of a host, and one of these that is a standby, as far as the source may have them.
pub(in crate::config) fn samples(discover: &DiscoverSpec) -> Vec<Arc<DiscoveredEndpoint>> {
    let fixed = |at: &Option<At<Mapping>>| match at.as_ref().map(|at| &at.value) {
        Some(Mapping::Fixed(text)) => Some(text.clone()),
        Some(Mapping::Field(_) | Mapping::Usual) | None => None,
    };
    // A wrong one is reported as such.
    let weight = fixed(&discover.weight).map(|text| text.parse::<u32>().unwrap_or(1));
    let with_addresses = DiscoveredEndpoint {
        name: format!("{}.instance", discover.head().name.value),
        addresses: vec![[192, 0, 2, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()],
        cname: None,
        probe: None,
        port: Some(1),
        weight: weight.unwrap_or(1),
        region: fixed(&discover.region),
        country: fixed(&discover.country),
        capacity: None,
    };
    let with_host = |what: &str, weight: u32| DiscoveredEndpoint {
        name: format!("{}.{what}", discover.head().name.value),
        addresses: Vec::new(),
        cname: Some("instance.invalid.".to_owned()),
        probe: Some(([192, 0, 2, 1].into(), None)),
        weight,
        ..with_addresses.clone()
    };
    let hosts = match *discover.hosts {
        HostRule::Refused => Vec::new(),
        HostRule::Cname | HostRule::Only => {
            let standby = weight.is_none().then(|| with_host("standby", 0));
            std::iter::once(with_host("host", weight.unwrap_or(1))).chain(standby).collect()
        }
    };
    let has_addresses = *discover.hosts != HostRule::Only;
    has_addresses.then_some(with_addresses).into_iter().chain(hosts).map(Arc::new).collect()
}

/// The sources whose instances with the name of a host are probed, by their index. Their [`samples`] are in `spec`.
pub(in crate::config) fn probed_hosts(spec: &PolicySpec) -> Vec<usize> {
    let is_probing = |monitor: &str| {
        let monitor = spec.monitor(monitor);
        let leaves = monitor.map(|monitor| leaves(monitor, spec)).unwrap_or_default();
        leaves.iter().any(|leaf| leaf.monitor.body.is_some() && leaf.monitor.heartbeat().is_none())
    };
    let judging = Judging::of(spec);
    let is_probed = |discover: &DiscoverSpec| {
        let judges = judging.of_endpoint(&format!("{}.host", discover.head().name.value));
        let own = discover.monitor.as_ref().map(|at| at.value.as_str());
        own.into_iter().chain(judges.iter().map(|judge| judge.monitor.value.as_str())).any(is_probing)
    };
    let all = spec.discovers.iter().enumerate();
    let probed = all.filter(|(_, of)| *of.hosts != HostRule::Refused && is_probed(of));
    probed.map(|(at, _)| at).collect()
}

/// How many more instances the sources may have that fill these pools.
pub(super) fn room(spec: &PolicySpec, pools: impl Iterator<Item = PoolId>, model: &Model, present: usize) -> usize {
    if spec.discovers.is_empty() {
        return 0;
    }
    let names: Vec<&str> = pools.map(|id| model.pool(id).name.as_str()).collect();
    let fills =
        |discover: &&DiscoverSpec| discover.pool.as_ref().is_some_and(|pool| names.contains(&pool.value.as_str()));
    let most: usize = spec.discovers.iter().filter(fills).map(|discover| *discover.max).sum();
    most.saturating_sub(present)
}

/// Whether a source fills a pool below this member.
pub(super) fn is_filled(spec: &PolicySpec, below: MemberRef, model: &Model) -> bool {
    if spec.discovers.is_empty() {
        return false;
    }
    let MemberRef::Pool(root) = below else { return false };
    let names = model.pools_below([MemberRef::Pool(root)]).map(|id| model.pool(id).name.as_str());
    names
        .into_iter()
        .any(|name| spec.discovers.iter().any(|discover| discover.pool.as_ref().is_some_and(|pool| pool.value == name)))
}

/// Whether a source that fills a pool below this member may list addresses.
pub(super) fn may_list_addresses(spec: &PolicySpec, below: MemberRef, model: &Model) -> bool {
    let names: Vec<&str> = model.pools_below([below]).map(|id| model.pool(id).name.as_str()).collect();
    let fills = |of: &&DiscoverSpec| of.pool.as_ref().is_some_and(|pool| names.contains(&pool.value.as_str()));
    spec.discovers.iter().filter(fills).any(|of| *of.hosts != HostRule::Only)
}
