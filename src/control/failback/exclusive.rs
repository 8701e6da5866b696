//! The failback of an exclusive name: an order to the task of the leases, which promotes through the store and the
//! hook.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::control::command::LeaseOrder;
use crate::control::failback::{FailbackError, FailbackResponse, PoolMove, PoolStay};
use crate::control::moved::moved;
use crate::control::request::{ErrorResponse, stopping};
use crate::control::state::ApiState;
use crate::model::{ActiveEndpoint, LeaseView, MemberRef, SteeredName};
use crate::snapshot::Snapshot;
use crate::steering::active_member;

/// How long the response waits until this server answers with the new endpoint. It knows the endpoint already.
const SERVED_WITHIN: Duration = Duration::from_secs(2);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Executes the order for `name`, a name of `before`.
pub(super) async fn hand_back(
    state: &ApiState,
    before: Arc<Snapshot>,
    name: &SteeredName,
    who: Arc<str>,
) -> Result<Result<FailbackResponse, FailbackError>, ErrorResponse> {
    let stays = |why: String| Ok(Err(FailbackError::Stays(format!("`{}` stays: {why}", name.owner))));
    let Some(orders) = &state.controls.leases else {
        return stays("this server was started without `[fleet]`, so restart it".to_owned());
    };
    let (reply, done) = oneshot::channel();
    let order = LeaseOrder { owner: name.owner.clone(), who, reply };
    orders.send(order).await.map_err(|_| stopping())?;
    let active = match done.await.map_err(|_| stopping())? {
        Ok(active) => active,
        Err(why) => return stays(why),
    };
    let after = served(state, name, &active).await;
    let (name, owner) = (name.clone(), name.owner.to_string());
    let report = state.costly.spawn(move || report(&before, &after, &name, owner, active));
    Ok(Ok(report.await.map_err(|_| stopping())?))
}

/// The snapshot that answers with `active`, or with a later promotion; the present one if that takes too long.
async fn served(state: &ApiState, name: &SteeredName, active: &ActiveEndpoint) -> Arc<Snapshot> {
    let has_come = |lease: &LeaseView| lease.active.as_ref().is_some_and(|now| now.epoch >= active.epoch);
    let looking = async {
        loop {
            let snapshot = state.snapshots.load_full();
            if snapshot.view.leases.get(&name.owner).is_some_and(has_come) {
                return snapshot;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(SERVED_WITHIN, looking).await.unwrap_or_else(|_| state.snapshots.load_full())
}

fn report(
    before: &Snapshot,
    after: &Snapshot,
    name: &SteeredName,
    owner: String,
    active: ActiveEndpoint,
) -> FailbackResponse {
    let policy = before.model.policy(name.policy);
    let pool = match policy.root {
        MemberRef::Pool(pool) => before.model.pool(pool).name.clone(),
        MemberRef::Endpoint(_) => String::new(),
    };
    let from = active_member(&before.model, policy, &before.view).and_then(|of| of.endpoint);
    let from = from.as_deref().unwrap_or_default().to_owned();
    let to = active.endpoint.to_string();
    let (handed_back, stays) = match from == to {
        true => (Vec::new(), vec![PoolStay { pool, member: to }]),
        false => (vec![PoolMove { pool, from, to }], Vec::new()),
    };
    FailbackResponse {
        name: owner,
        handed_back,
        stays,
        also: Vec::new(),
        moved: moved(before, after),
        on_disk: true,
        warning: None,
        epoch: Some(active.epoch),
    }
}
