//! Names in replies are read back; what does not fit leaves nothing.

use proptest::collection::vec;

use super::*;
use crate::wire::compress::share_ends;

/// Names of few different labels, so that most of them share an end.
fn wire(labels: &[String]) -> Vec<u8> {
    let mut name: Vec<u8> =
        labels.iter().flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes())).collect();
    name.push(0);
    name
}

fn prepared(rtype: u16, rdata: &[u8]) -> Vec<u8> {
    let ([type_hi, type_lo], [len_hi, len_lo]) = (rtype.to_be_bytes(), (rdata.len() as u16).to_be_bytes());
    [&[0xC0, 12, type_hi, type_lo, 0, 1, 0, 0, 0, 60, len_hi, len_lo], rdata].concat()
}

/// The name at `at`, lower-cased, how many octets it takes there, and the pointers that were followed.
fn read(reply: &[u8], at: usize) -> (Vec<u8>, usize, usize) {
    let (mut name, mut from, mut end, mut pointers) = (Vec::new(), at, None, 0);
    loop {
        match reply[from] {
            0 => {
                name.push(0);
                return (name, end.unwrap_or(from + 1) - at, pointers);
            }
            high @ 0xC0.. => {
                end = end.or(Some(from + 2));
                let to = usize::from(high & 0x3F) << 8 | usize::from(reply[from + 1]);
                assert!(to < from, "a pointer leads forward");
                (from, pointers) = (to, pointers + 1);
            }
            len => {
                let next = from + 1 + usize::from(len);
                name.extend(reply[from..next].to_ascii_lowercase());
                from = next;
            }
        }
    }
}

fn begin<'o>(out: &'o mut [u8], question: &[u8]) -> ReplyWriter<'o> {
    ReplyWriter::begin(out, 65_535, 0, Some(&[question, &[0, 1, 0, 1]].concat()))
}

proptest::proptest! {
    /// Every name of an RRset is read as it was written, over few pointers, and costs no more than it does whole.
    #[test]
    fn names_of_an_rrset_are_read_as_they_were(
        first in vec("[aAbB]{1,2}", 0..4),
        owner in vec("[aAbB]{1,2}", 0..4),
        names in vec(vec("[aAbB]{1,2}", 0..9), 1..30),
    ) {
        let (question, owner) = (wire(&[first, owner.clone()].concat()), wire(&owner));
        let names: Vec<Vec<u8>> = names.iter().map(|labels| wire(labels)).collect();
        let records: Vec<u8> = names.iter().flat_map(|name| prepared(rtype::NS, name)).collect();
        let ends = share_ends(&owner, rtype::NS, names.iter().map(Vec::as_slice));
        let mut out = vec![0; 65_535];
        let mut reply = begin(&mut out, &question);
        let at = Pieces::whole(QUESTION_AT, question.len()).end(owner.len());
        let naming = Naming { records: &records, ends: &ends, least_len: least_len(&records, &ends) };
        let mut record = reply.rrset_naming(Section::Authority, &at, naming, None).unwrap();
        for name in &names {
            let owner_at = reply.owner_at(record + PREPARED_HEAD);
            let Some(Owner::At(target)) = owner_at else { panic!("{owner_at:?}") };
            let next = reply.next_record(record);
            let (read_owner, ..) = read(reply.out, record);
            let (read_name, len, pointers) = read(reply.out, record + PREPARED_HEAD);
            proptest::prop_assert_eq!(&read_owner, &owner.to_ascii_lowercase());
            proptest::prop_assert_eq!(&read_name, &name.to_ascii_lowercase());
            proptest::prop_assert_eq!(record + PREPARED_HEAD + len, next);
            proptest::prop_assert_eq!(read(reply.out, target.into()).0, read_name);
            proptest::prop_assert!(pointers <= 3 && len <= name.len().max(2), "{} {}", pointers, len);
            record = next;
        }
        proptest::prop_assert_eq!(record, reply.at);
        proptest::prop_assert_eq!(usize::from(reply.counts[2]), names.len());
    }

    /// So is every name of a chain, whose owner is the target before.
    #[test]
    fn names_of_a_chain_are_read_as_they_were(names in vec(vec("[aAbB]{1,2}", 0..9), 2..20)) {
        let names: Vec<Vec<u8>> = names.iter().map(|labels| wire(labels)).collect();
        let mut out = vec![0; 65_535];
        let mut reply = begin(&mut out, &names[0]);
        let mut owner = Pieces::whole(QUESTION_AT, names[0].len());
        for pair in names.windows(2) {
            let (record, rdata) = (prepared(rtype::CNAME, &pair[1]), [&pair[1][..]].into_iter());
            let end = share_ends(&pair[0], rtype::CNAME, rdata)[0];
            let start = reply.at;
            let target = reply.cname(&owner, &record, end).unwrap();
            proptest::prop_assert_eq!(reply.next_record(start), reply.at);
            proptest::prop_assert_eq!(read(reply.out, start).0, pair[0].to_ascii_lowercase());
            let (name, _, pointers) = read(reply.out, start + PREPARED_HEAD);
            proptest::prop_assert_eq!(&name, &pair[1].to_ascii_lowercase());
            proptest::prop_assert_eq!(read(reply.out, target.at().into()).0, name);
            proptest::prop_assert_eq!(target.name_len(), pair[1].len());
            proptest::prop_assert!(pointers <= 4, "{}", pointers);
            owner = target;
        }
    }
}

#[test]
fn what_does_not_fit_leaves_nothing() {
    let mut out = [0; 512];
    let mut reply = ReplyWriter::begin(&mut out, 60, 0, Some(b"\x01a\x00\x00\x01\x00\x01"));
    let (before, record) = (reply.at, prepared(rtype::A, &[192, 0, 2, 1]));
    assert_eq!(reply.rrset(Section::Answer, Owner::At(12), &record.repeat(3), None), Err(Full));
    let names = [
        prepared(rtype::MX, b"\x00\x01\x01b\x01a\x00"),
        prepared(rtype::MX, &[&[0, 1, 40][..], &[7; 40], &[0]].concat()),
    ];
    let ends = share_ends(b"\x01a\x00", rtype::MX, [&names[0][12..], &names[1][12..]].into_iter());
    let records = names.concat();
    let naming = Naming { records: &records, ends: &ends, least_len: least_len(&records, &ends) };
    assert_eq!(reply.rrset_naming(Section::Answer, &Pieces::whole(12, 3), naming, None), Err(Full));
    assert_eq!((reply.at, reply.has(Section::Answer)), (before, false));
    assert_eq!(reply.rrset(Section::Answer, Owner::At(12), &record.repeat(2), Some(5)), Ok(before));
    assert_eq!((reply.at, reply.counts[1]), (before + 32, 2));
    assert_eq!(reply.out[before..before + 12], [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
}
