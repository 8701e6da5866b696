//! A node of the fleet: a vantage; the first ones are servers too. It runs the code of the real ones with a clock of
//! its own.

use std::sync::Arc;
use std::time::Duration;

use portolan::fleet::lease::{HookResult, LEASE_DURATION, LeaseMachine, LeaseSettings, StoredLease, WriteResult};
use portolan::fleet::lease::{LeaseSituation, MemberState, MemberVerdict};
use portolan::fleet::message::ReportMessage;
use portolan::fleet::{Agreement, Ask, CheckHash, Collector, Extent, Report, Vantage, VantageReporter};
use portolan::health::Observation;
use portolan::model::{ActiveEndpoint, Basis, CheckKey, Doubt, Failback, Health, Model, Moment, WorldView};

use crate::bug::Bug;

/// The longest time of a hook.
pub(crate) const HOOK_TIMEOUT: Duration = Duration::from_secs(8);

/// What arrives at a node.
#[derive(Debug, Clone)]
pub(crate) enum Arrival {
    /// A report.
    Report {
        /// The number of the node that sent it.
        from: usize,
        /// Its process.
        process: u64,
        /// What that node's clock showed then.
        clock: Moment,
        /// The step at which it was sent.
        step: u64,
        octets: Arc<[u8]>,
    },
    Ask(Ask),
    Watched(u64, StoredLease),
    ReadDone(u64, StoredLease),
    Written(u64, WriteResult),
    HookEnded(u64, HookResult),
}

/// A clock that began at another time, and runs a little faster or slower than the true time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) offset: Duration,
    /// In millionths of the right speed.
    pub(crate) speed: u32,
}

impl Clock {
    /// What it shows so long after the simulation began.
    pub(crate) fn at(&self, true_time: Duration) -> Moment {
        let nanos = true_time.as_nanos() * u128::from(self.speed) / 1_000_000;
        Moment::from_start(self.offset + Duration::from_nanos(nanos as u64))
    }
}

pub(crate) struct Node {
    pub(crate) vantage: Vantage,
    pub(crate) region: usize,
    pub(crate) clock: Clock,
    /// The number of the process.
    pub(crate) instance: u64,
    pub(crate) reporter: VantageReporter,
    pub(crate) server: Option<Server>,
    /// Steps until which it is cut off from NATS, stands still, is dead, or can't probe anything.
    pub(crate) cut_until: u64,
    pub(crate) paused_until: u64,
    pub(crate) dead_until: u64,
    pub(crate) blind_until: u64,
    /// What it observed last while it was not blind, by check.
    pub(crate) seen: Vec<Health>,
    /// The last step at which it probed.
    pub(crate) probed_at: Option<u64>,
    /// The last step at which it was blind.
    pub(crate) blind_at: Option<u64>,
    /// The step at which its process started.
    pub(crate) started_at: u64,
    pub(crate) inbox: Vec<Arrival>,
    /// For each check and health (Up, Down): the last step at which it believed so, and was not blind.
    pub(crate) believed: Vec<[Option<u64>; 2]>,
}

pub(crate) struct Server {
    pub(crate) collector: Collector,
    pub(crate) agreement: Agreement,
    plan: Vec<(CheckHash, Arc<CheckKey>)>,
    pub(crate) lease: LeaseMachine,
    /// Whether the watch of the store is live.
    pub(crate) is_live: bool,
    pub(crate) view: WorldView,
    /// The last message of each node that was accepted: the steps at which it arrived and was sent.
    pub(crate) accepted: Vec<Option<(u64, u64)>>,
    /// Whether each node has stopped in order, as far as this server knows.
    pub(crate) ended: Vec<bool>,
    /// What its answers have: see [`Bug::ServeOldRevision`].
    pub(crate) served: Option<ActiveEndpoint>,
    /// The highest epoch that it served.
    pub(crate) highest: u64,
    /// What its disk has.
    pub(crate) disk: Option<ActiveEndpoint>,
}

/// What a message of a vantage means for its vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Nothing,
    /// It is there, and has no vote that it did not have.
    Behind,
    /// It has one.
    Vote,
    /// It has stopped in order.
    End,
}

impl Server {
    pub(crate) fn new(model: &Model, own: &Node, nodes: usize, disk: Option<ActiveEndpoint>, now: Moment) -> Server {
        let mut collector = Collector::new(vec![(own.vantage.clone(), own.instance)]);
        collector.adopt(plan_of(model), now);
        let settings = LeaseSettings {
            node: own.vantage.name.clone(),
            instance: own.instance,
            duration: LEASE_DURATION,
            hook_timeout: Some(HOOK_TIMEOUT),
        };
        let mut agreement = Agreement::new(model);
        let view = agreement.view(model, now);
        let lease = LeaseMachine::new(settings, disk.clone());
        let (served, accepted) = (disk.clone(), vec![None; nodes]);
        let highest = disk.as_ref().map_or(0, |active| active.epoch);
        Server {
            collector,
            agreement,
            plan: plan_of(model),
            lease,
            is_live: false,
            view,
            accepted,
            ended: vec![false; nodes],
            served,
            highest,
            disk,
        }
    }

    /// Takes in a message of a remote vantage. Returns what it means for the vote of the vantage.
    pub(crate) fn receive(&mut self, bug: Option<Bug>, from: &Vantage, octets: &[u8], now: Moment) -> Taken {
        let received = self.collector.receive(from, octets, now);
        let mut report = match (received, bug) {
            (Ok(Some(report)), _) => report,
            // A collector that knows nothing accepts everything.
            (Err(_), Some(Bug::ApplyOldReport)) => {
                let mut careless = Collector::new(Vec::new());
                careless.adopt(self.plan.clone(), now);
                let Ok(Some(report)) = careless.receive(from, octets, now) else { return Taken::Nothing };
                report
            }
            (Err(_), Some(Bug::ObeyForeignGoodbye)) => {
                if ReportMessage::decode(octets).is_ok_and(|message| message.is_goodbye) {
                    self.agreement.receive(&Report::end(from.clone(), now), now);
                }
                return Taken::Nothing;
            }
            (Ok(None) | Err(_), _) => return Taken::Nothing,
        };
        if bug == Some(Bug::CountBlindVotes) {
            report.blind = None;
        }
        let is_end = report.extent == Extent::End;
        if bug != Some(Bug::TrustOneVantage) && !(is_end && bug == Some(Bug::IgnoreGoodbye)) {
            self.agreement.receive(&report, now);
        }
        match report.extent {
            Extent::End => Taken::End,
            Extent::Behind => Taken::Behind,
            Extent::Whole | Extent::Part => Taken::Vote,
        }
    }

    /// The members of the exclusive name: the first checks of the model, three of them.
    pub(crate) fn situation(&self, members: &[Arc<str>], now: Moment) -> LeaseSituation {
        let member = |(endpoint, check): (&Arc<str>, &portolan::model::CheckView)| {
            let verdict = match (check.health, check.basis) {
                (Health::Up, _) => MemberVerdict::Up,
                (Health::Down, Basis::Votes) => MemberVerdict::Down,
                (Health::Down, Basis::LastVerdicts | Basis::Static) | (Health::Unknown, _) => MemberVerdict::Unsure,
            };
            MemberState { endpoint: endpoint.clone(), verdict }
        };
        let members = members.iter().zip(self.view.checks.iter()).map(member).collect();
        LeaseSituation { at: now, members, failback: Failback::Manual }
    }
}

/// The checks with hashes. The number of a check is spread over all hashes.
pub(crate) fn plan_of(model: &Model) -> Vec<(CheckHash, Arc<CheckKey>)> {
    let hash = |nth: usize| CheckHash((nth as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    model.checks.iter().enumerate().map(|(nth, check)| (hash(nth), check.key.clone())).collect()
}

/// What a prober reports.
pub(crate) fn observation(key: &Arc<CheckKey>, health: Health, rtt: Duration, now: Moment) -> Observation {
    let is_up = health == Health::Up;
    Observation {
        key: key.clone(),
        health,
        tried: true,
        srtt: is_up.then_some(rtt),
        rttvar: None,
        probed_at: Some(now),
        may_change_in: Duration::from_secs(2),
        why: (!is_up).then(|| "no answer within 500 ms".into()),
        hold: None,
        doubt: Doubt::None,
        state: None,
    }
}

/// The report of a node's own vantage.
pub(crate) fn own_report(vantage: &Vantage, now: Moment, seen: Vec<Observation>, blind: Option<Arc<str>>) -> Report {
    Report { blind, ..Report::whole(vantage.clone(), now, seen) }
}
