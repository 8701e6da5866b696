//! Master files (RFC 1035, 5). A file is cut into entries (`entry`). Each entry is rewritten as one line (`line`) and
//! scanned into a record (`scan`). The records are checked and grouped into RRsets (`rules`). The result is a
//! [`MasterFile`]. It has the place of each RRset, so that a problem can show the record that a policy contradicts.

mod content;
mod entry;
mod explain;
mod feed;
mod head;
mod line;
mod names;
mod rules;
mod scan;

use std::collections::HashMap;
use std::path::PathBuf;

use foldhash::fast::FixedState;

use crate::model::Rrset;
use crate::source::{Place, Problems, Texts};
use crate::wire::Name;
use crate::wire::code::rtype::NS;

pub(crate) use crate::wire::code::rtype::{CNAME, DNAME};
pub(crate) use rules::type_name;
pub(crate) use scan::FileAt;

/// The records of a zone as its master file has them: the part that is not steered.
#[derive(Debug, Clone)]
pub(crate) struct MasterFile {
    /// The zone's name.
    pub(crate) apex: Name,
    /// Its RRsets, each (owner, type) once, as [`crate::model::Zone`] wants them.
    pub(crate) rrsets: Vec<Rrset>,
    /// The place of the first record of each RRset.
    pub(crate) places: Vec<Place>,
    /// The RRsets of an owner, as indexes into `rrsets`.
    pub(crate) by_owner: HashMap<Name, Vec<usize>, FixedState>,
    /// The canonical paths of the files that were included.
    pub(crate) included: Vec<PathBuf>,
}

/// Which zone a master file is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Apex<'a> {
    /// The zone that a policy names.
    Named(&'a Name),
    /// The zone that the file is named after; where `$ORIGIN` has set another origin, the owner of the SOA.
    Origin(&'a Name),
}

/// Reads a master file. The files that it includes come from `texts`. `is_steered`: whether a policy answers a name; a
/// record may point at it. The RRsets are returned even when there are errors, so that the policy can be checked in
/// the same run.
pub(crate) fn read(
    file: FileAt<'_>,
    bytes: &[u8],
    apex: Apex<'_>,
    texts: &Texts<'_>,
    is_steered: &dyn Fn(&Name) -> bool,
    problems: &mut Problems,
) -> MasterFile {
    let (Apex::Named(origin) | Apex::Origin(origin)) = apex;
    let scanned = scan::scan(file, bytes, origin, texts, problems);
    let apex = match (apex, scanned.soa) {
        (Apex::Origin(name), Some(soa)) if soa.origin != *name => soa.owner,
        (Apex::Named(name) | Apex::Origin(name), _) => name.clone(),
    };
    // Of a file that is no text nothing was read: what is missing in it is no problem of its own.
    let mut ignored = problems.separate();
    let problems = if scanned.has_nul { &mut ignored } else { problems };
    let mut checked = rules::check(file.shown, apex, scanned.records, is_steered, problems);
    checked.included = scanned.included;
    checked
}

impl MasterFile {
    /// The RRsets of `owner`, with their places.
    pub(crate) fn at<'a>(&'a self, owner: &Name) -> impl Iterator<Item = (&'a Rrset, &'a Place)> + use<'a> {
        self.at_wire(owner.as_wire())
    }

    fn at_wire<'a>(&'a self, owner: &[u8]) -> impl Iterator<Item = (&'a Rrset, &'a Place)> + use<'a> {
        let indexes = self.by_owner.get(owner).map(Vec::as_slice).unwrap_or_default();
        indexes.iter().filter_map(|&at| Some((self.rrsets.get(at)?, self.places.get(at)?)))
    }

    /// The RRset of this owner and type, with its place.
    pub(crate) fn rrset(&self, owner: &Name, rtype: u16) -> Option<(&Rrset, &Place)> {
        self.at(owner).find(|(rrset, _)| rrset.rtype == rtype)
    }

    /// The delegation at or above `name` (below the apex), if there is one: its owner and its place.
    pub(crate) fn delegation(&self, name: &Name) -> Option<(Name, &Place)> {
        self.above(name, true, NS)
    }

    /// The DNAME above `name`, if there is one.
    pub(crate) fn dname(&self, name: &Name) -> Option<(Name, &Place)> {
        self.above(name, false, DNAME)
    }

    /// The nearest owner above `name` that has an RRset of `rtype`; with `itself`, `name` counts too. NS records of the
    /// apex are no delegation and do not count.
    fn above(&self, name: &Name, itself: bool, rtype: u16) -> Option<(Name, &Place)> {
        let apex = self.apex.as_wire();
        let owners = name.upwards().skip(usize::from(!itself)).take_while(|owner| owner.len() >= apex.len());
        let mut owners = owners.filter(|owner| rtype != NS || *owner != apex);
        let (set, place) = owners.find_map(|owner| self.at_wire(owner).find(|(set, _)| set.rtype == rtype))?;
        Some((set.owner.clone(), place))
    }
}
