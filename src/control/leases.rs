//! The leases of exclusive names in the JSON of the API, from what is served.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{SteeredName, Zone};
use crate::snapshot::Snapshot;
use crate::steering::{ActiveMember, active_member};

/// The lease of one exclusive name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaseReport {
    /// The name, as the policy file writes it.
    pub name: String,
    /// The active endpoint. Without an epoch it is the first member. It is empty while it is not known: this server has
    /// no lease in its state directory, and has not read the store yet. Then the name has no answer.
    pub endpoint: String,
    /// The number of its promotion; absent if this server never knew the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The node that holds the lease; absent if the store of leases is away or nobody can write to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Whether this server holds it.
    pub is_holder: bool,
    /// The endpoint that is being promoted; absent if none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoting: Option<String>,
}

/// The leases of the exclusive names of a zone.
pub(crate) fn leases(snapshot: &Snapshot, zone: &Zone) -> Vec<LeaseReport> {
    zone.steered.iter().filter_map(|name| lease(snapshot, name)).collect()
}

/// The lease of a name; `None` if it is not exclusive.
fn lease(snapshot: &Snapshot, name: &SteeredName) -> Option<LeaseReport> {
    let (model, view) = (&snapshot.model, &snapshot.view);
    let ActiveMember { endpoint, epoch, id: _ } = active_member(model, model.policy(name.policy), view)?;
    let lease = view.leases.get(&name.owner);
    Some(LeaseReport {
        name: name.label.clone(),
        endpoint: endpoint.as_deref().unwrap_or_default().to_owned(),
        epoch,
        holder: lease.and_then(|lease| Some(lease.holder.as_ref()?.to_string())),
        is_holder: lease.is_some_and(|lease| lease.is_holder),
        promoting: lease.and_then(|lease| Some(lease.promoting.as_ref()?.to_string())),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::control::moved::{ExpectedPromotion, moved};
    use crate::control::simulate::promoted;
    use crate::control::test_world::{model, snapshot, view};
    use crate::model::{
        ActiveEndpoint, EndpointId, Exclusive, Facet, Failback, Health, LeaseView, Member, MemberRef, Model, Override,
        OverrideState, Policy, PolicyId, Pool, PoolId, Steering, VantageState, VantageView, WorldView, ZoneId,
    };
    use crate::snapshot::LocalClass;
    use crate::snapshot::compile::refresh;
    use crate::snapshot::names::LookupResult;
    use crate::steering::{AnswerSource, Note, PromotionBlock, after_promotions, promotion_block};
    use crate::wire::{Name, NameBuf};

    /// `www` is exclusive, with the members fra1 and plain.
    fn exclusive() -> Model {
        let mut model = model();
        let owner = model.zones[0].steered[0].owner.clone();
        let epoch_owner = Name::parse("_epoch.www.svc.example.").unwrap();
        let ids = [EndpointId(0), EndpointId(2)];
        let members = ids.map(|id| Member::new(MemberRef::Endpoint(id), 1)).to_vec();
        model.pools.push(Pool::new("db", Steering::Failover, members));
        let pool = MemberRef::Pool(PoolId(0));
        model.policies[0] = Policy {
            exclusive: Some(Exclusive { owner, epoch_owner, failback: Failback::Manual }),
            ..Policy::new(ZoneId(0), pool, ids.to_vec(), vec![Facet::V4])
        };
        model
    }

    /// The view with a lease of `www`.
    fn leased(model: &Model, endpoint: &str, epoch: u64) -> WorldView {
        let lease = LeaseView {
            active: Some(ActiveEndpoint { endpoint: endpoint.into(), epoch, highest: epoch }),
            holder: Some("ns2".into()),
            is_holder: false,
            promoting: None,
        };
        let owner = model.zones[0].steered[0].owner.clone();
        WorldView { leases: Arc::new([(owner, lease)].into()), ..view() }
    }

    /// What is answered, whether it is marked as stale, and the texts of the record with the epoch.
    fn served(snapshot: &Snapshot) -> (Vec<String>, bool, Vec<String>) {
        let decision = snapshot.cell(PolicyId(0), LocalClass(0), Facet::V4).unwrap().decision();
        let given = decision.given_first(&snapshot.model).unwrap_or_default();
        let names = given.iter().map(|id| snapshot.model.endpoint(*id).name.clone()).collect();
        let owner = Name::parse("_epoch.www.svc.example.").unwrap();
        let found = snapshot.zones.find(&NameBuf::parse(owner.as_wire()).unwrap(), false);
        let LookupResult::Exact(node) = found else { panic!("{found:?}") };
        let texts =
            node.rrsets().flat_map(|rrset| rrset.rdatas()).map(|rdata| String::from_utf8_lossy(&rdata[1..]).into());
        (names, decision.stale, texts.collect())
    }

    #[test]
    fn the_lease_decides_and_the_record_has_its_epoch() {
        let text = |text: &str| vec![text.to_owned()];
        let first = snapshot(exclusive());
        assert_eq!(served(&first), (text("fra1"), false, vec![]), "no lease: the first member, and no epoch");
        let report = leases(&first, &first.model.zones[0]);
        assert_eq!((report[0].endpoint.as_str(), report[0].epoch, &report[0].holder), ("fra1", None, &None));

        let moved = refresh(&first, Arc::new(leased(&first.model, "plain", 7)));
        assert_eq!(served(&moved), (text("plain"), false, text("epoch=7 endpoint=plain")), "although fra1 is up");
        let report = leases(&moved, &moved.model.zones[0]);
        assert_eq!((report[0].epoch, report[0].holder.as_deref()), (Some(7), Some("ns2")));

        let long = "x".repeat(255);
        let unknown = refresh(&moved, Arc::new(leased(&first.model, &long, 8)));
        let (names, _, texts) = served(&unknown);
        assert_eq!(names, Vec::<String>::new(), "another endpoint would be a second master");
        assert!(texts[0].starts_with("epoch=8 endpoint=xxx") && texts[0].len() > 255, "in two strings: {texts:?}");

        let back = refresh(&unknown, Arc::new(leased(&first.model, "fra1", 9)));
        assert_eq!(served(&back), (text("fra1"), false, text("epoch=9 endpoint=fra1")));
        assert_eq!(served(&refresh(&back, Arc::new(view()))), (text("fra1"), false, vec![]), "forgotten");
    }

    #[test]
    fn while_nobody_knows_which_endpoint_is_active_none_is_answered() {
        let first = snapshot(exclusive());
        let mut view = leased(&first.model, "plain", 7);
        let owner = first.model.zones[0].steered[0].owner.clone();
        Arc::make_mut(&mut view.leases).get_mut(&owner).unwrap().active = None;
        let unknown = refresh(&first, Arc::new(view));
        let (names, stale, texts) = served(&unknown);
        assert_eq!((names, stale, texts), (vec![], false, vec![]), "another server may answer with another one");
        let decision = unknown.cell(PolicyId(0), LocalClass(0), Facet::V4).unwrap().decision();
        assert_eq!(decision.ttl, 5, "ttl.min: it is known soon");
        assert_eq!(leases(&unknown, &unknown.model.zones[0])[0].endpoint, "");
        let block = promotion_block(&unknown.model, &unknown.model.policies[0], &unknown.view);
        assert_eq!(block, Some(PromotionBlock::ActiveUnknown));
        let known = refresh(&unknown, Arc::new(leased(&first.model, "plain", 7)));
        assert_eq!(served(&known).0, ["plain"]);
    }

    #[test]
    fn a_simulation_expects_a_promotion_where_the_active_endpoint_is_out() {
        let model = exclusive();
        let mut view = leased(&model, "fra1", 3);
        assert_eq!(after_promotions(&model, &view), view.leases, "nothing is out");
        view.checks[0].health = Health::Down;
        let owner = &model.zones[0].steered[0].owner;
        let after = after_promotions(&model, &view);
        let promoted = after[owner].active.as_ref().unwrap();
        assert_eq!((&*promoted.endpoint, promoted.epoch), ("plain", 4));
        let block = |view: &WorldView| promotion_block(&model, &model.policies[0], view);
        assert_eq!(block(&view), None);

        let mut silent = view.clone();
        silent.vantages.push(VantageView { state: VantageState::Stale, ..view.vantages[0].clone() });
        assert_eq!(block(&silent), Some(PromotionBlock::TooFewVotes { votes: 1, known: 2 }));
        assert_eq!(after_promotions(&model, &silent), silent.leases, "half of the vantages must not promote");

        let lease = Arc::make_mut(&mut view.leases).get_mut(owner).unwrap();
        lease.holder = None;
        assert_eq!(block(&view), Some(PromotionBlock::NoStore));
        assert_eq!(after_promotions(&model, &view), view.leases, "nobody can write the lease, so nobody promotes");
    }

    #[test]
    fn a_type_that_the_active_endpoint_has_not_is_an_empty_answer_and_no_fault() {
        let mut model = exclusive();
        model.policies[0].facets = vec![Facet::V4, Facet::V6];
        let ids = &model.policies[0].endpoints;
        let has = |id: EndpointId, facet| model.endpoint(id).answerables.iter().any(|side| side.facet == facet);
        assert_eq!(ids.iter().map(|id| has(*id, Facet::V6)).collect::<Vec<_>>(), [true, false], "fra1 and plain");
        let first = snapshot(model);
        let moved = refresh(&first, Arc::new(leased(&first.model, "plain", 7)));
        let decision = moved.cell(PolicyId(0), LocalClass(0), Facet::V6).unwrap().decision();
        assert_eq!((&decision.source, decision.stale), (&AnswerSource::Nodata, false));
        assert!(!decision.is_on_empty(), "{:?}", decision.stages);
        assert!(decision.stages.iter().any(|stage| stage.note == Some(Note::ActiveHasNone)), "{:?}", decision.stages);
    }

    #[test]
    fn what_takes_the_active_endpoint_out_is_compared_with_the_promotion_that_follows() {
        let first = snapshot(exclusive());
        let served = refresh(&first, Arc::new(leased(&first.model, "fra1", 3)));
        assert!(promoted(&served).is_none(), "nothing is out");
        let mut view = leased(&first.model, "fra1", 3);
        let entry = Override {
            target: "fra1".into(),
            state: OverrideState::Drain,
            why: "x".into(),
            who: "alice".into(),
            until: None,
            zones: None,
        };
        view.overrides = Arc::new([(EndpointId(0), Arc::new(entry))].into());
        let drained = promoted(&refresh(&served, Arc::new(view))).unwrap();
        let moved = moved(&served, &drained);
        let to = ExpectedPromotion { name: "www.svc.example.".into(), to: "plain".into() };
        assert_eq!((moved.share, moved.still, moved.promotions), (1.0, vec![], vec![to]));
    }

    #[test]
    fn an_active_endpoint_that_is_down_is_answered_as_stale() {
        let first = snapshot(exclusive());
        let mut view = leased(&first.model, "fra1", 3);
        view.checks.iter_mut().for_each(|check| check.health = Health::Down);
        let (names, is_stale, texts) = served(&refresh(&first, Arc::new(view)));
        assert_eq!((names, is_stale), (vec!["fra1".to_owned()], true), "plain is up, and not the master");
        assert_eq!(texts, ["epoch=3 endpoint=fra1"]);
    }
}
