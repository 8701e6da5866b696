//! A world to decide in, built by the names of its parts, for tests. Endpoints have both families, a monitor and good
//! health by default.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    AdminState, AffinityNet, AnswerRdata, Answerable, Band, Check, CheckId, CheckKey, CheckView, ClientClass, Country,
    Endpoint, EndpointId, Facet, Failback, Fence, FenceId, Health, Location, Member, MemberRef, Model, Moment, Monitor,
    OnEmpty, Override, OverrideState, Policy, PolicyId, Pool, PoolId, ProbeKind, ProbeTarget, Recovery, Region,
    Selector, SelectorId, Steering, Ttl, WorldView, ZoneId,
};
use crate::steering::{Decision, Distribution, Memory, decide};

/// A model, a view and one policy.
#[derive(Debug, Clone)]
pub(super) struct SteeringWorld {
    pub(super) model: Model,
    pub(super) view: WorldView,
    /// The policy without its root and endpoints, which [`SteeringWorld::whole_model`] fills in.
    policy: Policy,
    /// The names of the model's selectors.
    selectors: Vec<String>,
    /// The name of the root pool, where a test sets it.
    root: Option<&'static str>,
}

impl SteeringWorld {
    /// Regions eu (Dublin), us (Virginia), ap (Mumbai), and `moon`, which has no location.
    pub(super) fn new() -> SteeringWorld {
        let region = |name: &str, location: Option<(f64, f64)>| Region {
            name: name.to_owned(),
            location: location.map(|(latitude, longitude)| Location { latitude, longitude }),
        };
        let regions = vec![
            region("eu", Some((53.34, -6.26))),
            region("us", Some((38.95, -77.45))),
            region("ap", Some((19.08, 72.88))),
            region("moon", None),
        ];
        SteeringWorld {
            model: Model { regions, ..Model::default() },
            view: WorldView::default(),
            policy: Policy::new(ZoneId(0), MemberRef::Pool(PoolId(0)), Vec::new(), vec![Facet::V4, Facet::V6]),
            selectors: Vec::new(),
            root: None,
        }
    }

    /// A selector of countries, called `name`: a member `a@name` is for its clients, and a client `eu+name` is one.
    pub(super) fn selector(mut self, name: &str, countries: &str) -> SteeringWorld {
        let countries = countries.split_whitespace().filter_map(Country::parse).collect();
        self.model.clients.selectors.push(Selector { countries, ..Selector::default() });
        self.selectors.push(name.to_owned());
        self
    }

    fn selector_named(&self, name: &str) -> SelectorId {
        SelectorId(self.selectors.iter().position(|selector| selector == name).unwrap() as u16)
    }

    /// The name's fence: for clients of a selector, these endpoints alone.
    pub(super) fn fence(mut self, name: &str, selector: &str, inside: &str) -> SteeringWorld {
        let id = |name: &str| match self.find(name) {
            MemberRef::Endpoint(id) => id,
            MemberRef::Pool(_) => panic!("{name} is a pool"),
        };
        let mut inside: Vec<EndpointId> = inside.split_whitespace().map(id).collect();
        inside.sort_unstable();
        let clients = self.selector_named(selector);
        self.policy.fence = Some(FenceId(self.model.fences.len() as u32));
        self.model.fences.push(Fence { name: name.to_owned(), clients, inside });
        self
    }

    /// One more endpoint, in a region, weight 1.
    pub(super) fn endpoint(mut self, name: &str, region: &str) -> SteeringWorld {
        let id = self.model.endpoints.len() as u8;
        let sides = [
            (Facet::V4, IpAddr::V4(Ipv4Addr::new(192, 0, 2, id))),
            (Facet::V6, IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, id.into()))),
        ];
        let answerables =
            sides.map(|(facet, ip)| Answerable::new(facet, AnswerRdata::Address(ip), Some(self.new_check(ip))));
        let region = self.model.region_named(region);
        self.model.endpoints.push(Endpoint { region, ..Endpoint::new(name, ZoneId(0), answerables.into()) });
        self
    }

    fn new_check(&mut self, ip: IpAddr) -> CheckId {
        let monitor = Monitor::new(ProbeKind::Icmp);
        let id = CheckId(self.model.checks.len() as u32);
        self.model
            .checks
            .push(Check::new(Arc::new(CheckKey { monitor: monitor.into(), target: ProbeTarget::Host(ip) })));
        self.view.checks.push(CheckView { health: Health::Up, tried: true, ..CheckView::default() });
        id
    }

    /// One more endpoint that is a cname.
    pub(super) fn alias(mut self, name: &str, region: &str) -> SteeringWorld {
        self = self.endpoint(name, region);
        let endpoint = self.model.endpoints.last_mut().unwrap();
        endpoint.answerables.truncate(1);
        endpoint.answerables[0].facet = Facet::Alias;
        endpoint.answerables[0].rdata = AnswerRdata::Cname(Box::new(*b"\x01x\x00"));
        self
    }

    /// One more pool; members by name, `a` or `a:30`, for clients of a selector `a@nordic` or `a:30@nordic`.
    pub(super) fn pool(mut self, name: &str, steering: Steering, members: &str) -> SteeringWorld {
        let member = |text: &str| {
            let (text, when) = text.split_once('@').map_or((text, None), |(text, when)| (text, Some(when)));
            let (name, weight) = text.split_once(':').unwrap_or((text, ""));
            let to = self.find(name);
            let own = match to {
                MemberRef::Endpoint(id) => self.model.endpoint(id).weight,
                MemberRef::Pool(_) => 1,
            };
            let when = when.map(|when| self.selector_named(when));
            Member { when, ..Member::new(to, weight.parse().unwrap_or(own)) }
        };
        let members = members.split_whitespace().map(member).collect();
        self.model.pools.push(Pool::new(name, steering, members));
        self
    }

    fn find(&self, name: &str) -> MemberRef {
        let endpoint = self.model.endpoints.iter().position(|e| e.name == name);
        let pool = self.model.pools.iter().position(|p| p.name == name);
        match (endpoint, pool) {
            (Some(at), _) => MemberRef::Endpoint(EndpointId(at as u32)),
            (None, Some(at)) => MemberRef::Pool(PoolId(at as u32)),
            (None, None) => panic!("no endpoint or pool {name}"),
        }
    }

    fn endpoint_mut(&mut self, name: &str) -> &mut Endpoint {
        self.model.endpoints.iter_mut().find(|endpoint| endpoint.name == name).unwrap()
    }

    fn each_check(mut self, name: &str, facet: Option<Facet>, change: impl Fn(&mut CheckView)) -> SteeringWorld {
        for answerable in self.endpoint_mut(name).answerables.clone() {
            if facet.is_none_or(|facet| facet == answerable.facet) {
                change(&mut self.view.checks[answerable.check.unwrap().0 as usize]);
            }
        }
        self
    }

    pub(super) fn state(mut self, name: &str, state: AdminState) -> SteeringWorld {
        self.endpoint_mut(name).state = state;
        self
    }

    pub(super) fn only(mut self, name: &str, facet: Facet) -> SteeringWorld {
        self.endpoint_mut(name).answerables.retain(|answerable| answerable.facet == facet);
        self
    }

    pub(super) fn unmonitored(mut self, name: &str) -> SteeringWorld {
        self.endpoint_mut(name).answerables.iter_mut().for_each(|answerable| answerable.check = None);
        self
    }

    pub(super) fn down(self, names: &str) -> SteeringWorld {
        names.split_whitespace().fold(self, |world, name| {
            world.each_check(name, None, |check| {
                check.health = Health::Down;
                check.cause = Some(("connection refused".into(), "ns1".into()));
            })
        })
    }

    pub(super) fn down_in(self, name: &str, facet: Facet) -> SteeringWorld {
        self.each_check(name, Some(facet), |check| check.health = Health::Down)
    }

    pub(super) fn unknown(self, name: &str, tried: bool) -> SteeringWorld {
        self.each_check(name, None, |check| (check.health, check.tried) = (Health::Unknown, tried))
    }

    pub(super) fn rtt(self, name: &str, from: &str, millis: u64) -> SteeringWorld {
        let region = self.model.region_named(from).unwrap();
        self.each_check(name, None, |check| {
            check.rtts.retain(|(measured, _)| *measured != region);
            check.rtts.push((region, Duration::from_millis(millis)));
        })
    }

    pub(super) fn regional_view(mut self) -> SteeringWorld {
        self.model.regional_view = true;
        self
    }

    /// Up, and out of reach for these regions.
    pub(super) fn out_of_reach(self, name: &str, regions: &str) -> SteeringWorld {
        let regions: Arc<[_]> = regions.split_whitespace().map(|name| self.model.region_named(name).unwrap()).collect();
        self.each_check(name, None, |check| check.unreachable_from = regions.clone())
    }

    pub(super) fn ramp(mut self, names: &str, seconds: u64) -> SteeringWorld {
        names.split_whitespace().for_each(|name| self.endpoint_mut(name).ramp = Duration::from_secs(seconds));
        self
    }

    /// Up since so many seconds after the start, and down before.
    pub(super) fn came_up(mut self, name: &str, facet: Option<Facet>, seconds: u64) -> SteeringWorld {
        let since = Recovery::Since(Moment::from_start(Duration::from_secs(seconds)));
        for answerable in self.endpoint_mut(name).answerables.clone() {
            if facet.is_none_or(|facet| facet == answerable.facet) {
                Arc::make_mut(&mut self.view.recoveries).insert(answerable.check.unwrap(), since);
            }
        }
        self
    }

    pub(super) fn may_change(self, name: &str, millis: u64) -> SteeringWorld {
        self.each_check(name, None, |check| check.may_change_in = Some(Duration::from_millis(millis)))
    }

    /// An override of an endpoint by alice for "kernel update", until 14:30 on 2026-11-23.
    pub(super) fn overridden(mut self, name: &str, state: OverrideState) -> SteeringWorld {
        let MemberRef::Endpoint(id) = self.find(name) else { panic!("{name} is a pool") };
        let entry = Override {
            target: name.to_owned(),
            state,
            why: "kernel update".to_owned(),
            who: "alice".to_owned(),
            until: Some(1_795_444_200.0),
            zones: None,
        };
        Arc::make_mut(&mut self.view.overrides).insert(id, Arc::new(entry));
        self
    }

    fn pool_mut(&mut self, name: &str) -> &mut Pool {
        self.model.pools.iter_mut().find(|pool| pool.name == name).unwrap()
    }

    pub(super) fn min_up(mut self, pool: &str, share: f64) -> SteeringWorld {
        self.pool_mut(pool).min_up = share;
        self
    }

    pub(super) fn band(mut self, pool: &str, millis: u64, percent: u32) -> SteeringWorld {
        self.pool_mut(pool).band = Some(Band { over: Duration::from_millis(millis), percent });
        self
    }

    pub(super) fn failback(mut self, failback: Failback) -> SteeringWorld {
        self.policy.failback = failback;
        self
    }

    pub(super) fn affinity(mut self, v4: u8, v6: u8) -> SteeringWorld {
        self.policy.affinity = Some(AffinityNet { v4, v6 });
        self
    }

    /// The root pool.
    pub(super) fn root(mut self, name: &'static str) -> SteeringWorld {
        self.root = Some(name);
        self
    }

    /// The time is so many seconds before the overrides end.
    pub(super) fn before_end(mut self, seconds: f64) -> SteeringWorld {
        self.view.at_unix = Some(1_795_444_200.0 - seconds);
        self
    }

    /// The override of an endpoint was set for this target.
    pub(super) fn override_target(mut self, name: &str, target: &str) -> SteeringWorld {
        let MemberRef::Endpoint(id) = self.find(name) else { panic!("{name} is a pool") };
        let entry = Arc::make_mut(&mut self.view.overrides).get_mut(&id).unwrap();
        Arc::make_mut(entry).target = target.to_owned();
        self
    }

    pub(super) fn name_of(&self, member: MemberRef) -> &str {
        match member {
            MemberRef::Endpoint(id) => &self.model.endpoint(id).name,
            MemberRef::Pool(id) => &self.model.pool(id).name,
        }
    }

    /// The same world with endpoints and pools declared in the opposite order.
    pub(super) fn backwards(mut self) -> SteeringWorld {
        let (endpoints, pools) = (self.model.endpoints.len() as u32, self.model.pools.len() as u32);
        let endpoint = |id: EndpointId| EndpointId(endpoints - 1 - id.0);
        let moved = |member: MemberRef| match member {
            MemberRef::Endpoint(id) => MemberRef::Endpoint(endpoint(id)),
            MemberRef::Pool(id) => MemberRef::Pool(PoolId(pools - 1 - id.0)),
        };
        self.model.endpoints.reverse();
        self.model.pools.reverse();
        let members = self.model.pools.iter_mut().flat_map(|pool| &mut pool.members);
        members.for_each(|member| member.to = moved(member.to));
        for fence in &mut self.model.fences {
            fence.inside = fence.inside.iter().map(|id| endpoint(*id)).collect();
            fence.inside.sort_unstable();
        }
        for entry in &mut self.policy.on_empty {
            if let OnEmpty::Other(other) = *entry {
                *entry = OnEmpty::Other(moved(other));
            }
        }
        let overrides = self.view.overrides.iter().map(|(id, entry)| (endpoint(*id), entry.clone()));
        self.view.overrides = Arc::new(overrides.collect());
        self
    }

    /// Seconds since the start.
    pub(super) fn at(mut self, seconds: u64) -> SteeringWorld {
        self.view.at = Moment::from_start(Duration::from_secs(seconds));
        self
    }

    /// The opposite of [`SteeringWorld::down`].
    pub(super) fn up(self, names: &str) -> SteeringWorld {
        names
            .split_whitespace()
            .fold(self, |world, name| world.each_check(name, None, |check| check.health = Health::Up))
    }

    pub(super) fn answers(mut self, answers: usize) -> SteeringWorld {
        self.policy.answers = Some(answers);
        self
    }

    pub(super) fn on_empty(mut self, on_empty: OnEmpty) -> SteeringWorld {
        self.policy.on_empty = vec![on_empty];
        self
    }

    /// One more entry of `on_empty`: a keyword, or the name of a pool or endpoint.
    pub(super) fn then(mut self, entry: &str) -> SteeringWorld {
        self.policy.on_empty.push(match entry {
            "all" => OnEmpty::All,
            "last_good" => OnEmpty::LastGood,
            "static" => OnEmpty::Static,
            "nodata" => OnEmpty::Nodata,
            name => OnEmpty::Other(self.find(name)),
        });
        self
    }

    /// The types that the name answers.
    pub(super) fn types(mut self, facets: &[Facet]) -> SteeringWorld {
        self.policy.facets = facets.to_vec();
        self
    }

    /// As `on_empty`, with another pool or endpoint.
    pub(super) fn or_else(mut self, name: &str) -> SteeringWorld {
        self.policy.on_empty = vec![OnEmpty::Other(self.find(name))];
        self
    }

    /// As [`SteeringWorld::or_else`], with the pool that was declared first.
    pub(super) fn or_else_first(mut self) -> SteeringWorld {
        self.policy.on_empty = vec![OnEmpty::Other(MemberRef::Pool(PoolId(0)))];
        self
    }

    pub(super) fn ttl(mut self, min: u64, max: u64) -> SteeringWorld {
        self.policy.ttl = Ttl { min: Duration::from_secs(min), max: Duration::from_secs(max) };
        self
    }

    /// Decides for the name whose pool or endpoint was declared last, or is called `p`.
    pub(super) fn decide(&self, client: &str, facet: Facet, last_good: Option<&Distribution>) -> Decision {
        self.decide_after(client, facet, Memory { last_good, standings: &[] })
    }

    /// As [`SteeringWorld::decide`], with the whole memory of the previous decision.
    pub(super) fn decide_after(&self, client: &str, facet: Facet, memory: Memory<'_>) -> Decision {
        let model = self.whole_model();
        decide(&model, PolicyId(0), &self.view, &self.class(client), facet, memory)
    }

    /// The class of clients `eu`, `eu+nordic` and the like; `-` has no region.
    pub(super) fn class(&self, client: &str) -> ClientClass {
        let mut words = client.split('+');
        let region = words.next().and_then(|region| self.model.region_named(region));
        let mut selectors: Vec<SelectorId> = words.map(|selector| self.selector_named(selector)).collect();
        selectors.sort_unstable();
        ClientClass { region, selectors }
    }

    /// The model with the policy in it.
    pub(super) fn whole_model(&self) -> Model {
        let last = match self.model.pools.len() {
            0 => MemberRef::Endpoint(EndpointId(self.model.endpoints.len() as u32 - 1)),
            pools => MemberRef::Pool(PoolId(pools as u32 - 1)),
        };
        let name = self.root.unwrap_or("p");
        let named = self.model.pools.iter().position(|pool| pool.name == name);
        let root = named.map_or(last, |at| MemberRef::Pool(PoolId(at as u32)));
        let mut model = self.model.clone();
        let endpoints: Vec<EndpointId> = (0..model.endpoints.len() as u32).map(EndpointId).collect();
        let is_mixed = Policy::can_mix(&model, &endpoints, &self.policy.facets);
        model.policies.push(Policy { root, endpoints, is_mixed, ..self.policy.clone() });
        model
    }
}
