//! The driver of `type = "dns"`: looks up the SRV records of a name with the addresses of their targets, or its A and
//! AAAA records, and does so again when their TTL is over. No resolver that answers (a time-out, SERVFAIL) is another
//! thing than a name that does not exist (NXDOMAIN): the first changes nothing, the second is an empty set.

mod exchange;
mod reading;
mod resolvers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::discovery::http_client::Backoff;
use crate::discovery::{Instance, InstanceList, Trouble, Update, UpdateSender};
use crate::model::{DiscoveredPool, DnsSource, SourceSpec};
use crate::wire::Name;
use crate::wire::code::rtype;
use exchange::Resolver;
use reading::{Found, SrvTarget, hosts_to_look_up, instances_of, srv_instances};

/// The least time between two look-ups: a TTL of 0 is no reason for queries all the time (judgment).
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// The longest, whatever the TTL is (judgment: an instance that has gone is noticed within a minute).
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Targets that are looked up at a time (judgment: a burst that every resolver takes).
const AT_ONCE: usize = 16;

/// The addresses of a target, and the shortest TTL.
type Addresses = (Vec<std::net::IpAddr>, Duration);

/// Follows the name until `stop`.
pub async fn run(spec: Arc<DiscoveredPool>, updates: UpdateSender, stop: CancellationToken) {
    let SourceSpec::Dns(source) = &spec.source else { return stop.cancelled().await };
    let mut backoff = Backoff::default();
    loop {
        let read = tokio::select! {
            read = look_up(&spec, source) => read,
            () = stop.cancelled() => return,
        };
        let (update, pause) = match read {
            Ok((list, ttl)) => {
                backoff.succeeded();
                (Update::Whole(list), ttl.clamp(LEAST_PAUSE, LONGEST_PAUSE))
            }
            Err(trouble) => (Update::Away(trouble), backoff.failed(crate::clock::entropy())),
        };
        tokio::select! {
            () = updates.send(update) => {}
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = updates.relist_wanted() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// All instances, and the time until they may be others.
async fn look_up(spec: &DiscoveredPool, source: &DnsSource) -> Result<(InstanceList, Duration), Trouble> {
    let resolver = Resolver::of(&source.resolvers).await.map_err(Trouble::bad)?;
    let is_service = source.name.as_wire().get(1) == Some(&b'_');
    if !is_service {
        let (addresses, ttl) = addresses_of(&resolver, &source.name).await?;
        let mut list = InstanceList::new(spec.max);
        let name = source.name.to_string();
        instances_of(&name, &addresses, source.port, true).into_iter().for_each(|of| list.push(mapped(spec, of, None)));
        return Ok((list, ttl));
    }
    let Found { records, ttl } = resolver.query(&source.name, rtype::SRV).await?;
    let targets = srv_instances(&records);
    let mut list = InstanceList::new(spec.max);
    let mut by_name: BTreeMap<Name, Addresses> = BTreeMap::new();
    let wanted = hosts_to_look_up(&targets, spec.max);
    let mut least = ttl;
    for some in wanted.chunks(AT_ONCE) {
        let looked_up = some.iter().map(|name| addresses_of(&resolver, name)).collect::<Vec<_>>();
        for (name, found) in some.iter().zip(join_all(looked_up).await) {
            let found = found?;
            least = least.min(found.1);
            by_name.insert(name.clone(), found);
        }
    }
    for target in &targets {
        let name = target.name.to_string();
        let found = by_name.get(&target.name).map_or(&[][..], |(addresses, _)| addresses);
        if found.is_empty() {
            list.push(Instance::new(&format!("{name}:{}", target.port), [], Some(target.port)).named(&name));
        }
        for instance in instances_of(&name, found, Some(target.port).filter(|port| *port != 0).or(source.port), false) {
            list.push(mapped(spec, instance, Some(target)));
        }
    }
    Ok((list, least))
}

/// The instance with the values of its fields: those of the SRV record.
fn mapped(spec: &DiscoveredPool, instance: Instance, target: Option<&SrvTarget>) -> Instance {
    instance.mapped(&spec.mappings, |field| match (field, target) {
        ("weight", Some(target)) => Some(target.weight.to_string()),
        ("priority", Some(target)) => Some(target.priority.to_string()),
        ("target", Some(target)) => Some(target.name.to_string()),
        (_, Some(_) | None) => None,
    })
}

/// The addresses of a name, and the shortest TTL. None where it has none, or does not exist.
async fn addresses_of(resolver: &Resolver, name: &Name) -> Result<Addresses, Trouble> {
    let (v4, v6) = tokio::join!(resolver.query(name, rtype::A), resolver.query(name, rtype::AAAA));
    let (v4, v6) = (v4?, v6?);
    let addresses = reading::addresses(&v4.records).chain(reading::addresses(&v6.records)).collect();
    // A family that the name has not is no reason to query more often.
    let ttls = [&v4, &v6].into_iter().filter(|found| !found.records.is_empty()).map(|found| found.ttl);
    Ok((addresses, ttls.min().unwrap_or(v4.ttl.min(v6.ttl))))
}
