//! What affinity adds to an explanation: the part of the client's address that the draw uses, and the resulting
//! endpoint.

use super::Client;
use super::client::net;
use crate::model::{Model, Policy, ZoneId};
use crate::placing::ClientNet;
use crate::snapshot::{Cell, Snapshot};

/// The scope of the reply, with the reason: the longer of the scope of the decision, `of_class`, and that of the draw.
pub(super) fn scope(
    snapshot: &Snapshot,
    zone: ZoneId,
    client: Client<'_>,
    cell: Option<&Cell>,
    of_class: (u8, String),
) -> (u8, String) {
    let Some(affinity) = cell.and_then(Cell::affinity) else { return of_class };
    let Client::Address(ip) = client else {
        return (0, "affinity looks at the client's net, and no address was given".to_owned());
    };
    let ecs = snapshot.model.zone(zone).ecs;
    let (own, by_ecs) = (ClientNet::of(affinity, ip, None), ClientNet::of(affinity, ip, Some((ecs.v4, ecs.v6))));
    if !ecs.enabled {
        return (0, "this zone does not use ECS".to_owned());
    }
    if by_ecs.len <= of_class.0 {
        return of_class;
    }
    let why = format!("affinity gives all of {} the same answer", net(ip, by_ecs.len));
    match own.len == by_ecs.len {
        true => (by_ecs.len, why),
        false => (by_ecs.len, format!("{why}: [ecs] cuts its net off there")),
    }
}

/// The client's net, where it decides and an address is given. As in all of an explanation, the client itself sends the
/// query, so there is no ECS.
pub(super) fn net_of(client: Client<'_>, cell: Option<&Cell>) -> Option<ClientNet> {
    let Client::Address(ip) = client else { return None };
    Some(ClientNet::of(cell?.affinity()?, ip, None))
}

/// The endpoint that this client's net gets as long as nothing changes; `None` if the draw is random, or if no address
/// is given.
pub(super) fn endpoint(model: &Model, policy: &Policy, client: Client<'_>, cell: Option<&Cell>) -> Option<String> {
    let first = cell?.first_for(net_of(client, cell)?)?;
    Some(model.endpoint(*policy.endpoints.get(usize::from(first.slot))?).name.clone())
}

/// What the client's net decides, where it does.
pub(super) fn why(model: &Model, policy: &Policy, client: Client<'_>, cell: Option<&Cell>) -> Option<String> {
    let (cell, net) = (cell?, net_of(client, cell)?);
    if let Some(endpoint) = endpoint(model, policy, client, Some(cell)) {
        return Some(format!("{endpoint}: what this client's net gets while that is eligible"));
    }
    let blank = cell.blank_for(net).and_then(|slot| policy.endpoints.get(usize::from(slot)));
    Some(match blank {
        Some(endpoint) => {
            let (name, facet) = (&model.endpoint(*endpoint).name, cell.decision().facet.as_str());
            format!("{name}: what this client's net draws first, and it has no {facet} record that may be given")
        }
        None => "this client's net decides a part of the draw, and chance the rest".to_owned(),
    })
}
