//! Records in wire form: the record of an endpoint, for each type that is steered. Names in RDATA are not compressed,
//! as RFC 2782 and RFC 9460 require; CNAME targets are compressed when they are sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{AnswerRdata, EndpointId, Facet, Model, Policy, ServiceTarget};
use crate::snapshot::cell::StoredRecord;
use crate::steering::{AnswerSource, Decision, Share, Tier};
use crate::wire::{code, put_prepared};

/// Keys of service parameters (RFC 9460, 14.3.2), which are in rising order.
mod key {
    pub(super) const ALPN: u16 = 1;
    pub(super) const PORT: u16 = 3;
    pub(super) const IPV4HINT: u16 = 4;
    pub(super) const IPV6HINT: u16 = 6;
}

/// Service mode, with one priority: the draw decides which endpoint comes first (RFC 9460, 2.4.1).
const SERVICE_MODE: u16 = 1;
/// Alias mode (RFC 9460, 2.4.2).
const ALIAS_MODE: u16 = 0;
/// The heaviest share of a tier has this weight in SRV records.
const HEAVIEST: f64 = 65_535.0;

/// Priority and weight of an SRV record (RFC 2782).
#[derive(Debug, Clone, Copy)]
pub(super) struct SrvPlace {
    priority: u16,
    weight: u16,
}

/// The weights of one tier, in the numbers of SRV records.
#[derive(Debug, Clone, Copy)]
pub(super) struct SrvScale {
    priority: u16,
    /// Weight of the heaviest endpoint.
    heaviest: f64,
}

impl SrvScale {
    /// Of the tier at this place, 0 is the best.
    pub(super) fn of(place: usize, tier: &Tier) -> SrvScale {
        let heaviest = tier.shares.iter().map(each).fold(0.0, f64::max);
        SrvScale { priority: u16::try_from(place).unwrap_or(u16::MAX), heaviest }
    }

    /// Of each endpoint of a share: never 0, which would mean "hardly ever".
    pub(super) fn place(&self, share: &Share) -> SrvPlace {
        let weight = (each(share) / self.heaviest * HEAVIEST).round().clamp(1.0, HEAVIEST);
        SrvPlace { priority: self.priority, weight: weight as u16 }
    }
}

/// The weight of one endpoint of a share: a draw returns all endpoints of the share, so each has an equal part of it.
fn each(share: &Share) -> f64 {
    share.weight / share.endpoints.len().max(1) as f64
}

/// The sources of records.
pub(super) struct Rdata<'a> {
    pub(super) model: &'a Model,
    pub(super) policy: &'a Policy,
    pub(super) decision: &'a Decision,
}

impl Rdata<'_> {
    /// Adds an endpoint's record to `bytes`. `None`: it has no record of this type.
    pub(super) fn store(&self, bytes: &mut Vec<u8>, endpoint: EndpointId, srv: SrvPlace) -> Option<StoredRecord> {
        let slot = self.policy.endpoints.iter().position(|e| *e == endpoint)?;
        if self.is_blank(endpoint) {
            let at = bytes.len() as u32;
            let blank =
                StoredRecord { start: at, end: at, rtype: 0, slot: slot as u16, twin: slot as u16, is_alone: false };
            return Some(blank);
        }
        let (rtype, rdata) = self.of(endpoint, self.policy.service.targets.get(slot), srv)?;
        let start = bytes.len() as u32;
        put_prepared(bytes, rtype, self.decision.ttl, &rdata);
        let is_alone = rtype == code::rtype::CNAME || self.model.endpoint(endpoint).stands_alone(self.decision.facet);
        Some(StoredRecord { start, end: bytes.len() as u32, rtype, slot: slot as u16, twin: slot as u16, is_alone })
    }

    fn is_blank(&self, endpoint: EndpointId) -> bool {
        match &self.decision.source {
            AnswerSource::Endpoints(given) => given.blanks.contains(&endpoint),
            AnswerSource::Static | AnswerSource::Nodata => false,
        }
    }

    /// Type and RDATA.
    fn of(&self, endpoint: EndpointId, target: Option<&ServiceTarget>, srv: SrvPlace) -> Option<(u16, Vec<u8>)> {
        // Of a name that can be an alias it is that for every type, service records too.
        let is_cname = self.decision.kind.is_some() && self.model.endpoint(endpoint).stands_alone(Facet::Alias);
        let facet = if is_cname { Facet::Alias } else { self.decision.facet };
        match facet {
            Facet::V4 | Facet::V6 | Facet::Alias => {
                let answerable = self.model.endpoint(endpoint).answerable(facet)?;
                let rdata = match &answerable.rdata {
                    AnswerRdata::Address(IpAddr::V4(ip)) => ip.octets().to_vec(),
                    AnswerRdata::Address(IpAddr::V6(ip)) => ip.octets().to_vec(),
                    AnswerRdata::Cname(target) => target.to_vec(),
                };
                Some((answerable.facet.rtype(), rdata))
            }
            Facet::Srv => {
                let target = target?;
                let numbers = [srv.priority, srv.weight, target.port];
                let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
                Some((facet.rtype(), numbers.chain(target.name.iter().copied()).collect()))
            }
            Facet::Https | Facet::Svcb => Some((facet.rtype(), self.svcb(endpoint, target?))),
        }
    }

    fn svcb(&self, endpoint: EndpointId, target: &ServiceTarget) -> Vec<u8> {
        if self.model.endpoint(endpoint).stands_alone(self.decision.facet) {
            return [&ALIAS_MODE.to_be_bytes()[..], &target.name].concat();
        }
        let answers = |facet| self.policy.facets.contains(&facet);
        let is_at_owner = answers(Facet::V4) || answers(Facet::V6);
        let mut rdata = SERVICE_MODE.to_be_bytes().to_vec();
        // The root stands for the owner's own name (RFC 9460, 2.5.2), whose addresses the hints then are.
        rdata.extend_from_slice(if is_at_owner { &[0] } else { &target.name });
        let service = &self.policy.service;
        let alpn = service.alpn.iter().flat_map(|id| [&[id.len() as u8], id.as_bytes()].concat());
        param(&mut rdata, key::ALPN, &alpn.collect::<Vec<u8>>());
        let port = service.port.map(u16::to_be_bytes);
        param(&mut rdata, key::PORT, port.as_ref().map_or(&[][..], |port| port));
        let hints = || self.decision.hints.iter().filter(|(of, _)| *of == endpoint).map(|(_, ip)| *ip);
        let v4 = hints().filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None });
        let v6 = hints().filter_map(|ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None });
        if !is_at_owner || answers(Facet::V4) {
            param(&mut rdata, key::IPV4HINT, &v4.flat_map(|ip: Ipv4Addr| ip.octets()).collect::<Vec<u8>>());
        }
        if !is_at_owner || answers(Facet::V6) {
            param(&mut rdata, key::IPV6HINT, &v6.flat_map(|ip: Ipv6Addr| ip.octets()).collect::<Vec<u8>>());
        }
        rdata
    }
}

/// Adds a parameter, unless it is empty.
fn param(rdata: &mut Vec<u8>, key: u16, value: &[u8]) {
    if value.is_empty() {
        return;
    }
    rdata.extend_from_slice(&key.to_be_bytes());
    rdata.extend_from_slice(&(value.len() as u16).to_be_bytes());
    rdata.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tier(shares: &[(usize, f64)]) -> Tier {
        let share = |&(endpoints, weight): &(usize, f64)| Share {
            endpoints: vec![EndpointId(0); endpoints],
            weight,
            path: Vec::new(),
        };
        Tier { shares: shares.iter().map(share).collect() }
    }

    fn weights(shares: &[(usize, f64)]) -> Vec<u16> {
        let tier = tier(shares);
        let scale = SrvScale::of(3, &tier);
        tier.shares
            .iter()
            .map(|share| scale.place(share))
            .inspect(|place| assert_eq!(place.priority, 3))
            .map(|place| place.weight)
            .collect()
    }

    #[test]
    fn the_heaviest_has_the_most_and_the_others_their_part_of_it() {
        assert_eq!(weights(&[(1, 70.0), (1, 30.0)]), [65_535, 28_086]);
        assert_eq!(weights(&[(1, 1e-9)]), [65_535]);
        assert_eq!(weights(&[(1, 1.0), (1, 1e9)]), [1, 65_535], "never 0");
        // A group's weight is for all of it together.
        assert_eq!(weights(&[(3, 3.0), (1, 0.5)]), [65_535, 32_768]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn proportions_are_exact_to_half_a_unit(
            shares in prop::collection::vec((1_usize..4, 1_u32..1_000_000), 1..20),
        ) {
            let shares: Vec<(usize, f64)> = shares.into_iter().map(|(n, weight)| (n, f64::from(weight))).collect();
            let heaviest = shares.iter().map(|(n, weight)| weight / *n as f64).fold(0.0, f64::max);
            for (weight, (n, of)) in weights(&shares).into_iter().zip(&shares) {
                let exact = of / *n as f64 / heaviest * HEAVIEST;
                let is_near = (f64::from(weight) - exact).abs() <= 0.5;
                prop_assert!(is_near || (weight == 1 && exact < 1.0), "{weight} for {exact}");
            }
        }
    }
}
