//! The records that a reply may contain, with their probabilities, and for how long it may be cached.

use crate::control::explain::present::present;
use crate::control::explain::{AnswerReport, Renderer};
use crate::model::{EndpointId, Facet, SteeredName, ZoneId};
use crate::placing::ClientNet;
use crate::snapshot::names::{LookupResult, RrsetRef};
use crate::snapshot::{Cell, Snapshot};
use crate::steering::{AnswerSource, Decision, StageName};
use crate::wire::NameBuf;

/// A steered name, and the type of the question.
#[derive(Clone, Copy)]
pub(in crate::control) struct SteeredQuestion<'a> {
    pub(in crate::control) snapshot: &'a Snapshot,
    pub(in crate::control) zone: ZoneId,
    pub(in crate::control) name: &'a SteeredName,
    pub(in crate::control) facet: Facet,
}

impl<'a> SteeredQuestion<'a> {
    /// The records that a reply may contain, over all clients that `cell` is for, the most probable first.
    pub(in crate::control) fn answers(&self, cell: &Cell) -> Vec<AnswerReport> {
        let (model, decision) = (&*self.snapshot.model, cell.decision());
        match &decision.source {
            AnswerSource::Endpoints(given) => {
                let odds = given.probabilities(|endpoint| model.endpoint(endpoint).stands_alone(decision.facet));
                self.reports(cell, odds)
            }
            AnswerSource::Static => self.of_zone_file(),
            AnswerSource::Nodata => Vec::new(),
        }
    }

    /// The same for clients of this net, where affinity decides.
    pub(super) fn for_net(&self, cell: &Cell, net: ClientNet) -> Vec<AnswerReport> {
        let slots = &self.snapshot.model.policy(self.name.policy).endpoints;
        let odds = cell.odds_for(net).into_iter().map(|(slot, odd)| (slots[usize::from(slot)], odd));
        self.reports(cell, odds.collect())
    }

    fn reports(&self, cell: &Cell, odds: Vec<(EndpointId, f64)>) -> Vec<AnswerReport> {
        let model = &*self.snapshot.model;
        let slots = &model.policy(self.name.policy).endpoints;
        let record = |endpoint: EndpointId| cell.records().find(|record| slots[usize::from(record.slot)] == endpoint);
        let mut answers: Vec<AnswerReport> = odds
            .into_iter()
            .filter(|(_, probability)| *probability > 0.0)
            .filter_map(|(endpoint, probability)| {
                let rdata = record(endpoint).map(|record| present(record.rtype, record.rdata()))?;
                Some(AnswerReport { rdata, endpoint: Some(model.endpoint(endpoint).name.clone()), probability })
            })
            .collect();
        answers.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        answers
    }

    /// The records of the zone file that are answered in place of the policy.
    pub(super) fn of_zone_file(&self) -> Vec<AnswerReport> {
        let answer =
            |wire: &[u8]| AnswerReport { rdata: present(self.facet.rtype(), wire), endpoint: None, probability: 1.0 };
        self.safe_default().map_or_else(Vec::new, |rrset| rrset.rdatas().map(answer).collect())
    }

    /// The records of the zone file of this type.
    fn safe_default(&self) -> Option<RrsetRef<'a>> {
        match self.snapshot.zones.find_within(self.zone, &NameBuf::parse(self.name.owner.as_wire())?, false) {
            LookupResult::Exact(node) => node.rrset(self.facet.rtype()),
            LookupResult::Outside
            | LookupResult::Wildcard(_)
            | LookupResult::Referral(_)
            | LookupResult::Redirected(_)
            | LookupResult::Missing(_) => None,
        }
    }

    /// The TTL of a reply, as [`SteeredQuestion::ttl`] explains it.
    pub(in crate::control) fn ttl_secs(&self, decision: &Decision, is_empty: bool) -> u32 {
        let of_file = (decision.source == AnswerSource::Static).then(|| self.safe_default()).flatten();
        let ttl = of_file.map_or(decision.ttl, |rrset| rrset.ttl().min(decision.ttl));
        if is_empty { ttl.min(self.snapshot.zones.negative_ttl(self.zone)) } else { ttl }
    }

    /// The TTL of a reply, with the reason: that of the decision, or that of the zone file's record if the zone file
    /// answers and it is less; of an empty reply, that of its SOA if it is less (RFC 2308, 5).
    pub(super) fn ttl(&self, decision: Option<&Decision>, is_empty: bool) -> (u32, String) {
        let (ttl, why) = self.ttl_of_records(decision);
        let negative = self.snapshot.zones.negative_ttl(self.zone);
        if is_empty && (negative < ttl || decision.is_none()) {
            return (negative, format!("{negative} s: an empty answer has that of the SOA (RFC 2308)"));
        }
        (ttl, why)
    }

    fn ttl_of_records(&self, decision: Option<&Decision>) -> (u32, String) {
        let of_file = self.safe_default().map(|rrset| rrset.ttl());
        let as_in_file = |ttl: u32| (ttl, format!("{ttl} s: as the zone file has it"));
        match (decision, of_file) {
            (Some(decision), Some(ttl)) if decision.source == AnswerSource::Static && ttl < decision.ttl => {
                as_in_file(ttl)
            }
            (Some(decision), Some(_) | None) => {
                let policy = self.snapshot.model.policy(self.name.policy);
                let renderer = Renderer::new(&self.snapshot.model, policy, &self.snapshot.view, decision);
                let note = decision.stage(StageName::Ttl).and_then(|stage| stage.note.as_ref());
                (decision.ttl, note.map(|note| renderer.note(note)).unwrap_or_default())
            }
            (None, Some(ttl)) => as_in_file(ttl),
            (None, None) => (0, "there is no record".to_owned()),
        }
    }
}
