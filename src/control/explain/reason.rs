//! The reasons of a decision as text: `down`, `no IPv6 address`, `rank 1: 12.4 ms from eu-west`.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use crate::control::explain::numbers::{milliseconds, plain};
use crate::control::explain::selector::selector_text;
use crate::model::{
    AdminState, EndpointId, Facet, Failback, Health, MemberRef, Model, Override, Policy, PoolId, RegionId, WorldView,
};
use crate::printable::escaped;
use crate::steering::why::{InBand, InTier, Nearness, OutOfService, Ramping, Ranked, Turn, Undrawn, Unhealthy};
use crate::steering::{Decision, HOLD_DOWN, PromotionBlock, Reason, Why, promotion_block};

/// Most endpoints that a reason lists as allowed (judgment: a few are readable).
const MOST_NAMED: usize = 6;

/// The reason of an endpoint that is up. The text form of an explanation leaves it out.
pub(super) const UP: &str = "up";

/// Writes the data of a policy's decision as text.
#[derive(Clone, Copy)]
pub(crate) struct Renderer<'a> {
    /// The model to which the decision's ids belong.
    pub(crate) model: &'a Model,
    /// The policy that was decided.
    pub(crate) policy: &'a Policy,
    /// The decision.
    pub(crate) decision: &'a Decision,
    /// What blocks the promotion of an exclusive name.
    pub(crate) block: Option<PromotionBlock>,
}

impl<'a> Renderer<'a> {
    /// A renderer of what was decided in `view`.
    pub(crate) fn new(model: &'a Model, policy: &'a Policy, view: &WorldView, decision: &'a Decision) -> Renderer<'a> {
        Renderer { model, policy, decision, block: promotion_block(model, policy, view) }
    }
}

impl Renderer<'_> {
    /// A reason without its endpoint.
    pub(crate) fn reason(&self, Reason { endpoint, why }: &Reason) -> String {
        let endpoint = *endpoint;
        match why {
            Why::NoRecord => self.lacks().to_owned(),
            Why::AliasAmongAddresses => "a cname, and the name has addresses now: not both".to_owned(),
            Why::NoRecordAtAll => "no address of a type that the name answers, and no cname".to_owned(),
            Why::OutsideFence(inside) => {
                let fence = self.fence();
                format!("outside the fence \"{fence}\", which leaves this client {}", self.some_of(inside))
            }
            Why::Active(Some(epoch)) => format!("active by the lease, epoch {epoch}"),
            Why::Active(None) => "the first member: there is no lease yet".to_owned(),
            Why::NotActive { active: None, epoch: _ } => {
                "not active: which endpoint is active is not known here yet".to_owned()
            }
            Why::NotActive { active: Some(active), epoch: Some(epoch) } => {
                format!("not active: the lease names \"{}\", epoch {epoch}", escaped(active))
            }
            Why::NotActive { active: Some(active), epoch: None } => {
                format!("not active: there is no lease yet, so \"{}\" is, the first member", escaped(active))
            }
            Why::OutOfService(out) => self.out_of_service(endpoint, out),
            Why::OutOfServiceButGiven(out) => {
                format!("{}; given because nothing better is left", self.out_of_service(endpoint, out))
            }
            Why::ForcedUp(by) => self.forced_up(endpoint, by),
            Why::Unhealthy(measured) => unhealthy(measured),
            Why::UnhealthyButGiven(measured) => {
                format!("{}; given because nothing better is left", unhealthy(measured))
            }
            Why::UnhealthyButForcedUp(measured) => format!("up by override; measured {}", unhealthy(measured)),
            Why::OutOfReach(region) => self.out_of_reach(*region),
            Why::OutOfReachButGiven(region) => {
                format!("{}; given because nothing better is left", self.out_of_reach(*region))
            }
            Why::Unmonitored => "no monitor: always up".to_owned(),
            Why::Up => UP.to_owned(),
            Why::NotProbedYet => "unknown: not probed yet, so counted as up".to_owned(),
            Why::Ranked(ranked) => self.ranked(ranked),
            Why::FirstMatch { pool, member, when } => {
                let (within, name) = (self.within(*pool), self.name(*member));
                let whom = when.map_or_else(|| "for everyone".to_owned(), |when| selector_text(self.model, when));
                format!("first match{within}: \"{name}\", {whom}")
            }
            Why::InTier(place) => self.in_tier(place),
            Why::NotSelected(when) => format!("not for this client: {}", selector_text(self.model, *when)),
            Why::BehindMatch(first) => format!("behind \"{}\", which matches first", self.name(*first)),
            Why::Standby(pool) => {
                format!("standby: weight 0, for when every other member of \"{}\" is out", self.pool(*pool))
            }
            Why::BehindFirst { pool, first } => {
                format!("standby: \"{}\" comes first in \"{}\" and is up", self.name(*first), self.pool(*pool))
            }
            Why::BeforeIncumbent { pool, incumbent } => self.before_incumbent(*pool, *incumbent),
            Why::UnderMinUp { pool, up } => format!("{}: out for its parent", self.under_min_up(*pool, *up)),
            Why::UnderMinUpButGiven { pool, up } => {
                format!("{}; given because nothing better is left", self.under_min_up(*pool, *up))
            }
            Why::BehindFirstTier => "behind the first tier of a member of a pool that steers all".to_owned(),
            Why::GivenThoughForOthers => "given though it is for other clients".to_owned(),
            Why::GivenThoughIneligible => "given though it is not eligible".to_owned(),
            Why::NotForClient => "not for this client".to_owned(),
            Why::DrainedForOthers => "drained: something else is given".to_owned(),
            Why::NotGivenNow => "not what is given now".to_owned(),
            Why::OfOtherKind => {
                let is = if self.is_cname(endpoint) { "is a cname" } else { "has addresses" };
                format!("{is}, and a CNAME can't have other records next to it")
            }
            Why::Drawn { tier, weight, total } => {
                format!("tier {tier}: weight {} of {}", plain(*weight), plain(*total))
            }
            Why::NotDrawn { tier, because } => format!("tier {tier}: {}", self.undrawn(*because)),
        }
    }

    /// The name of an endpoint or a pool.
    pub(super) fn name(&self, member: MemberRef) -> &str {
        self.model.member_name(member)
    }

    pub(super) fn pool(&self, id: PoolId) -> &str {
        &self.model.pool(id).name
    }

    /// The name of the policy's fence.
    pub(super) fn fence(&self) -> &str {
        self.policy.fence.map_or("", |id| &self.model.fence(id).name)
    }

    pub(super) fn is_cname(&self, endpoint: EndpointId) -> bool {
        self.model.endpoint(endpoint).answerables.iter().any(|side| side.facet == Facet::Alias)
    }

    /// ` in "eu"`; empty for the policy's own pool.
    fn within(&self, pool: Option<PoolId>) -> String {
        pool.map_or_else(String::new, |pool| format!(" in \"{}\"", self.pool(pool)))
    }

    fn under_min_up(&self, id: PoolId, up: f64) -> String {
        let (up, least) = (plain(up * 100.0), plain(self.model.pool(id).min_up * 100.0));
        format!("pool \"{}\" has {up} % of its weight up, under min_up {least} %", self.pool(id))
    }

    /// What an endpoint lacks that has no record of this type.
    fn lacks(&self) -> &'static str {
        match self.decision.facet {
            Facet::V4 => "no IPv4 address",
            Facet::V6 => "no IPv6 address",
            Facet::Alias => "no cname",
            Facet::Srv | Facet::Https | Facet::Svcb => "no address and no cname",
        }
    }

    /// `fra1, ams1 and 3 more`.
    fn some_of(&self, endpoints: &[EndpointId]) -> String {
        let names = endpoints.iter().take(MOST_NAMED).map(|id| self.name(MemberRef::Endpoint(*id)));
        let names = names.collect::<Vec<_>>().join(", ");
        match endpoints.len() {
            0 => "nothing of this pool".to_owned(),
            n if n > MOST_NAMED => format!("{names} and {} more", n - MOST_NAMED),
            _ => names,
        }
    }

    fn out_of_service(&self, endpoint: EndpointId, out: &OutOfService) -> String {
        match out {
            OutOfService::Withdrawn(source) => format!("withdrawn: {source} does not list it any more"),
            OutOfService::Disabled => "disabled: state = \"disabled\" in the policy file".to_owned(),
            OutOfService::DrainedByFile => "drained: state = \"drain\" in the policy file".to_owned(),
            OutOfService::Drained(by) => format!("drained {}", self.by(endpoint, by)),
            OutOfService::ForcedDown(by) => format!("forced down {}", self.by(endpoint, by)),
        }
    }

    /// That an override makes an endpoint eligible, and whether it does so against the policy file.
    fn forced_up(&self, endpoint: EndpointId, by: &Override) -> String {
        let overrules = match self.model.endpoint(endpoint).state {
            AdminState::Drain => "; overrules state = \"drain\" in the policy file",
            AdminState::Enabled | AdminState::Disabled => "",
        };
        format!("forced up {}{overrules}", self.by(endpoint, by))
    }

    /// `by alice (region:eu): kernel update, until 2026-11-23 14:30 UTC`.
    fn by(&self, endpoint: EndpointId, entry: &Override) -> String {
        let mut text = format!("by {}", entry.who);
        if entry.target != self.model.endpoint(endpoint).name {
            text.push_str(&format!(" ({})", entry.target));
        }
        if !entry.why.is_empty() {
            text.push_str(&format!(": {}", entry.why));
        }
        if let Some(until) = entry.until.and_then(date) {
            text.push_str(&format!(", until {until}"));
        }
        text
    }

    fn out_of_reach(&self, region: RegionId) -> String {
        let region = &self.model.region(region).name;
        format!("up, but most vantages of {region} can't reach it")
    }

    fn ranked(&self, ranked: &Arc<Ranked>) -> String {
        let (rank, within) = (ranked.rank, self.within(ranked.pool));
        let seconds = HOLD_DOWN.as_secs();
        let turn = match ranked.turn {
            None => String::new(),
            Some(Turn::Stays) => format!("; stays until others have led for {seconds} s"),
            Some(Turn::Waits) => format!("; leads once it has been ahead for {seconds} s"),
        };
        let nearness = self.nearness(&ranked.nearness);
        match &ranked.band {
            None => format!("rank {rank}{within}: {nearness}{turn}"),
            Some(InBand { best, width }) => {
                let (best, width) = (milliseconds(*best), milliseconds(*width));
                format!("rank {rank}{within}: in the band: {nearness}{turn}, best {best} + {width}")
            }
        }
    }

    fn nearness(&self, nearness: &Nearness) -> String {
        let name = |region| &self.model.region(region).name;
        match nearness {
            Nearness::OnlyMember => "the only member that is up".to_owned(),
            Nearness::RegionUnknown => "listed order, the client's region is unknown".to_owned(),
            Nearness::NothingMeasured => "listed order, nothing is measured".to_owned(),
            Nearness::Rtt { rtt, from, client } if from == client => {
                format!("{} from {} (this client's region)", milliseconds(*rtt), name(*from))
            }
            Nearness::Rtt { rtt, from, client } => {
                let (rtt, from, client) = (milliseconds(*rtt), name(*from), name(*client));
                format!("{rtt} from {from} (the nearest region that measures; {client} does not)")
            }
            Nearness::NotMeasured(from) => format!("not measured from {}, listed order", name(*from)),
            Nearness::Kilometres { km, client } => format!("{km} km from {} (this client's region)", name(*client)),
            Nearness::NoLocation(client) => format!("distance from {} not known, listed order", name(*client)),
        }
    }

    fn in_tier(&self, place: &InTier) -> String {
        let (tier, weight) = (place.tier, plain(place.weight));
        let mut text = match place.together {
            1 => format!("tier {tier}, weight {weight}"),
            n => format!("tier {tier}, one of {n} given together, weight {weight}"),
        };
        for ramping in &place.ramps {
            text.push_str(&format!("; {}", self.ramping(ramping)));
        }
        text
    }

    fn ramping(&self, Ramping { pool, member, now, full }: &Ramping) -> String {
        let (now, full, within) = (plain(*now), plain(*full), self.within(*pool));
        match member {
            MemberRef::Endpoint(endpoint) => {
                let ramp = humantime::format_duration(self.model.endpoint(*endpoint).ramp);
                format!("ramping: weight {now} of {full}{within}, full {ramp} after it came up")
            }
            MemberRef::Pool(pool) => {
                let name = self.pool(*pool);
                format!(
                    "ramping: weight {now} of {full} for \"{name}\"{within}, because all that it gives came up recently"
                )
            }
        }
    }

    fn before_incumbent(&self, pool: PoolId, incumbent: MemberRef) -> String {
        let (pool, incumbent) = (self.pool(pool), self.name(incumbent));
        match self.policy.failback {
            Failback::Auto | Failback::Manual => format!("\"{pool}\" stays on \"{incumbent}\": failback is manual"),
            Failback::After(time) => {
                let time = humantime::format_duration(time);
                format!("\"{pool}\" stays on \"{incumbent}\" until an earlier member has been up for {time}")
            }
        }
    }

    fn undrawn(&self, because: Undrawn) -> String {
        let then = match self.decision.facet {
            Facet::Alias => "no record of this type is given",
            Facet::V4 | Facet::V6 | Facet::Srv | Facet::Https | Facet::Svcb => "another address is drawn",
        };
        match because {
            Undrawn::SideDown => format!("its address of this family is down: {then}"),
            Undrawn::SideMissing => format!("{}: {then}", self.lacks()),
            Undrawn::AfterAlias => "an alias comes first, and is the only record".to_owned(),
            Undrawn::TiersFull => "not reached: earlier tiers have enough records".to_owned(),
            Undrawn::AliasAfterAddresses => "an alias can't follow addresses".to_owned(),
        }
    }
}

fn unhealthy(Unhealthy { health, cause }: &Unhealthy) -> String {
    let verdict = match health {
        Health::Up => UP,
        Health::Down => "down",
        Health::Unknown => "unknown: probed without a verdict, so counted as down",
    };
    match cause {
        Some((why, vantage)) => format!("{verdict}: {why} (reported by {vantage})"),
        None => verdict.to_owned(),
    }
}

/// Unix seconds as `2026-11-23 14:30 UTC`; `None` outside the range of that format.
fn date(unix: f64) -> Option<String> {
    /// 9999-12-31: the last day that the format has room for.
    const LAST: f64 = 253_402_214_400.0;
    let since = Duration::try_from_secs_f64(unix).ok().filter(|_| unix < LAST)?;
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH.checked_add(since)?).to_string();
    let (day, time) = text.split_once('T')?;
    Some(format!("{day} {} UTC", time.get(..5)?))
}
