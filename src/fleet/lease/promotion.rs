//! Which endpoint should be active, from the verdicts on the members.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::fleet::lease::{RETRY_FIRST, RETRY_LONGEST, VERDICT_FRESH, doubled};
use crate::model::{Failback, Moment};

/// The members of an exclusive name, as one server knows them at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSituation {
    /// When the verdicts were agreed.
    pub at: Moment,
    /// In listed order.
    pub members: Vec<MemberState>,
    /// Whether an earlier member becomes active again by itself.
    pub failback: Failback,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// What the quorum and the operators decide about it.
    pub verdict: MemberVerdict,
}

/// What the quorum and the operators decide about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberVerdict {
    /// Up: it may become active.
    Up,
    /// Down, by enough vantages with a vote now.
    Down,
    /// Nobody knows enough: the last verdict counts no more, or there was none. It stays what it is.
    Unsure,
    /// An operator drains it or forces it down.
    OutOfService,
}

/// A change of the active endpoint that the situation calls for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The endpoint that should become active.
    pub(super) to: Arc<str>,
    /// Why, in words.
    pub(super) why: String,
}

/// What a server remembers of the members: since when each is up, and whose promotion failed.
#[derive(Debug, Clone, Default)]
pub(super) struct MemberMemory {
    situation: Option<LeaseSituation>,
    up_since: HashMap<Arc<str>, Moment>,
    failed: HashMap<Arc<str>, Failed>,
}

#[derive(Debug, Clone)]
struct Failed {
    times: u32,
    until: Moment,
}

impl MemberMemory {
    /// Takes over the newest verdicts.
    pub(super) fn learn(&mut self, situation: LeaseSituation) {
        let is_up = |endpoint: &Arc<str>| verdict_in(&situation, endpoint) == Some(MemberVerdict::Up);
        self.up_since.retain(|endpoint, _| is_up(endpoint));
        for member in situation.members.iter().filter(|member| member.verdict == MemberVerdict::Up) {
            self.up_since.entry(member.endpoint.clone()).or_insert(situation.at);
        }
        // What is not a member any more does not take memory.
        self.failed.retain(|endpoint, _| verdict_in(&situation, endpoint).is_some());
        self.situation = Some(situation);
    }

    /// The first member in listed order.
    pub(super) fn first(&self) -> Option<Arc<str>> {
        Some(self.situation.as_ref()?.members.first()?.endpoint.clone())
    }

    /// A promotion of an endpoint failed. It is not tried again for a while, which doubles each time.
    pub(super) fn failed(&mut self, endpoint: &Arc<str>, now: Moment) {
        let failed = self.failed.entry(endpoint.clone()).or_insert(Failed { times: 0, until: now });
        failed.until = now + doubled(RETRY_FIRST, failed.times, RETRY_LONGEST);
        failed.times = failed.times.saturating_add(1);
    }

    /// A promotion of an endpoint succeeded.
    pub(super) fn succeeded(&mut self, endpoint: &Arc<str>) {
        self.failed.remove(endpoint);
    }

    /// The change that the verdicts call for, where `active` is the active endpoint.
    pub(super) fn wanted(&self, active: &Arc<str>, now: Moment) -> Option<Wanted> {
        let situation = self.fresh(now)?;
        let why = match verdict_in(situation, active) {
            Some(MemberVerdict::Down) => format!("{active} is down"),
            Some(MemberVerdict::OutOfService) => format!("{active} is out of service"),
            None => format!("{active} is not a member any more"),
            Some(MemberVerdict::Up | MemberVerdict::Unsure) => return self.failback(situation, active, now),
        };
        let to = self.candidates(&situation.members, now).find(|member| member.endpoint != *active)?;
        Some(Wanted { to: to.endpoint.clone(), why })
    }

    /// The change that an operator's order means: to the first member that is up; `None`: it is active already. An
    /// error says why there is none.
    pub(super) fn ordered(&self, active: &Arc<str>, who: &str, now: Moment) -> Result<Option<Wanted>, String> {
        let situation = self.fresh(now).ok_or("the verdicts on its members are not known yet")?;
        let first = situation.members.iter().find(|member| member.verdict == MemberVerdict::Up);
        let first = first.ok_or("none of its members is up")?;
        let wanted = || Wanted { to: first.endpoint.clone(), why: format!("handed back by {who}") };
        Ok((first.endpoint != *active).then(wanted))
    }

    /// When [`MemberMemory::wanted`] could change by time alone.
    pub(super) fn deadline(&self, now: Moment) -> Option<Moment> {
        let retries = self.failed.values().map(|failed| failed.until);
        let waits = self.situation.as_ref().and_then(|situation| match situation.failback {
            Failback::Auto | Failback::Manual => None,
            Failback::After(time) => Some(time),
        });
        let failbacks = waits.into_iter().flat_map(|time| self.up_since.values().map(move |since| *since + time));
        retries.chain(failbacks).filter(|at| *at > now).min()
    }

    fn fresh(&self, now: Moment) -> Option<&LeaseSituation> {
        self.situation.as_ref().filter(|situation| now.since(situation.at) <= VERDICT_FRESH)
    }

    /// Those of `members` that may be promoted now.
    fn candidates<'a>(&'a self, members: &'a [MemberState], now: Moment) -> impl Iterator<Item = &'a MemberState> + 'a {
        let may_try = move |member: &&MemberState| {
            let failed = self.failed.get(&member.endpoint);
            member.verdict == MemberVerdict::Up && failed.is_none_or(|failed| failed.until <= now)
        };
        members.iter().filter(may_try)
    }

    fn failback(&self, situation: &LeaseSituation, active: &Arc<str>, now: Moment) -> Option<Wanted> {
        let wait = match situation.failback {
            Failback::Manual => return None,
            Failback::Auto => Duration::ZERO,
            Failback::After(time) => time,
        };
        let (earlier, _) = situation.members.split_at(situation.members.iter().position(|of| of.endpoint == *active)?);
        let is_due =
            |member: &&MemberState| self.up_since.get(&member.endpoint).is_some_and(|since| *since + wait <= now);
        let to = self.candidates(earlier, now).find(is_due)?;
        let why = match situation.failback {
            Failback::After(time) => {
                format!("{} has been up for {}", to.endpoint, humantime::format_duration(time))
            }
            Failback::Auto | Failback::Manual => format!("{} is up again", to.endpoint),
        };
        Some(Wanted { to: to.endpoint.clone(), why })
    }
}

fn verdict_in(situation: &LeaseSituation, endpoint: &str) -> Option<MemberVerdict> {
    situation.members.iter().find(|member| *member.endpoint == *endpoint).map(|member| member.verdict)
}
