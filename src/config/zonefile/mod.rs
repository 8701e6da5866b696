//! Master files (RFC 1035, 5): a text becomes entries, lines for the scanner, records, and at last the RRsets of a
//! valid zone. Callers get a [`MasterFile`], which also knows where each RRset stands, so that a policy that
//! contradicts it can be told both places.

mod content;
mod entry;
mod explain;
mod feed;
mod line;
mod names;
mod rules;
mod scan;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::config::problem::Problems;
use crate::config::source::Place;
use crate::config::texts::Texts;
use crate::model::Rrset;
use crate::wire::Name;

pub(super) use rules::{CNAME, DNAME, type_name};
pub(super) use scan::At as FileAt;

/// The static part of a zone.
#[derive(Debug)]
pub(super) struct MasterFile {
    /// The zone's name.
    pub(super) apex: Name,
    /// Its RRsets, each (owner, type) once, as [`crate::model::Zone`] wants them.
    pub(super) rrsets: Vec<Rrset>,
    /// Where the first record of each RRset stands.
    pub(super) places: Vec<Place>,
    /// Which RRsets an owner has.
    pub(super) by_owner: HashMap<Name, Vec<usize>>,
    /// Files that were included, as the file system knows them.
    pub(super) included: Vec<PathBuf>,
}

/// Which zone a master file is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Apex<'a> {
    /// The one that a policy names.
    Named(&'a Name),
    /// The file's name; where `$ORIGIN` has set another origin, the owner of its SOA.
    Origin(&'a Name),
}

/// Reads a master file; the files that it includes come from `texts`. `steered` are the names that a policy answers: they exist too. The RRsets come back even beside
/// errors, so that the policy can be judged in the same run.
pub(super) fn read(
    file: FileAt<'_>,
    bytes: &[u8],
    apex: Apex<'_>,
    texts: &Texts<'_>,
    steered: &HashSet<Name>,
    problems: &mut Problems,
) -> MasterFile {
    let (Apex::Named(origin) | Apex::Origin(origin)) = apex;
    let scanned = scan::scan(file, bytes, origin, texts, problems);
    let apex = match (apex, scanned.soa) {
        (Apex::Origin(name), Some(soa)) if soa.origin != *name => soa.owner,
        (Apex::Named(name) | Apex::Origin(name), _) => name.clone(),
    };
    let mut checked = rules::check(file.shown, apex, scanned.records, steered, problems);
    checked.included = scanned.included;
    checked
}

impl MasterFile {
    /// The RRsets of `owner`, with their places.
    pub(super) fn at<'a>(&'a self, owner: &Name) -> impl Iterator<Item = (&'a Rrset, &'a Place)> {
        let indexes = self.by_owner.get(owner).map(Vec::as_slice).unwrap_or_default();
        indexes.iter().filter_map(|&at| Some((self.rrsets.get(at)?, self.places.get(at)?)))
    }

    /// The RRset of `owner` and type, with its place.
    pub(super) fn rrset(&self, owner: &Name, rtype: u16) -> Option<(&Rrset, &Place)> {
        self.at(owner).find(|(rrset, _)| rrset.rtype == rtype)
    }

    /// The delegation at or above `name` (below the apex), if there is one: its owner and where it is written.
    pub(super) fn delegation(&self, name: &Name) -> Option<(Name, &Place)> {
        self.above(name, true, rules::NS)
    }

    /// The DNAME above `name`, if there is one.
    pub(super) fn dname(&self, name: &Name) -> Option<(Name, &Place)> {
        self.above(name, false, rules::DNAME)
    }

    /// The nearest ancestor with an RRset of `rtype`; the apex counts only for those that apply there.
    fn above(&self, name: &Name, itself: bool, rtype: u16) -> Option<(Name, &Place)> {
        let mut at = if itself { Some(name.clone()) } else { name.parent() };
        while let Some(owner) = at.filter(|owner| owner.is_within(&self.apex)) {
            let counts = rtype != rules::NS || owner != self.apex;
            if let Some((_, place)) = self.rrset(&owner, rtype).filter(|_| counts) {
                return Some((owner, place));
            }
            at = owner.parent();
        }
        None
    }
}
