//! Why a client belongs to its region: the net, the fact or the setting that determined it. Only for explanations: it
//! searches all nets and builds the rules again, which is slow.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::{Clients, Facts, Placement, RegionId};
use crate::placing::address::{folded, folded_net};
use crate::placing::database::facts_of;
use crate::placing::rules::{RegionSource, Rules};

/// The region of a client, and what determined it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientPlacement {
    /// Its region.
    pub region: Option<RegionId>,
    /// What determined the region.
    pub by: RegionSource,
    /// The facts that the databases have for the client's address.
    pub facts: Facts,
}

/// Why the client at `ip` belongs to its region; `None` if there is no placement, only [`Clients::rules`].
pub fn explain(clients: &Clients, ip: IpAddr) -> Option<ClientPlacement> {
    let placement = clients.placement.as_deref()?;
    let sources = &placement.sources;
    let ip = folded(ip);
    let facts = sources.databases.iter().fold(Facts::default(), |facts, database| facts.or(facts_of(database, ip)));
    if let Some((net, region)) = claiming_net(placement, ip) {
        return Some(ClientPlacement { region: Some(region), by: RegionSource::Net(net), facts });
    }
    let rules = Rules::of(sources, &clients.selectors);
    let (region, by) = match (rules.region(&rules.essence(&facts)), sources.default) {
        (Some((region, by)), _) => (Some(region), by),
        (None, Some(region)) => (Some(region), RegionSource::Default),
        (None, None) => (None, RegionSource::Nothing),
    };
    Some(ClientPlacement { region, by, facts })
}

/// The longest net of a region that contains an address.
fn claiming_net(placement: &Placement, ip: IpAddr) -> Option<(IpNet, RegionId)> {
    let claims = placement.sources.claims.iter().enumerate();
    let nets = claims.flat_map(|(at, claim)| claim.nets.iter().map(move |net| (*net, RegionId(at as u16))));
    // If the same net is listed as IPv4 and as IPv4 in IPv6, the IPv4 form counts.
    let length = |net: &IpNet| len_around(net, ip).map(|len| (len, net.addr().is_ipv4()));
    nets.filter_map(|(net, region)| Some((length(&net)?, (net, region))))
        .max_by_key(|(len, _)| *len)
        .map(|(_, claiming)| claiming)
}

/// The length of a net that contains `ip`, in bits of the family of `ip`; `None` if it does not contain it.
fn len_around(net: &IpNet, ip: IpAddr) -> Option<u8> {
    match (net, ip) {
        (IpNet::V6(_), IpAddr::V4(ip)) => match folded_net(*net) {
            IpNet::V4(outer) => outer.contains(&ip).then_some(outer.prefix_len()),
            IpNet::V6(_) => None,
        },
        (net, ip) => net.contains(&ip).then_some(net.prefix_len()),
    }
}
