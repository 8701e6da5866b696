//! The question section (RFC 1035, 4.1.2) of a query.

use crate::wire::NameBuf;

/// The question of a query.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The name, folded to lower case.
    pub name: &'a NameBuf,
    /// The whole question as it was received, to be repeated octet for octet (draft-vixie-dnsext-dns0x20).
    pub wire: &'a [u8],
    /// QTYPE.
    pub qtype: u16,
    /// QCLASS.
    pub qclass: u16,
}

impl<'a> Question<'a> {
    /// The question at the start of `body`; its name is put into `name`. It is not compressed, because nothing before
    /// it can be pointed at.
    pub(super) fn parse(body: &'a [u8], name: &'a mut NameBuf) -> Option<Question<'a>> {
        name.read(body)?;
        let name_len = name.as_wire().len();
        let wire = body.get(..name_len + 4)?;
        let fixed = wire.last_chunk::<4>()?;
        Some(Question {
            name,
            wire,
            qtype: u16::from_be_bytes([fixed[0], fixed[1]]),
            qclass: u16::from_be_bytes([fixed[2], fixed[3]]),
        })
    }
}
