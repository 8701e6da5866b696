//! From the ballots on one check to the verdict on it. Pure.
//!
//! Verdicts are counted twice: first those of the vantages of each region, then those of the regions. So a region
//! with many vantages has one vote, and trouble near one vantage has no effect elsewhere. The monitor sets how many
//! make Down ([`Quorum`]). By default it takes more than half of those that have a verdict, both times. **A tie keeps
//! Up**: to take a healthy endpoint out of the answers is certain harm, to leave one in is harm only if it is down.
//!
//! A vantage that has stopped in order has no vote from that moment on. If it starts again, as after an upgrade,
//! nothing must have changed and changed back: so for the time of `stale_after`, 10 s at most, its ballots still count
//! where the verdict would be another one without them, and its round-trip times where its region has no others.
//!
//! A stale or blind vantage has no vote as long as another one has a verdict. If none has, the last verdicts of all are
//! counted, and the view says so ([`Basis`]): a fleet that receives no reports goes on answering as before.
//!
//! Round-trip times of a region whose vantages are all blind stay those that they measured last: without them its
//! clients would get what is near another region, which theirs may not reach.
//!
//! **Regional view.** An endpoint can be up for the world and out of reach for one region. [`agree_on`] names such
//! regions; steering does not give the endpoint to their clients while it has something else for them.

mod votes;

use std::sync::Arc;
use std::time::Duration;

use crate::fleet::Vantage;
use crate::fleet::ballots::{Ballot, LeftVantage, VantageBallots};
use crate::model::quorum::STALE_AFTER;
use crate::model::{Basis, CheckView, Evidence, Health, Model, Moment, Quorum, RegionId};

pub(crate) use votes::{PossibleTurn, VoteCount};

/// Whether the verdicts of a vantage count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VoteRight {
    /// They do.
    Votes,
    /// It is blind.
    Blind,
    /// It has stopped in order a moment ago.
    Left,
    /// Its last report is too old.
    Stale,
}

impl VoteRight {
    /// That of a vantage for monitors with this `stale_after`.
    pub(crate) fn of(vantage: &VantageBallots, stale_after: Duration, now: Moment) -> VoteRight {
        let is_over = |left: &LeftVantage| now.since(left.at) > stale_after.min(STALE_AFTER);
        match (now.since(vantage.received_at) > stale_after, &vantage.left, &vantage.blind) {
            (true, _, _) => VoteRight::Stale,
            (false, Some(left), _) if is_over(left) => VoteRight::Stale,
            (false, Some(_), _) => VoteRight::Left,
            (false, None, Some(_)) => VoteRight::Blind,
            (false, None, None) => VoteRight::Votes,
        }
    }
}

/// One vantage's ballot on the check in question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voter<'a> {
    pub(crate) vantage: &'a VantageBallots,
    pub(crate) region: RegionId,
    pub(crate) ballot: &'a Ballot,
    pub(crate) right: VoteRight,
}

impl Voter<'_> {
    fn has_verdict(&self) -> bool {
        self.ballot.health != Health::Unknown
    }

    fn votes(&self) -> bool {
        self.right == VoteRight::Votes
    }
}

/// Whether only those who have a vote are counted: one of them has a verdict. Otherwise all are, so that the last
/// verdict stays.
fn is_voted(voters: &[Voter<'_>]) -> bool {
    voters.iter().any(|voter| voter.votes() && voter.has_verdict())
}

/// The voters that are counted.
fn counted<'v, 'a>(voters: &'v [Voter<'a>]) -> impl Iterator<Item = &'v Voter<'a>> {
    let is_voted = is_voted(voters);
    voters.iter().filter(move |voter| voter.votes() || !is_voted)
}

fn count<'q>(quorum: &'q Quorum, voters: &[Voter<'_>]) -> VoteCount<'q> {
    VoteCount::of(quorum, counted(voters).map(|voter| (voter.region, voter.ballot.health)))
}

/// What is agreed on a check. With `is_regional` also from which regions it is out of reach.
pub(crate) fn agree_on(quorum: &Quorum, voters: &[Voter<'_>], is_regional: bool) -> CheckView {
    let count = count(quorum, voters);
    let health = count.health();
    let basis = basis(voters);
    let is_regional = is_regional && basis == Basis::Votes;
    let turn = |voter: &Voter<'_>| PossibleTurn {
        region: voter.region,
        health: voter.ballot.health,
        may_change_in: voter.ballot.may_change_in(),
    };
    CheckView {
        health,
        tried: counted(voters).any(|voter| voter.ballot.tried),
        basis,
        may_change_in: Some(count.may_change_in(counted(voters).map(turn).collect(), is_regional)),
        rtts: rtts(voters),
        unreachable_from: if is_regional { count.unreachable_from() } else { Arc::default() },
        cause: counted(voters).find_map(|voter| cause(voter, health)),
    }
}

/// Whether what is agreed on would be another thing without the votes of `leaving`.
pub(crate) fn rests_on(leaving: &Vantage, quorum: &Quorum, voters: &[Voter<'_>], is_regional: bool) -> bool {
    let is_leaving = |voter: &Voter<'_>| voter.vantage.vantage.name == leaving.name;
    let mut voting = voters.iter().filter(|voter| voter.votes() && voter.has_verdict());
    let Some(first) = voting.next() else { return false };
    if voting.clone().count() > 0 && voting.all(|voter| voter.ballot.health == first.ballot.health) {
        // Those that remain agree too.
        return false;
    }
    let outcome = |voters: &[Voter<'_>]| {
        let (count, basis) = (count(quorum, voters), basis(voters));
        let regions = if is_regional && basis == Basis::Votes { count.unreachable_from() } else { Arc::default() };
        (count.health(), basis, regions)
    };
    let others: Vec<Voter<'_>> = voters.iter().filter(|voter| !is_leaving(voter)).copied().collect();
    voters.iter().any(|voter| is_leaving(voter) && voter.votes()) && outcome(voters) != outcome(&others)
}

/// What the verdict rests on.
fn basis(voters: &[Voter<'_>]) -> Basis {
    let with_verdict = || voters.iter().filter(|voter| voter.has_verdict());
    if is_voted(voters) || with_verdict().next().is_none() {
        return Basis::Votes;
    }
    match with_verdict().all(|voter| voter.right == VoteRight::Stale) {
        true => Basis::Static,
        false => Basis::LastVerdicts,
    }
}

/// The reason of a verdict other than Up, and the vantage that reports it.
fn cause(voter: &Voter<'_>, verdict: Health) -> Option<(Arc<str>, Arc<str>)> {
    let ballot = voter.ballot;
    let is_of_verdict = verdict != Health::Up && ballot.health == verdict;
    Some((ballot.why.clone().filter(|_| is_of_verdict)?, voter.vantage.vantage.name.clone()))
}

/// A round-trip time of one vantage. In order: by region, those of vantages that are counted first, by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct MeasuredRtt {
    region: RegionId,
    /// Whether it counts only if the region has no other one: its vantage is blind, or has left.
    is_second: bool,
    rtt: Duration,
}

impl MeasuredRtt {
    /// That of a voter, unless it is not counted because it is stale.
    fn of(voter: &Voter<'_>, is_voted: bool) -> Option<MeasuredRtt> {
        let is_second = match voter.right {
            VoteRight::Votes => false,
            VoteRight::Blind | VoteRight::Left => is_voted,
            VoteRight::Stale if is_voted => return None,
            VoteRight::Stale => false,
        };
        Some(MeasuredRtt { region: voter.region, is_second, rtt: voter.ballot.rtt()? })
    }
}

/// The round-trip time of each region with vantages that measured one, in the order of the regions.
fn rtts(voters: &[Voter<'_>]) -> Vec<(RegionId, Duration)> {
    let is_voted = is_voted(voters);
    let mut measured: Vec<MeasuredRtt> = voters.iter().filter_map(|voter| MeasuredRtt::of(voter, is_voted)).collect();
    measured.sort_unstable();
    let of_region = |all: &[MeasuredRtt]| Some((all.first()?.region, median(all)));
    measured.chunk_by(|one, other| one.region == other.region).filter_map(of_region).collect()
}

/// The median round-trip time of a region, where one of its voters measured one. `view` has the verdict.
pub(crate) fn rtt_from<'a>(of_region: impl Iterator<Item = Voter<'a>>, view: &CheckView) -> Option<Duration> {
    // As in `is_voted`.
    let is_voted = view.health != Health::Unknown && view.basis == Basis::Votes;
    let mut measured: Vec<MeasuredRtt> = of_region.filter_map(|voter| MeasuredRtt::of(&voter, is_voted)).collect();
    measured.sort_unstable();
    (!measured.is_empty()).then(|| median(&measured))
}

/// Of the times of a region in order, without those of vantages that are blind or have left if there are others: the
/// one in the middle, or the mean of the two there. In a region of three vantages or more, one that lies can't move it
/// past the times of the others.
fn median(sorted: &[MeasuredRtt]) -> Duration {
    let counted = sorted.partition_point(|measured| !measured.is_second);
    let used = if counted > 0 { &sorted[..counted] } else { sorted };
    let at = |index: usize| used.get(index).map_or(Duration::ZERO, |measured| measured.rtt);
    let upper = used.len() / 2;
    if used.len() % 2 == 1 { at(upper) } else { (at(upper.saturating_sub(1)) + at(upper)) / 2 }
}

/// What each vantage reports of a check, with the reason where another verdict was agreed on, or it is not counted.
pub(crate) fn evidence(model: &Model, quorum: &Quorum, voters: &[Voter<'_>], now: Moment) -> Vec<Evidence> {
    let (is_voted, count) = (is_voted(voters), count(quorum, voters));
    let is_counted = |voter: &Voter<'_>| voter.votes() || !is_voted;
    let reason = |voter: &Voter<'_>| match is_counted(voter) {
        true => count.outvoted(model, voter.region, voter.ballot.health),
        false => Some(not_counted(voter, now)),
    };
    voters.iter().map(|voter| evidence_of(voter, is_counted(voter), reason(voter))).collect()
}

/// Why a voter is not counted, for one that isn't.
fn not_counted(voter: &Voter<'_>, now: Moment) -> String {
    if voter.right == VoteRight::Left {
        return "not counted: this vantage has stopped".to_owned();
    }
    match voter.vantage.blind {
        Some(_) => "not counted: this vantage is blind".to_owned(),
        None => format!("not counted: reported {} s ago", now.since(voter.vantage.received_at).as_secs()),
    }
}

/// `reason` is why the verdict is another one, or isn't counted.
fn evidence_of(voter: &Voter<'_>, is_counted: bool, reason: Option<String>) -> Evidence {
    let ballot = voter.ballot;
    let why = match (&ballot.why, reason) {
        (Some(why), Some(reason)) => Some(format!("{why} ({reason})").into()),
        (None, Some(reason)) => Some(reason.into()),
        (why, None) => why.clone(),
    };
    Evidence {
        vantage: voter.vantage.vantage.name.clone(),
        region: voter.region,
        health: ballot.health,
        rtt: ballot.rtt(),
        probed_at: ballot.probed_at,
        why,
        hold: ballot.hold,
        doubt: ballot.doubt,
        is_counted,
    }
}

#[cfg(test)]
mod tests;
