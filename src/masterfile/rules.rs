//! Groups records into RRsets and checks that they are a valid zone: the rules that `named-checkzone` and `kzonecheck`
//! check. Each problem has its place. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use domain::base::iana::Rtype;

use crate::masterfile::MasterFile;
use crate::masterfile::scan::MasterRecord;
use crate::model::{Rrset, no_host};
use crate::source::{Place, Problems};
use crate::wire::Name;
use crate::wire::code::rtype::{A, AAAA, CNAME, DNAME, DS, MX, NS, NSEC, RRSIG, SOA, SRV};

/// More records than these don't fit a message of 65,535 octets, 16 octets each (RFC 1035, 4.2.2).
const MAX_RRSET: usize = 4096;

/// The mnemonic of a type.
pub(crate) fn type_name(rtype: u16) -> String {
    Rtype::from_int(rtype).to_string()
}

/// Groups `records` into RRsets and checks them.
pub(super) fn check(
    shown: &Path,
    apex: Name,
    records: Vec<MasterRecord>,
    is_steered: &dyn Fn(&Name) -> bool,
    problems: &mut Problems,
) -> MasterFile {
    let file = gather(apex, records, problems);
    let whole = Place::start_of(shown);
    check_apex(&file, &whole, problems);
    check_unsigned(&file, problems);
    let special =
        |rtype: u16| file.rrsets.iter().any(|set| set.rtype == rtype && (rtype != NS || set.owner != file.apex));
    let (delegates, renames) = (special(NS), special(DNAME));
    for (owner, indexes) in &file.by_owner {
        check_aliases(&file, owner, indexes, problems);
        if renames && let Some((above, place)) = file.dname(owner) {
            let message = format!("{owner} is below the DNAME of {above}, which hides it");
            let problem = problems.error(&file.places[indexes[0]], message).label(place, "the DNAME");
            problem.hint("remove it, or the DNAME");
        }
        if delegates {
            check_delegated(&file, owner, indexes, problems);
        }
    }
    for (set, place) in file.rrsets.iter().zip(&file.places) {
        check_targets(&file, set, place, is_steered, problems);
    }
    file
}

/// Groups records into RRsets and drops those that can't be in the zone.
fn gather(apex: Name, records: Vec<MasterRecord>, problems: &mut Problems) -> MasterFile {
    let mut file =
        MasterFile { apex, rrsets: Vec::new(), places: Vec::new(), by_owner: HashMap::default(), included: Vec::new() };
    for record in records {
        if !record.owner.is_within(&file.apex) {
            let message = format!("{} is not in the zone {}", record.owner, file.apex);
            let hint = "leave out the final dot of a name in the zone: with it a name is taken as it stands";
            problems.error(&record.place, message).hint(hint);
            continue;
        }
        let of_owner = file.by_owner.entry(record.owner.clone()).or_default();
        match of_owner.iter().find(|&&at| file.rrsets[at].rtype == record.rtype) {
            Some(&at) => join(&mut file.rrsets[at], &file.places[at], record, problems),
            None => {
                of_owner.push(file.rrsets.len());
                let MasterRecord { owner, rtype, ttl, rdata, place } = record;
                file.rrsets.push(Rrset { owner, rtype, ttl, rdatas: vec![rdata] });
                file.places.push(place);
            }
        }
    }
    file
}

/// Adds a record to the RRset it belongs to.
fn join(set: &mut Rrset, first: &Place, record: MasterRecord, problems: &mut Problems) {
    let what = format!("{} {}", record.owner, type_name(record.rtype));
    // Before it is compared with all others, so that a file full of them is read in time.
    if set.rdatas.len() >= MAX_RRSET {
        problems.error(&record.place, format!("{what} has more than {MAX_RRSET} records: no reply holds them"));
        return;
    }
    let is_twice = set.rdatas.iter().any(|rdata| is_same(record.rtype, rdata, &record.rdata));
    if matches!(record.rtype, SOA | CNAME | DNAME) && !is_twice {
        let message = format!("a second record {what}: a name can have only one");
        problems.error(&record.place, message).label(first, "the first").hint("remove one of them");
        return;
    }
    let low = set.ttl.min(record.ttl);
    if record.rtype == RRSIG {
        // Each has the TTL of what it signs (RFC 4034, 3).
        set.ttl = low;
    } else if set.ttl != record.ttl {
        let message = format!("{what} has TTL {} here and {} before", record.ttl, set.ttl);
        let problem = problems.warning(&record.place, message).label(first, "the first record of these");
        problem.hint(format!("records of one name and type share a TTL: {low} is used"));
        set.ttl = low;
    }
    if is_twice {
        let problem = problems.warning(&record.place, format!("{what}: this record is written twice"));
        problem.label(first, "the first record of these").hint("remove one of them");
    } else {
        set.rdatas.push(record.rdata);
    }
}

/// Whether two contents of a type are the same, ignoring the case of names (RFC 4034, 6.2).
fn is_same(rtype: u16, one: &[u8], other: &[u8]) -> bool {
    if one == other || one.len() != other.len() {
        return one == other;
    }
    // How many octets are before the names, and how many after them.
    let (before, behind) = match rtype {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, MINFO, RP, DNAME
        2..=5 | 7..=9 | 12 | 14 | 17 | 39 => (0, 0),
        // MX, AFSDB, RT, PX, KX
        15 | 18 | 21 | 26 | 36 => (2, 0),
        SRV => (6, 0),
        SOA => (0, 20),
        _ => return false,
    };
    let names = before..one.len().saturating_sub(behind);
    let (Some(ours), Some(theirs)) = (one.get(names.clone()), other.get(names.clone())) else { return false };
    // The length octet of a label is at most 63, which is no letter.
    one[..names.start] == other[..names.start]
        && one[names.end..] == other[names.end..]
        && ours.eq_ignore_ascii_case(theirs)
}

fn check_apex(file: &MasterFile, whole: &Place, problems: &mut Problems) {
    let apex = &file.apex;
    if file.rrset(apex, SOA).is_none() {
        let problem = problems.error(whole, format!("the zone {apex} has no SOA record"));
        problem.hint("write `@ IN SOA ns1 hostmaster 1 3600 600 604800 30`");
    }
    for (set, place) in file.rrsets.iter().zip(&file.places).filter(|(set, _)| set.rtype == SOA && set.owner != *apex) {
        let problem =
            problems.error(place, format!("this SOA record is at {}, not at the zone's own name {apex}", set.owner));
        problem.hint("write `@` as the name of the SOA record");
    }
    match file.rrset(apex, NS) {
        None => {
            let problem = problems.error(whole, format!("the zone {apex} has no NS record"));
            problem.hint("write `@ IN NS ns1`, and the address of ns1");
        }
        Some((set, place)) if set.rdatas.len() == 1 => {
            let problem = problems.warning(place, format!("the zone {apex} has only one name server"));
            problem.hint("when it is down no name is answered: use at least two (RFC 2182)");
        }
        Some(_) => {}
    }
}

/// Warns of a zone that is signed, once.
fn check_unsigned(file: &MasterFile, problems: &mut Problems) {
    let mut sets = file.rrsets.iter().zip(&file.places);
    let Some((_, place)) = sets.find(|(set, _)| set.rtype == RRSIG) else { return };
    let message =
        format!("the zone {} is signed, and its answers have no signatures: there is no DNSSEC here", file.apex);
    problems.warning(place, message).hint(
        "remove the DS record at the parent and wait for its TTL, because validating resolvers refuse all names while \
         there is one; then remove RRSIG, NSEC, NSEC3 and DNSKEY",
    );
}

fn check_aliases(file: &MasterFile, owner: &Name, indexes: &[usize], problems: &mut Problems) {
    let Some((_, cname)) = file.rrset(owner, CNAME) else { return };
    for &at in indexes {
        let rtype = file.rrsets[at].rtype;
        if matches!(rtype, CNAME | RRSIG | NSEC) {
            continue;
        }
        let message = format!("{owner} has a CNAME record and this {} record", type_name(rtype));
        let problem = problems.error(&file.places[at], message).label(cname, "the CNAME");
        problem.hint("a name with a CNAME can't have other records (RFC 2181, 10.1): remove one of them");
    }
}

/// Warns of records that a delegation hides.
fn check_delegated(file: &MasterFile, owner: &Name, indexes: &[usize], problems: &mut Problems) {
    let Some((cut, place)) = file.delegation(owner) else { return };
    for &at in indexes {
        let rtype = file.rrsets[at].rtype;
        let of_the_cut = cut == *owner && matches!(rtype, NS | DS | RRSIG | NSEC);
        if of_the_cut || matches!(rtype, A | AAAA) {
            continue;
        }
        let message = format!("{owner} {} is never answered: {cut} is delegated", type_name(rtype));
        let problem = problems.warning(&file.places[at], message).label(place, "the delegation");
        problem.hint("it belongs in the child's zone");
    }
}

/// Checks that the names that NS, MX and SRV records point at have addresses.
fn check_targets(
    file: &MasterFile,
    set: &Rrset,
    place: &Place,
    is_steered: &dyn Fn(&Name) -> bool,
    problems: &mut Problems,
) {
    let skip = match set.rtype {
        NS => 0,
        MX => 2,
        SRV => 6,
        _ => return,
    };
    let kind = type_name(set.rtype);
    for target in set.rdatas.iter().filter_map(|rdata| Name::from_wire(rdata.get(skip..)?)) {
        if !target.is_within(&file.apex) {
            continue;
        }
        if let Some((_, cname)) = file.rrset(&target, CNAME) {
            let problem = problems.warning(place, format!("{kind} {target} is a CNAME")).label(cname, "the CNAME");
            problem.hint("it must have addresses of its own (RFC 2181, 10.3)");
            continue;
        }
        let addressed =
            |name: &Name| file.rrset(name, A).is_some() || file.rrset(name, AAAA).is_some() || is_steered(name);
        if set.rtype == NS {
            check_glue(file, &target, place, problems);
        }
        let elsewhere = set.rtype != NS && file.delegation(&target).is_some();
        if !addressed(&target) && !elsewhere && !by_wildcard(file, &target, addressed) {
            let what = if set.rtype == NS { "glue is missing: " } else { "" };
            let problem = problems.warning(place, format!("{what}{kind} {target} has no address in this zone"));
            problem.hint(format!("write `{target} IN A ADDRESS`"));
        }
    }
}

/// Warns of addresses of a name server at which no resolver reaches it.
fn check_glue(file: &MasterFile, server: &Name, named_at: &Place, problems: &mut Problems) {
    for (set, place) in [A, AAAA].into_iter().filter_map(|rtype| file.rrset(server, rtype)) {
        for rdata in &set.rdatas {
            let v4 = <[u8; 4]>::try_from(&rdata[..]).map(IpAddr::from);
            let Ok(address) = v4.or_else(|_| <[u8; 16]>::try_from(&rdata[..]).map(IpAddr::from)) else { continue };
            if let Some(what) = no_host(address) {
                let message =
                    format!("the name server {server} has the address {address}, which no host has: it is {what}");
                let problem = problems.warning(place, message).label(named_at, "the NS record");
                problem.hint("write the address at which resolvers reach it");
            }
        }
    }
}

/// Whether a wildcard of the zone gives `name` an address (RFC 4592).
fn by_wildcard(file: &MasterFile, name: &Name, addressed: impl Fn(&Name) -> bool) -> bool {
    let mut above = name.parent();
    while let Some(parent) = above.filter(|parent| parent.is_within(&file.apex)) {
        if Name::parse_under("*", &parent).is_ok_and(|star| addressed(&star)) {
            return true;
        }
        above = parent.parent();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_of_names_makes_no_other_record() {
        for (rtype, one, other, same) in [
            (CNAME, &b"\x01a\x00"[..], &b"\x01A\x00"[..], true),
            (CNAME, b"\x01a\x00", b"\x01b\x00", false),
            (MX, b"\x00a\x01a\x00", b"\x00A\x01a\x00", false),
            (MX, b"\x00a\x01a\x00", b"\x00a\x01A\x00", true),
            (SRV, b"123456\x01a\x00", b"123456\x01A\x00", true),
            (SOA, b"\x00\x0012345678901234567890", b"\x00\x0012345678901234567890", true),
            (SOA, b"\x00\x00aaaaaaaaaaaaaaaaaaaa", b"\x00\x00Aaaaaaaaaaaaaaaaaaaa", false),
            (16, b"\x01a", b"\x01A", false),
            (MX, b"\x00", b"\x01", false),
        ] {
            assert_eq!(is_same(rtype, one, other), same, "{rtype} {one:?} {other:?}");
        }
    }
}
