//! Zones within each other: what a zone has at or below the apex of another zone of this server is answered from that
//! other zone. `check` says so, as it does of what a zone has below a delegation.

use std::collections::{HashMap, HashSet};

use crate::config::zones::candidate::{Candidate, Content};
use crate::masterfile::{MasterFile, type_name};
use crate::source::{ManualSection, Place, Problems};
use crate::wire::Name;
use crate::wire::code::rtype::NS;

/// The apexes of all zones of the server.
#[derive(Default)]
pub(super) struct ZoneApexes {
    /// Where each zone is declared.
    declared: HashMap<Name, Place>,
    /// All names above these apexes. A zone has others below it only if its apex is among them: the zones are not
    /// searched for the rest.
    above: HashSet<Name>,
}

impl ZoneApexes {
    pub(super) fn of(candidates: &[Candidate]) -> ZoneApexes {
        let declared =
            candidates.iter().filter_map(|candidate| Some((candidate.apex.clone()?, candidate.place.clone())));
        let declared: HashMap<Name, Place> = declared.collect();
        let mut above: HashSet<Name> = HashSet::new();
        for apex in declared.keys() {
            let mut at = apex.parent();
            // What is above a name of `above` is in it too.
            while let Some(name) = at.filter(|name| !above.contains(name)) {
                at = name.parent();
                above.insert(name);
            }
        }
        ZoneApexes { declared, above }
    }

    /// The other zone from which `name`, a name of the zone `apex`, is answered, if there is one.
    fn answering(&self, name: &Name, apex: &Name) -> Option<(&Name, &Place)> {
        let mut at = Some(name.clone());
        while let Some(owner) = at.filter(|owner| owner != apex && owner.is_within(apex)) {
            if let Some(found) = self.declared.get_key_value(&owner) {
                return Some(found);
            }
            at = owner.parent();
        }
        None
    }

    /// The zones directly or further below `apex`, sorted.
    fn below(&self, apex: &Name) -> Vec<(&Name, &Place)> {
        if !self.above.contains(apex) {
            return Vec::new();
        }
        let mut below: Vec<_> =
            self.declared.iter().filter(|(name, _)| *name != apex && name.is_within(apex)).collect();
        below.sort_by_key(|(name, _)| name.to_string());
        below
    }

    /// Removes steered names that other zones hide from an earlier version of a zone: nobody is answered by them.
    pub(super) fn remove_hidden(&self, candidate: &mut Candidate) {
        if let Content::Policy(spec, file) = &mut candidate.content
            && !self.below(&file.apex).is_empty()
        {
            spec.remove_names(|owner| self.answering(owner, &file.apex).is_some());
        }
    }

    /// Reports what of a zone is hidden by other zones: an error for a steered name, a warning for records. What is
    /// below a delegation of the zone is reported elsewhere.
    pub(super) fn check(&self, candidate: &Candidate, problems: &mut Problems) {
        let (spec, file) = match &candidate.content {
            Content::Policy(spec, file) => (Some(spec), file),
            Content::Static(file) => (None, file),
            Content::Nothing => return,
        };
        let below = self.below(&file.apex);
        if below.is_empty() {
            return;
        }
        let hides = |name: &Name| self.answering(name, &file.apex).filter(|_| file.delegation(name).is_none());
        for name in spec.iter().flat_map(|spec| &spec.names) {
            let Some((zone, place)) = hides(&name.owner) else { continue };
            problems.about(ManualSection::Name, |problems| {
                let message = format!("{} is never answered here: {zone} is a zone of its own", name.owner);
                let problem = problems.error(&name.name.place, message).label(place, format!("the zone {zone}"));
                problem.hint("steer it in that zone, or remove that zone's files");
            });
        }
        problems.about(ManualSection::MasterFiles, |problems| {
            for (set, place) in file.rrsets.iter().zip(&file.places) {
                let Some((zone, declared)) = hides(&set.owner) else { continue };
                let message =
                    format!("{} {} is never answered: {zone} is a zone of its own", set.owner, type_name(set.rtype));
                let problem = problems.warning(place, message).label(declared, format!("the zone {zone}"));
                problem.hint("it belongs in that zone");
            }
            for (zone, declared) in below {
                let is_next = zone.parent().is_none_or(|above| self.answering(&above, &file.apex).is_none());
                if is_next {
                    check_delegation(file, (zone, declared), problems);
                }
            }
        });
    }
}

/// A zone below this one has to be delegated: resolvers, other servers of the zone, and DNSSEC need the NS records.
fn check_delegation(file: &MasterFile, (zone, declared): (&Name, &Place), problems: &mut Problems) {
    if file.delegation(zone).is_some() || file.dname(zone).is_some() {
        return;
    }
    let Some((_, place)) = file.rrset(&file.apex, NS) else { return };
    let message = format!("{} has no NS records for {zone}, which is a zone of its own", file.apex);
    let problem = problems.warning(place, message).label(declared, format!("the zone {zone}"));
    problem.hint(format!("delegate it: write `{zone} NS NAME-SERVER`, as for {}", file.apex));
}
