//! Content that has the form of its type and is invalid all the same: a digest of the wrong length, a missing key, a
//! type that no zone has. Pure.

use super::binding;
use crate::masterfile::content::name_len;
use crate::wire::code::rtype::{DS, HTTPS, NSEC, OPT, SVCB};

/// The reason for a type that exists in messages only.
pub(in crate::masterfile) const FOR_MESSAGES: &str = "this type is for messages, a zone has none";

const EMPTY: &str = "its content is missing";
const NO_KEY: &str = "its key is missing";
const NO_TYPES: &str = "it lists no types";

const KEY: u16 = 25;
const X25: u16 = 19;
const LOC: u16 = 29;
const CERT: u16 = 37;

const SSHFP: u16 = 44;

const DNSKEY: u16 = 48;
const NSEC3: u16 = 50;
const TLSA: u16 = 52;
const SMIMEA: u16 = 53;
const RKEY: u16 = 57;
const CDS: u16 = 59;
const CDNSKEY: u16 = 60;

const EUI48: u16 = 108;
const EUI64: u16 = 109;
const CAA: u16 = 257;
const TA: u16 = 32768;
const DLV: u16 = 32769;

/// Whether a type is a meta type or a query type (RFC 6895, 3.1).
pub(in crate::masterfile) fn is_for_messages(rtype: u16) -> bool {
    matches!(rtype, 0 | OPT | 128..=255)
}

/// What is wrong with the content of a record, however it was written.
pub(in crate::masterfile) fn fault(rtype: u16, rdata: &[u8]) -> Option<&'static str> {
    match rtype {
        _ if is_for_messages(rtype) => Some(FOR_MESSAGES),
        // TXT, DHCID, NINFO, OPENPGPKEY, SPF, AVC, RESINFO and WALLET
        16 | 49 | 56 | 61 | 99 | 258 | 261 | 262 => rdata.is_empty().then_some(EMPTY),
        CAA => (rdata.get(1) == Some(&0)).then_some("its tag is empty"),
        CERT => (rdata.len() <= 5).then_some("its certificate is missing"),
        DNSKEY | CDNSKEY | RKEY => (rdata.len() <= 4).then_some(NO_KEY),
        // Both of the first bits set: there is no key (RFC 2535, 3.1.2).
        KEY => (rdata.len() <= 4 && rdata.first().is_some_and(|flags| flags >> 6 != 3)).then_some(NO_KEY),
        DS | CDS | DLV | TA => digest(rdata),
        EUI48 => (rdata.len() != 6).then_some("it is not 6 octets long"),
        EUI64 => (rdata.len() != 8).then_some("it is not 8 octets long"),
        LOC => location(rdata),
        NSEC => (name_len(rdata)? == rdata.len()).then_some(NO_TYPES),
        NSEC3 => {
            let salt_len = usize::from(*rdata.get(4)?);
            (rdata.get(5 + salt_len) == Some(&0)).then_some("its hash is empty")
        }
        SSHFP => fingerprint(rdata),
        SVCB | HTTPS => binding::fault(rdata),
        TLSA | SMIMEA => (rdata.len() <= 3).then_some("its certificate data is missing"),
        X25 => {
            let digits = rdata.get(1..).unwrap_or_default();
            let is_address = digits.len() >= 4 && digits.iter().all(u8::is_ascii_digit);
            (!is_address).then_some("its address is not four digits or more (RFC 1183, 3.1)")
        }
        _ => None,
    }
}

/// RFC 4034, 5.1.3 and its successors; an unknown digest type may have any length.
fn digest(rdata: &[u8]) -> Option<&'static str> {
    let digest = rdata.len().saturating_sub(4);
    let expected = match rdata.get(3) {
        Some(1) => 20,
        Some(2 | 3) => 32,
        Some(4) => 48,
        Some(_) | None => digest,
    };
    (digest != expected).then_some("its digest is not as long as its digest type's are")
}

/// RFC 4255, 3.1.3, and RFC 6594, 4.
fn fingerprint(rdata: &[u8]) -> Option<&'static str> {
    let fingerprint = rdata.len().saturating_sub(2);
    let fits = match rdata.get(1) {
        Some(1) => fingerprint == 20,
        Some(2) => fingerprint == 32,
        Some(_) | None => fingerprint > 0,
    };
    (!fits).then_some("its fingerprint is not as long as its type's are")
}

/// RFC 1876, 2: in version 0 there are 16 octets, and sizes are a digit times a power of ten.
fn location(rdata: &[u8]) -> Option<&'static str> {
    if rdata.first() != Some(&0) {
        return None;
    }
    let is_precision = |octet: &u8| octet >> 4 <= 9 && octet & 15 <= 9;
    let fits = rdata.len() == 16 && rdata.get(1..4)?.iter().all(is_precision);
    (!fits).then_some("its octets are not those of a place (RFC 1876, 2)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_have_a_length_and_some_types_no_place() {
        for (rtype, rdata, is_fine) in [
            (43, [&[0, 1, 13, 2], [0; 32].as_slice()].concat(), true),
            (43, [&[0, 1, 13, 2], [0; 31].as_slice()].concat(), false),
            (43, vec![0, 1, 13, 77, 5], true),
            (59, vec![0, 0, 0, 0, 0], true),
            (44, [&[4, 2], [0; 32].as_slice()].concat(), true),
            (44, vec![4, 2], false),
            (44, vec![4, 9, 1], true),
            (52, vec![3, 1, 1], false),
            (52, vec![3, 1, 1, 0], true),
            (41, vec![], false),
            (255, vec![], false),
            (256, vec![], true),
            (65280, vec![], true),
        ] {
            assert_eq!(fault(rtype, &rdata).is_none(), is_fine, "{rtype} {rdata:?}");
        }
    }

    #[test]
    fn what_a_type_cannot_do_without_is_not_missing() {
        for (rtype, rdata, is_fine) in [
            (16, vec![], false),
            (16, vec![0], true),
            (257, vec![0, 0, b'x'], false),
            (257, vec![0, 1, b'x'], true),
            (48, vec![1, 0, 3, 13], false),
            (60, vec![0, 0, 3, 0, 0], true),
            (25, vec![0xC0, 0, 3, 1], true),
            (25, vec![0x40, 0, 3, 1], false),
            (47, vec![1, b'a', 0], false),
            (47, vec![1, b'a', 0, 0, 1, 64], true),
            (50, vec![1, 0, 0, 0, 0, 0], false),
            (50, vec![1, 0, 0, 0, 1, 7, 1, 9], true),
            (29, vec![0; 16], true),
            (29, vec![0; 15], false),
            (29, [&[0, 0xAA], [0; 14].as_slice()].concat(), false),
            (29, vec![1], true),
            (108, vec![0; 5], false),
            (19, b"\x04abcd".to_vec(), false),
            (19, b"\x041234".to_vec(), true),
        ] {
            assert_eq!(fault(rtype, &rdata).is_none(), is_fine, "{rtype} {rdata:?}");
        }
    }
}
