//! Pools: looks up members, finds loops, and computes the most endpoints that one answer can have.

use std::collections::HashSet;

use foldhash::fast::FixedState;

use crate::config::spec::{DiscoverSpec, PolicySpec, PoolSpec};
use crate::config::validate::context::point_at;
use crate::config::validate::{Builder, Names, Used, discover};
use crate::model::{
    Answerable, EndpointId, Facet, Gives, MAX_COMBINATIONS, Member, MemberRef, Model, Pool, PoolId, ProbeKind,
    RankedBy, SelectorId,
};
use crate::source::{At, Place, Problems};

/// Most levels of pools in pools (judgment: nobody follows more, and every decision visits them).
const MAX_DEPTH: usize = 32;
/// Most paths from a pool to endpoints (judgment: every decision visits them all).
const MAX_WAYS: usize = 65_536;

/// The pool as the model has it, without members that don't exist, which are problems.
pub(super) fn resolve(
    spec: &PoolSpec,
    policy: &PolicySpec,
    names: &Names<'_>,
    builder: &mut Builder,
    used: &mut Used<'_>,
    problems: &mut Problems,
) -> Pool {
    let mut members: Vec<Member> = Vec::with_capacity(spec.members().len());
    for At { value: member, .. } in spec.members() {
        let Some(to) = names.find(&member.to, problems) else { continue };
        used.members.insert(to);
        used.in_pools.insert(to);
        let when = member.when.as_ref().and_then(|when| builder.selector(when, &mut used.groups, problems));
        warn_again(&member.to, (to, when), &members, problems);
        let model = &builder.model;
        let own = match to {
            MemberRef::Endpoint(id) => model.endpoint(id).weight,
            MemberRef::Pool(_) => 1,
        };
        if let MemberRef::Endpoint(id) = to {
            warn_unranked(spec, id, (policy, model), &member.to.place, problems);
        }
        members.push(Member { when, ..Member::new(to, member.weight.unwrap_or(own)) });
    }
    let fills = |source: &DiscoverSpec| source.pool.as_ref().is_some_and(|pool| pool.value == spec.name.value);
    let is_filled = policy.discovers.iter().any(fills);
    if !members.is_empty() && !is_filled && members.iter().all(|member| member.weight == 0) {
        let message = format!("every member of pool `{}` has weight 0", spec.name.value);
        problems.warning(&spec.name.place, message).hint("weight 0 is a standby: give one of them more");
    }
    // With a member left out, places and members would not match.
    if members.len() == spec.members().len() {
        warn_early_standbys(spec, &members, problems);
    }
    let min_up = spec.min_up.as_ref().map_or(0.0, |at| at.value);
    Pool { band: spec.band(), min_up, ..Pool::new(spec.name.value.clone(), *spec.steer, members) }
}

/// A geo pool may list a member several times, but not for the same clients.
fn warn_again(
    written: &At<String>,
    (to, when): (MemberRef, Option<SelectorId>),
    before: &[Member],
    problems: &mut Problems,
) {
    // A `when` with an error is incomplete, so it may look like another one.
    let is_again = before.iter().any(|member| (member.to, member.when) == (to, when));
    if is_again && when.is_some() && problems.errors() == 0 {
        let message = format!("`{}` is listed twice for the same clients", written.value);
        problems.warning(&written.place, message).hint("leave one of them out");
    }
}

/// `min_up` has an effect on the pools that contain this one only.
pub(super) fn warn_min_up(spec: &PolicySpec, names: &Names<'_>, used: &Used<'_>, problems: &mut Problems) {
    for (pool, at) in spec.pools.iter().filter_map(|pool| Some((pool, pool.min_up.as_ref()?))) {
        let id = names.by_name.get(pool.name.value.as_str());
        let is_used = |set: &HashSet<MemberRef, FixedState>| id.is_some_and(|id| set.contains(id));
        if is_used(&used.members) && !is_used(&used.in_pools) {
            let message = format!("`min_up` does nothing here: pool `{}` is in no other pool", pool.name.value);
            let problem = problems.warning(&at.place, message);
            problem.hint("it lets a pool count as down for the pool that it is a member of");
        }
    }
}

/// Finds endpoints whose distance will never be known, in pools that steer by it.
fn warn_unranked(
    spec: &PoolSpec,
    id: EndpointId,
    (policy, model): (&PolicySpec, &Model),
    place: &Place,
    problems: &mut Problems,
) {
    let endpoint = model.endpoint(id);
    match spec.steer.ranked_by() {
        Some(RankedBy::GreatCircle) => {
            let located = endpoint.region.is_some_and(|region| model.region(region).location.is_some());
            if !located {
                let message =
                    format!("`{}` has no region with a `location`, so it is never the nearest", endpoint.name);
                let problem = problems.warning(place, message);
                point_at(problem, &endpoint.name, policy);
                problem.hint("give the endpoint a `region`, and in the settings the region a `location`");
            }
        }
        Some(RankedBy::Rtt) => {
            if endpoint.answerables.iter().all(|a| a.checks().next().is_none()) && !endpoint.answerables.is_empty() {
                let message = format!("`{}` is not probed, so its latency is never known", endpoint.name);
                let problem = problems.warning(place, message);
                point_at(problem, &endpoint.name, policy);
                problem.hint("give the endpoint a `monitor`");
                return;
            }
            let measures = |a: &Answerable| {
                let mut kinds = a.checks().filter_map(|id| Some(&model.checks.get(id.0 as usize)?.key.monitor.kind));
                a.checks().next().is_none() || kinds.any(ProbeKind::measures_rtt)
            };
            if !endpoint.answerables.iter().all(measures) {
                let message =
                    format!("the monitor of `{}` measures no round trip, so its latency is never known", endpoint.name);
                let problem = problems.warning(place, message);
                point_at(problem, &endpoint.name, policy);
                problem.hint("judge it by a monitor that does, such as tcp");
            }
        }
        None => {}
    }
}

/// Finds standbys that are listed before other members of a pool that chooses by order: they come behind them.
fn warn_early_standbys(spec: &PoolSpec, members: &[Member], problems: &mut Problems) {
    let name = &spec.name.value;
    let order = match (spec.steer.gives(), spec.steer.selects_clients()) {
        (Gives::First, true) => "its place in the list and its `when` come after that",
        (Gives::First, false) => "its place in the list comes after that",
        (Gives::ByWeight | Gives::Together, _) => return,
    };
    let Some(last) = members.iter().rposition(|member| member.weight > 0) else { return };
    for (member, At { value: written, .. }) in members.iter().zip(spec.members()).take(last) {
        if member.weight > 0 {
            continue;
        }
        let to = &written.to;
        let message = format!(
            "`{}` has weight 0, so pool `{name}` gives it only when every other member is out: {order}",
            to.value
        );
        let hint = format!(
            "write `{{ to = \"{}\", weight = 1 }}` if its place in this pool should count; if not, list it last",
            to.value
        );
        problems.warning(&to.place, message).hint(hint);
    }
}

/// The size of a pool with everything below it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    /// Levels of pools, itself included.
    height: usize,
    /// Paths to endpoints.
    ways: usize,
    /// Most endpoints of one draw; more than 1 only where a pool steers `all`.
    pub(super) draw: usize,
    /// Most different draws, as [`Draws`](crate::model::Draws) counts them.
    choices: usize,
}

#[derive(Clone, Copy)]
enum State {
    New,
    Open,
    Done(Size),
}

/// The size of every pool of `spec`. Loops, and pools that are too deep, are problems.
pub(super) fn measure(spec: &PolicySpec, names: &Names<'_>, model: &Model, problems: &mut Problems) -> Vec<Size> {
    let mut walk = Walk { spec, names, model, states: vec![State::New; spec.pools.len()], path: Vec::new(), problems };
    (0..spec.pools.len()).map(|at| walk.visit(at)).collect()
}

struct Walk<'a> {
    spec: &'a PolicySpec,
    names: &'a Names<'a>,
    model: &'a Model,
    states: Vec<State>,
    /// The pools above the one that is visited.
    path: Vec<usize>,
    problems: &'a mut Problems,
}

impl Walk<'_> {
    fn visit(&mut self, at: usize) -> Size {
        match self.states[at] {
            State::Done(size) => return size,
            State::Open => {
                self.report_loop(at);
                return Size::default();
            }
            State::New => {}
        }
        if self.path.len() > MAX_DEPTH {
            self.report_depth(at);
            return Size::default();
        }
        self.states[at] = State::Open;
        self.path.push(at);
        let pool = &self.model.pools[self.names.first_pool + at];
        let is_stated =
            |member: &&Member| member.to.endpoint().is_some_and(|id| self.model.endpoint(id).discovered.is_some());
        let stated = pool.members.iter().filter(is_stated).count();
        let sizes: Vec<Size> = pool.members.iter().map(|member| self.member(member.to)).collect();
        self.path.pop();
        let room = discover::room(self.spec, std::iter::once(self.id(at)), self.model, stated);
        let draws = sizes.iter().map(|size| size.draw);
        let combinations = sizes.iter().map(|size| size.choices).fold(1, usize::saturating_mul);
        // Each is alone in a reply.
        let endpoints = pool.members.iter().filter_map(|member| member.to.endpoint());
        let aliases = endpoints.filter(|id| self.model.endpoint(*id).stands_alone(Facet::Alias)).count();
        let is_flat = pool.steering.gives() == Gives::Together && combinations > MAX_COMBINATIONS;
        if is_flat {
            self.warn_combinations(at, combinations);
        }
        let size = Size {
            height: 1 + sizes.iter().map(|size| size.height).max().unwrap_or(0),
            ways: sizes.iter().fold(room, |sum, size| size.ways.saturating_add(sum)),
            draw: match pool.steering.gives() {
                Gives::Together if is_flat => {
                    self.model.endpoints_below(MemberRef::Pool(self.id(at))).len().saturating_add(room)
                }
                Gives::Together => draws.fold(room, usize::saturating_add),
                Gives::First | Gives::ByWeight => draws.max().unwrap_or(0).max(usize::from(room > 0)),
            },
            choices: match pool.steering.gives() {
                Gives::First => sizes.iter().map(|size| size.choices).max().unwrap_or(1),
                Gives::ByWeight => {
                    let listed = sizes.iter().fold(0, |sum: usize, size| size.choices.saturating_add(sum));
                    listed.max(1).saturating_add(room)
                }
                Gives::Together => aliases + if is_flat { 1 } else { combinations },
            },
        };
        let below = sizes.iter().map(|size| (size.height, size.ways)).fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
        if (size.height > MAX_DEPTH && below.0 <= MAX_DEPTH) || (size.ways > MAX_WAYS && below.1 <= MAX_WAYS) {
            self.report_depth(at);
        }
        self.states[at] = State::Done(size);
        size
    }

    fn member(&mut self, to: MemberRef) -> Size {
        match to {
            MemberRef::Endpoint(_) => Size { height: 0, ways: 1, draw: 1, choices: 1 },
            MemberRef::Pool(id) => self.visit(self.names.pool_index(id)),
        }
    }

    fn id(&self, at: usize) -> PoolId {
        PoolId((self.names.first_pool + at) as u32)
    }

    fn warn_combinations(&mut self, at: usize, combinations: usize) {
        let pool = &self.spec.pools[at].name;
        let message = format!(
            "pool `{}` steers `all`, and its members can be combined in {combinations} ways, more than \
             {MAX_COMBINATIONS}: each member gives all that it has, and weights below do nothing",
            pool.value
        );
        let hint = "list fewer pools in it, or pools of fewer members, or pools that steer `failover`";
        self.problems.warning(&pool.place, message).hint(hint);
    }

    fn report_loop(&mut self, at: usize) {
        let name = |at: usize| self.spec.pools[at].name.value.as_str();
        let from = self.path.iter().position(|&pool| pool == at).unwrap_or(0);
        let mut way: Vec<&str> = self.path[from..].iter().map(|&pool| name(pool)).collect();
        way.push(name(at));
        // The last pool's member closes the loop, so the problem is shown there.
        let last = self.path.last().map(|&pool| &self.spec.pools[pool]);
        let member = last.and_then(|pool| pool.members().iter().find(|member| member.value.to.value == name(at)));
        let place = member.map_or(&self.spec.pools[at].name.place, |member| &member.value.to.place);
        if let [pool, _] = way[..] {
            let problem = self.problems.error(place, format!("pool `{pool}` contains itself: {pool} -> {pool}"));
            problem.hint("take it out of its own members");
            return;
        }
        let message = format!("pools contain each other: {}", way.join(" -> "));
        let problem = self.problems.error(place, message);
        for (pool, member) in way.iter().zip(&way[1..]).take(way.len() - 2) {
            let spec = self.spec.pool(pool);
            let member = spec.and_then(|spec| spec.members().iter().find(|each| each.value.to.value == **member));
            if let Some(member) = member {
                let to = &member.value.to;
                problem.label(&to.place, format!("`{}` in `{pool}`", to.value));
            }
        }
        problem.hint("take one of them out of the other");
    }

    fn report_depth(&mut self, at: usize) {
        let pool = &self.spec.pools[at].name;
        let message = format!("pool `{}` is nested too deeply", pool.value);
        let hint = format!("pools may be nested {MAX_DEPTH} levels deep, with {MAX_WAYS} paths to endpoints");
        self.problems.error(&pool.place, message).hint(hint);
    }
}
