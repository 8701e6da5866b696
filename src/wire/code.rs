//! The numbers of DNS that answering depends on (IANA, Domain Name System Parameters).

/// Record and question types.
pub mod rtype {
    #![expect(missing_docs, reason = "the names are the types' own")]

    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const MD: u16 = 3;
    pub const MF: u16 = 4;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const MB: u16 = 7;
    pub const MG: u16 = 8;
    pub const MR: u16 = 9;
    pub const PTR: u16 = 12;
    pub const MINFO: u16 = 14;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AFSDB: u16 = 18;
    pub const RT: u16 = 21;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const KX: u16 = 36;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const DS: u16 = 43;
    pub const RRSIG: u16 = 46;
    pub const NSEC: u16 = 47;
    pub const SVCB: u16 = 64;
    pub const HTTPS: u16 = 65;
    pub const TSIG: u16 = 250;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;
}

/// Classes.
pub mod class {
    /// The Internet: the only one that is served.
    pub const IN: u16 = 1;
    /// CHAOS: only for questions about the server itself (RFC 4892).
    pub const CH: u16 = 3;
    /// Any class; a reply to it can't be authoritative (RFC 1035, 3.2.5).
    pub const ANY: u16 = 255;
}

/// Opcodes.
pub mod opcode {
    /// A standard query.
    pub const QUERY: u8 = 0;
    /// RFC 1996.
    pub const NOTIFY: u8 = 4;
    /// RFC 2136.
    pub const UPDATE: u8 = 5;
}

/// Response codes, whole: those over 15 need an OPT record.
pub mod rcode {
    /// No error.
    pub const NOERROR: u16 = 0;
    /// The response codes of RFC 1035 with their mnemonics, for monitors.
    pub const MNEMONICS: [(u16, &str); 6] =
        [(0, "NOERROR"), (1, "FORMERR"), (2, "SERVFAIL"), (3, "NXDOMAIN"), (4, "NOTIMP"), (5, "REFUSED")];
    /// The message is malformed.
    pub const FORMERR: u16 = 1;
    /// The zone is ours, but cannot be served.
    pub const SERVFAIL: u16 = 2;
    /// The name doesn't exist.
    pub const NXDOMAIN: u16 = 3;
    /// The opcode is not supported.
    pub const NOTIMP: u16 = 4;
    /// Not answered, by policy.
    pub const REFUSED: u16 = 5;
    /// A DNAME would make a name that is too long (RFC 6672, 2.2).
    pub const YXDOMAIN: u16 = 6;
    /// Signed with an unknown key (RFC 8945, 5.2.1).
    pub const NOTAUTH: u16 = 9;
    /// An unknown EDNS version (RFC 6891, 9).
    pub const BADVERS: u16 = 16;
    /// The server cookie is not ours, or too old (RFC 7873, 5.2.3).
    pub const BADCOOKIE: u16 = 23;
}

/// Bits of the second 16 of the header (RFC 1035, 4.1.1).
pub mod flag {
    /// This is a response.
    pub const QR: u16 = 0x8000;
    /// Authoritative answer.
    pub const AA: u16 = 0x0400;
    /// Truncated.
    pub const TC: u16 = 0x0200;
    /// Recursion desired: copied from the query.
    pub const RD: u16 = 0x0100;
}

/// Where RDATA has the name whose addresses belong into the additional section.
pub fn target_offset(rtype: u16) -> Option<usize> {
    match rtype {
        rtype::NS => Some(0),
        rtype::MX | rtype::AFSDB | rtype::RT | rtype::KX | rtype::SVCB | rtype::HTTPS => Some(2),
        rtype::SRV => Some(6),
        _ => None,
    }
}
