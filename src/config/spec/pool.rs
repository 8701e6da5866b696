//! `[pool.NAME]`: how members are chosen.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::FixedState;
use serde_json::{Value as Json, json};

use crate::config::fields::{Fields, wrong_type};
use crate::config::keys::{
    KeyGroup as _, NAME, Table, choice, custom, inline, integer, keys, list, name, number, object,
};
use crate::config::node::{Kind, Node};
use crate::config::spec::SelectorSpec;
use crate::config::spec::endpoint::{MAX_WEIGHT, check_entity};
use crate::config::spec::selector::{EXAMPLE, not_empty};
use crate::model::tree::OnceSet;
use crate::model::{Band, Steering};
use crate::source::{At, ManualSection, Place, Problems};

/// Most members of one pool (judgment: a decision walks them all).
const MAX_MEMBERS: usize = 4096;
/// Widest band: ten seconds are no round trip any more (judgment).
const MAX_BAND_MS: f64 = 10_000.0;
/// Widest band in percent: eleven times the best (judgment).
const MAX_BAND_PERCENT: i64 = 1000;
const BAND_EXAMPLE: &str = "{ ms = 8, pct = 10 }";

/// Most members of a geo pool whose order is looked at (judgment: each is compared with each).
const MOST_ORDERED: usize = 64;

keys! {
    /// `[pool.NAME]`.
    PoolSpec {
        /// endpoints or pools, in order: `["fra1", { to = "fra2", weight = 30 }]`. A weight here replaces the
        /// endpoint's own. A pool has the weight 1 if none is written, however many members it has, and keeps its share
        /// while some of them are down. In a geo pool, `when` selects the clients of a member, see [below](#geo-when)
        members: Vec<At<MemberSpec>> =
            list(custom(member, member_schema), "[\"fra1\", \"ams1\"]").sized(1..=MAX_MEMBERS),
            note "required, unless a source fills the pool";
        /// see below
        steer: Steering = choice(Steering::ALL, "a way to steer"), default Steering::Weighted;
        /// latency only: `{ ms = 8, pct = 10 }`. A member counts as equal to the best one when its round-trip time is
        /// at most 8 ms or 10 % longer, whichever is more; so answers don't jump between members that are almost
        /// equal. Either key may be left out; up to 10000 ms and 1000 percent
        band: BandKeys = inline(BAND_EXAMPLE);
        /// while less than this share of its members' weight is up, 0 to 1, the pool counts as down for the pools that
        /// contain it; what is up of it is answered when they have nothing better. A drained member doesn't count as
        /// up: the others would have its load. In failover and geo pools too all members count by weight, whoever the
        /// client is
        min_up: f64 = number(0.0..=1.0, "0.5"), inherits json!(0);
    }
}

keys! {
    /// `band` of a pool.
    BandKeys {
        /// so many milliseconds more than the best
        ms: f64 = number(0.0..=MAX_BAND_MS, "8"), default 0.0;
        /// so many percent more than the best
        pct: u32 = integer(0..=MAX_BAND_PERCENT), default 0;
    }
}

keys! {
    /// A member that is written as a table.
    MemberKeys {
        /// the endpoint or pool
        to: String = name("\"fra1\""), required "";
        /// its weight here, instead of the endpoint's own
        weight: u32 = integer(0..=MAX_WEIGHT);
        /// geo only: the clients that it is for, see zones/README.md#geo-when
        when: SelectorSpec = inline(EXAMPLE).about(ManualSection::Geo);
    }
}

impl MemberSpec {
    /// A member with its own weight, for all clients.
    pub(in crate::config) fn of(to: At<String>) -> MemberSpec {
        MemberSpec { to, weight: None, when: None, has_when: false }
    }
}

/// One member of a pool.
#[derive(Debug)]
pub(in crate::config) struct MemberSpec {
    /// The endpoint or pool.
    pub(in crate::config) to: At<String>,
    /// Its weight here, where it has one.
    pub(in crate::config) weight: Option<u32>,
    /// Its clients. Most members have none, and a selector is large.
    pub(in crate::config) when: Option<Box<SelectorSpec>>,
    /// Whether `when` is written, also where that couldn't be read.
    has_when: bool,
}

impl Table for MemberKeys {}

impl Table for BandKeys {
    fn schema() -> Json {
        not_empty(object(&Self::keys()))
    }
}

impl Table for PoolSpec {
    const SECTION: Option<ManualSection> = Some(ManualSection::Pool);

    fn check(&mut self, _: bool, problems: &mut Problems) -> bool {
        check_entity(&self.name, "a pool", problems);
        if self.members().len() > MAX_MEMBERS {
            let message = format!("pool `{}` has more than {MAX_MEMBERS} members", self.name.value);
            problems.error(&self.name.place, message);
        }
        if !self.is(Steering::Geo) {
            self.check_twice(problems);
        }
        self.check_band(problems);
        problems.about(ManualSection::Geo, |problems| self.check_when(problems));
        true
    }
}

impl PoolSpec {
    /// The members in their order.
    pub(in crate::config) fn members(&self) -> &[At<MemberSpec>] {
        self.members.as_ref().map_or(&[], |members| &members.value)
    }

    /// Whether it has members, which it must have if no source fills it.
    pub(super) fn check_members(&self, problems: &mut Problems) {
        if self.lacks("members") || self.members.as_ref().is_some_and(|members| members.value.is_empty()) {
            let place = self.place_of("members").unwrap_or(&self.name.place);
            let problem = problems.error(place, format!("pool `{}` is empty", self.name.value));
            problem.hint("write `members = [\"ENDPOINT\", ...]`");
        }
    }

    /// Whether it steers like this. Of a pool whose `steer` is wrong nothing is known.
    fn is(&self, steering: Steering) -> bool {
        *self.steer == steering && self.has_steer()
    }

    fn has_steer(&self) -> bool {
        self.steer.place.is_some() || !self.has("steer")
    }

    /// How near round-trip times are equal.
    pub(in crate::config) fn band(&self) -> Option<Band> {
        let band = &self.band.as_ref()?.value;
        Some(Band { over: Duration::from_secs_f64(*band.ms / 1000.0), percent: *band.pct })
    }

    /// A member may be listed once, except in a geo pool: there it can be first for some clients and last for others.
    fn check_twice(&mut self, problems: &mut Problems) {
        let Some(members) = &mut self.members else { return };
        members.value.truncate(MAX_MEMBERS);
        let mut seen = OnceSet::default();
        if members.value.iter().all(|member| seen.insert(member.value.to.value.as_str())) {
            return;
        }
        let mut first: HashMap<String, Place, FixedState> = HashMap::default();
        members.value.retain(|At { value: MemberSpec { to, .. }, .. }| {
            let Some(first) = first.get(&to.value) else {
                return first.insert(to.value.clone(), to.place.clone()).is_none();
            };
            let message = format!("`{}` is listed twice in pool `{}`", to.value, self.head.name.value);
            let problem = problems.error(&to.place, message).label(first, "first here");
            problem.hint(format!("give it more weight instead: {{ to = \"{}\", weight = 2 }}", to.value));
            false
        });
    }

    fn check_band(&self, problems: &mut Problems) {
        let Some(At { value: band, .. }) = &self.band else { return };
        let place = &band.name.place;
        let is_read = |key: &str, place: &Option<_>| place.is_some() || !band.has(key);
        if self.has_steer() && !self.is(Steering::Latency) {
            let problem = problems.error(place, "`band` is for pools that steer by latency");
            problem.hint("write `steer = \"latency\"`, or leave it out");
        } else if !band.has("ms") && !band.has("pct") {
            let problem = problems.error(place, "`band` has neither `ms` nor `pct`");
            problem.hint(format!("write `band = {BAND_EXAMPLE}`"));
        } else if is_read("ms", &band.ms.place) && is_read("pct", &band.pct.place) && *band.ms == 0.0 && *band.pct == 0
        {
            let message = "a `band` of 0 has no effect: only the member with the lowest RTT is in it";
            problems.warning(place, message).hint(format!("leave it out, or write `band = {BAND_EXAMPLE}`"));
        }
    }

    /// `when` is for geo pools, where exactly the last member is for all other clients.
    fn check_when(&self, problems: &mut Problems) {
        let (Some((last, before)), true) = (self.members().split_last(), self.has_steer()) else { return };
        let name = &self.name.value;
        if !self.is(Steering::Geo) {
            for when in self.members().iter().filter_map(|member| member.value.when.as_ref()) {
                let message = format!("`when` does nothing here: pool `{name}` doesn't steer by it");
                problems.error(&when.name.place, message).hint("write `steer = \"geo\"`, or leave it out");
            }
            return;
        }
        let last = &last.value;
        if last.has_when {
            let message =
                format!("the last member of the geo pool `{name}` has a `when`: other clients would get no answer");
            let problem = problems.error(&last.to.place, message);
            problem.hint("add a last member without `when`, for all other clients: `{ to = \"NAME\" }`");
        }
        if let Some(At { value: all, .. }) = before.iter().find(|member| !member.value.has_when) {
            let message = format!("`{}` has no `when`, so no client gets to the members after it", all.to.value);
            let problem = problems.error(&all.to.place, message);
            problem.label(&last.to.place, "the last member");
            problem.hint("give it a `when`, or move it to the end: only the last member of a geo pool has none");
        }
        self.check_order(problems);
    }

    /// A member whose `when` is narrower than one before it is only a reserve of that one. Where it is also listed
    /// before that, this is meant.
    fn check_order(&self, problems: &mut Problems) {
        let members = self.members().iter().filter_map(|At { value, .. }| Some((&value.to, value.when.as_deref()?)));
        let members: Vec<(&At<String>, &SelectorSpec)> = members.take(MOST_ORDERED).collect();
        for (at, (to, when)) in members.iter().enumerate() {
            let before = &members[..at];
            let wider = before.iter().position(|(_, wider)| wider.covers(when) && !when.covers(wider));
            let Some(wider) = wider.filter(|wider| before[..=*wider].iter().all(|(first, _)| first.value != to.value))
            else {
                continue;
            };
            let (first, name) = (before[wider].0, &to.value);
            let message =
                format!("`{name}` is only a reserve: the `when` of `{}` before it has all its clients", first.value);
            let problem = problems.note(&to.place, message).label(&first.place, "their first member");
            problem.hint(format!("list `{name}` first: the order of members decides, not which `when` is narrower"));
        }
    }
}

fn member_schema() -> Json {
    json!({ "anyOf": [{ "type": "string", "pattern": NAME }, MemberKeys::schema()] })
}

/// `"fra1"` or `{ to = "fra1", weight = 30 }`.
fn member(_: &At<String>, node: Node, problems: &mut Problems) -> Option<MemberSpec> {
    let place = node.place.clone();
    match node.kind {
        Kind::Text(value) | Kind::Loose(value) => {
            Some(MemberSpec { to: At { value, place }, weight: None, when: None, has_when: false })
        }
        Kind::Table(_) => {
            let keys = MemberKeys::read(Fields::of_node(node, "a member", problems)?, problems)?;
            if keys.lacks("to") {
                let problem = problems.error(&place, "this member has no `to`");
                problem.hint("write `{ to = \"fra1\", weight = 30 }`");
            }
            let (has_when, weight, when) = (keys.has("when"), keys.weight, keys.when);
            Some(MemberSpec {
                to: keys.to?,
                weight: weight.map(|at| at.value),
                when: when.map(|at| Box::new(at.value)),
                has_when,
            })
        }
        other => {
            let wrong = wrong_type(&place, "a member", "a name or a table", other.described(), problems);
            wrong.hint("write \"fra1\" or { to = \"fra1\", weight = 30 }");
            None
        }
    }
}
