//! A generation that is compiled while an older one is served is, once published, that of a compilation at that moment:
//! no view, override or failback that came meanwhile is lost.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{model, view};
use crate::model::{EndpointId, MemberRef, Model, Moment, Override, OverrideState, PolicyId, RegionId, WorldView};
use crate::snapshot::{ComingSnapshot, Publisher, Snapshot, Transition};
use crate::steering::{Decision, StageName, Standing};

const ENDPOINTS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The files before the reload, and after it: another order, other members, weights and times, a name more and a name
/// less, and names that share a policy before and no longer after.
fn generations() -> [Arc<Model>; 2] {
    let before = r#"
        endpoint.a = { addresses = ["192.0.2.11"], monitor = "m", ramp = "190s" }
        endpoint.b = { addresses = ["192.0.2.12"], monitor = "m" }
        endpoint.c = { addresses = ["192.0.2.13"], monitor = "m" }
        endpoint.d = { addresses = ["192.0.2.14"], monitor = "m" }
        endpoint.e = { cname = "e.example.", monitor = "m", probe = "192.0.2.15" }
        pool.manual = { members = ["a", "b", "c"], steer = "failover" }
        pool.timed = { members = ["b", "c", "d"], steer = "failover" }
        pool.fast = { members = ["a", "c", "d"], steer = "latency", band = { ms = 20, pct = 10 } }
        pool.both = { members = ["a", "b"] }
        pool.nested = { members = ["timed", "manual"], steer = "failover" }
        pool.mixed = { members = ["d", "e"], steer = "failover" }
        name.manual = { pool = "manual", failback = "manual" }
        name.again = { pool = "manual", failback = "manual" }
        name.timed = { pool = "timed", failback = "30s" }
        name.fast = { pool = "fast" }
        name.all = { pool = "both", on_empty = ["last_good", "nodata"] }
        name.nested = { pool = "nested", failback = "1m", on_empty = "both" }
        name.mixed = { pool = "mixed", failback = "manual" }
        name.gone = { pool = "both" }
    "#;
    let after = r#"
        endpoint.new = { addresses = ["192.0.2.16"], monitor = "m" }
        endpoint.d = { addresses = ["192.0.2.14"], monitor = "m" }
        endpoint.c = { addresses = ["192.0.2.13"], monitor = "m" }
        endpoint.b = { addresses = ["192.0.2.12"], monitor = "m", weight = 3 }
        endpoint.a = { addresses = ["192.0.2.11"], monitor = "m", ramp = "190s" }
        endpoint.e = { cname = "e.example.", monitor = "m", probe = "192.0.2.15" }
        pool.more = { members = ["new", "a", "b"] }
        pool.manual = { members = ["a", "b", "c"], steer = "failover" }
        pool.timed = { members = ["new", "b", "c", "d"], steer = "failover" }
        pool.fast = { members = ["d", "c", "a"], steer = "latency", band = { ms = 20, pct = 10 } }
        pool.both = { members = ["b", "a"] }
        pool.nested = { members = ["timed", "manual"], steer = "failover" }
        pool.mixed = { members = ["d", "e"], steer = "failover" }
        name.more = { pool = "more" }
        name.mixed = { pool = "mixed", failback = "manual" }
        name.nested = { pool = "nested", failback = "1m", on_empty = "both" }
        name.all = { pool = "both", on_empty = ["last_good", "nodata"] }
        name.fast = { pool = "fast" }
        name.timed = { pool = "timed", failback = "20s" }
        name.again = { pool = "manual", failback = "10s" }
        name.manual = { pool = "manual", failback = "manual" }
    "#;
    [model(before), model(after)]
}

/// What happens next, a number of milliseconds later.
#[derive(Debug, Clone)]
enum Happening {
    /// Endpoints are down or have an RTT.
    Seen { down: u8, rtts: [u8; 5] },
    /// An operator overrides an endpoint, or ends its override.
    Overridden { endpoint: u8, state: Option<OverrideState>, ends_in: u8 },
    /// An operator returns a name to its first member.
    FailedBack { policy: u8 },
    /// The other thread catches up, before the publisher does.
    CaughtUp,
}

fn happening() -> impl Strategy<Value = (u64, Happening)> {
    let state = prop_oneof![
        Just(None),
        Just(Some(OverrideState::Drain)),
        Just(Some(OverrideState::Up)),
        Just(Some(OverrideState::Down))
    ];
    let happening = prop_oneof![
        6 => (any::<u8>(), any::<[u8; 5]>()).prop_map(|(down, rtts)| Happening::Seen { down, rtts }),
        2 => (0_u8..5, state, 1_u8..60)
            .prop_map(|(endpoint, state, ends_in)| Happening::Overridden { endpoint, state, ends_in }),
        1 => (0_u8..9).prop_map(|policy| Happening::FailedBack { policy }),
        2 => Just(Happening::CaughtUp),
    ];
    (prop_oneof![Just(0_u64), 1_u64..40_000], happening)
}

/// The world that the views of both generations show.
#[derive(Clone, Default)]
struct SeenWorld {
    millis: u64,
    down: u8,
    rtts: [u8; 5],
    overrides: Vec<Arc<Override>>,
}

impl SeenWorld {
    fn now(&self) -> Moment {
        Moment::from_start(Duration::from_millis(self.millis))
    }

    fn view(&self, model: &Model) -> WorldView {
        let is_down = |at: &usize| self.down & (1 << at) != 0;
        let down: Vec<&str> = (0..ENDPOINTS.len()).filter(is_down).map(|at| ENDPOINTS[at]).collect();
        let mut view = view(model, &down);
        for (name, rtt) in ENDPOINTS.iter().zip(self.rtts) {
            let endpoint = model.endpoints.iter().find(|endpoint| endpoint.name == *name);
            let checks = endpoint.into_iter().flat_map(|endpoint| endpoint.answerables.iter().filter_map(|a| a.check));
            for check in checks {
                view.checks[check.0 as usize].rtts = vec![(RegionId(0), Duration::from_millis(rtt.into()))];
            }
        }
        let unix = self.millis as f64 / 1000.0;
        let in_force = self.overrides.iter().filter(|of| of.until.is_none_or(|until| until > unix));
        let id = |of: &Override| model.endpoints.iter().position(|endpoint| endpoint.name == of.target);
        let overrides = in_force.filter_map(|of| Some((EndpointId(id(of)? as u32), of.clone())));
        WorldView { at: self.now(), at_unix: Some(unix), overrides: Arc::new(overrides.collect()), ..view }
    }

    fn apply(&mut self, happening: &Happening) {
        match happening {
            Happening::Seen { down, rtts } => (self.down, self.rtts) = (*down, *rtts),
            Happening::Overridden { endpoint, state, ends_in } => {
                let target = ENDPOINTS[usize::from(*endpoint)];
                self.overrides.retain(|of| of.target != target);
                let until = (ends_in % 2 == 0).then(|| self.millis as f64 / 1000.0 + f64::from(*ends_in));
                self.overrides.extend(state.map(|state| {
                    Arc::new(Override {
                        target: target.into(),
                        state,
                        why: "w".into(),
                        who: "ann".into(),
                        until,
                        zones: None,
                    })
                }));
            }
            Happening::FailedBack { .. } | Happening::CaughtUp => {}
        }
    }
}

/// Publishes what happened.
fn publish(publisher: &mut Publisher, world: &SeenWorld, happening: &Happening) -> Vec<Transition> {
    let model = publisher.snapshots().load().model.clone();
    match happening {
        Happening::FailedBack { policy } if usize::from(*policy) < model.policies.len() => {
            let next = publisher.preview_failback(world.view(&model), PolicyId((*policy).into()));
            publisher.publish_preview(next, 0.0)
        }
        Happening::FailedBack { .. } | Happening::Seen { .. } | Happening::Overridden { .. } | Happening::CaughtUp => {
            publisher.observe(world.view(&model), 0.0)
        }
    }
}

/// The decisions without the times of challengers that are new since `start`, and without the words about the TTL: they
/// may mention a change that is a fraction of a second beyond the longest TTL, or not.
fn settled(snapshot: &Snapshot, start: Moment) -> Vec<Decision> {
    let without_time = |decision: &Decision| {
        let mut decision = decision.clone();
        decision.standings.iter_mut().for_each(|standing| settle(standing, start));
        decision.stages.iter_mut().filter(|stage| stage.name == StageName::Ttl).for_each(|stage| stage.note = None);
        decision
    };
    snapshot.decisions().map(without_time).collect()
}

/// Members that are new since `start` wait from then on. Which of them is the challenger is a matter of milliseconds.
fn settle(standing: &mut Standing, start: Moment) {
    standing.waiting.iter_mut().for_each(|waiting| waiting.since = waiting.since.min(start));
    let Some(challenger) = standing.challenger.as_mut().filter(|challenger| challenger.since >= start) else { return };
    (challenger.since, challenger.due) = (start, challenger.due.map(|_| start));
    if let [member] = &mut challenger.members[..] {
        let id = |member: MemberRef| (member.pool(), member.endpoint());
        for waiting in &mut standing.waiting {
            if id(waiting.member) < id(*member) {
                std::mem::swap(&mut waiting.member, member);
            }
        }
        standing.waiting.sort_by_key(|waiting| id(waiting.member));
    }
}

fn begun(before: &Arc<Model>, world: &SeenWorld) -> Publisher {
    let unmeasured = super::compile(before.clone(), Arc::new(world.view(before)), Arc::default(), 1, None);
    let mut publisher = Publisher::new(unmeasured);
    publisher.begin(world.view(before), &Default::default());
    publisher
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_came_during_the_compilation_is_not_lost(
        early in prop::collection::vec(happening(), 0..8),
        meanwhile in prop::collection::vec(happening(), 0..8),
        last in happening(),
        later in prop::collection::vec(happening(), 0..4),
    ) {
        let [before, after] = generations();
        let mut world = SeenWorld { millis: 1_000, ..SeenWorld::default() };
        let (mut slow, mut at_once) = (begun(&before, &world), begun(&before, &world));
        let happen = |publishers: [&mut Publisher; 2], world: &mut SeenWorld, (later, what): &(u64, Happening)| {
            world.millis += later;
            world.apply(what);
            publishers.map(|publisher| publish(publisher, world, what))
        };
        for event in &early {
            happen([&mut slow, &mut at_once], &mut world, event);
        }
        let start = world.now();
        let served = slow.snapshots().load_full();
        let mut coming = ComingSnapshot::compile(served, after.clone(), world.view(&after), Arc::default());
        for event in &meanwhile {
            happen([&mut slow, &mut at_once], &mut world, event);
            if matches!(event.1, Happening::CaughtUp) {
                coming.catch_up(&slow.snapshots().load_full(), world.view(&after));
            }
        }
        world.millis += last.0;
        world.apply(&last.1);
        let reported = slow.publish_coming(coming, world.view(&after), 0.0);
        let expected = at_once.adopt(after.clone(), world.view(&after), Arc::default(), 0.0);
        prop_assert_eq!(&reported, &expected, "each transition is reported once");
        for (at, event) in std::iter::once(None).chain(later.iter().map(Some)).enumerate() {
            if let Some(event) = event {
                let [one, other] = happen([&mut slow, &mut at_once], &mut world, event);
                prop_assert_eq!(one, other);
            }
            let (one, other) = (slow.snapshots().load_full(), at_once.snapshots().load_full());
            prop_assert_eq!((one.generation, &one.view.overrides), (2, &other.view.overrides));
            prop_assert_eq!(format!("{:?}", one.view.checks), format!("{:?}", other.view.checks));
            if at == 0 {
                prop_assert_eq!(settled(&one, start), settled(&other, start));
                let standings = |of: &Snapshot| {
                    let mut standings = of.standings_by_name();
                    for standing in &mut standings {
                        standing.waiting.iter_mut().for_each(|(_, since)| *since = (*since).min(start));
                        standing.waiting.sort_by(|one, other| (one.1, &one.0).cmp(&(other.1, &other.0)));
                    }
                    standings
                };
                prop_assert_eq!(standings(&one), standings(&other));
                let resisting = |of: &Snapshot| -> Vec<bool> {
                    (0..after.policies.len() as u32).map(|policy| of.resisting.has(PolicyId(policy))).collect()
                };
                prop_assert_eq!(resisting(&one), resisting(&other));
                prop_assert_eq!(one.tallies.len(), other.tallies.len());
            }
        }
    }
}
