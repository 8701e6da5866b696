//! Prepared records: whole (RFC 1035, 3.2.1), nothing compressed but the owner, which is a pointer to the question's
//! name. A reply copies them, and writes the pointer that it needs.

use crate::wire::code::class;

/// A pointer to the question's name (RFC 1035, 4.1.4), which begins at octet 12.
pub const OWNER_IS_QUESTION: [u8; 2] = [0xC0, 0x0C];
/// Octets of a prepared record before its RDATA: owner pointer, type, class, TTL, RDLENGTH.
pub const PREPARED_HEAD: usize = 12;

/// Adds a prepared record of class IN.
pub fn put_prepared(bytes: &mut Vec<u8>, rtype: u16, ttl: u32, rdata: &[u8]) {
    bytes.extend_from_slice(&OWNER_IS_QUESTION);
    bytes.extend_from_slice(&rtype.to_be_bytes());
    bytes.extend_from_slice(&class::IN.to_be_bytes());
    bytes.extend_from_slice(&ttl.to_be_bytes());
    bytes.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    bytes.extend_from_slice(rdata);
}

/// Prepared records that are one after the other, each with its head.
pub fn each_prepared(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let head = rest.first_chunk::<PREPARED_HEAD>()?;
        let len = PREPARED_HEAD + usize::from(u16::from_be_bytes([head[10], head[11]]));
        let (record, next) = rest.split_at_checked(len)?;
        rest = next;
        Some(record)
    })
}
