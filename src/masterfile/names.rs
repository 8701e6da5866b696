//! Which tokens of an entry are names, and which name each of them is (RFC 1035, 5.1): `@` alone is the origin, `\@`
//! is a label, and a token in quotes is not a name. Pure. `line` passes every name of an entry through [`resolve`],
//! so that a token is the same name as an owner, in a directive and in the content of any type.

use crate::masterfile::head::EntryHead;
use crate::wire::{Name, NameError};

/// Why a token is not a name where a name is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotAName {
    /// It is in quotes, which would be a part of the name. Knot and BIND refuse that too.
    Quoted,
    /// It breaks the rules of names.
    Broken(NameError),
}

/// Types with names in their content, and which fields are names, from 0 (RFC 1035, 3.3; 1183; 1348; 2163; 2230; 2782;
/// 2915; 4034; 6672; 6742; 9460).
const POSITIONS: [(&str, &[usize]); 30] = [
    ("AFSDB", &[1]),
    ("CNAME", &[0]),
    ("DNAME", &[0]),
    ("HTTPS", &[1]),
    ("KX", &[1]),
    ("LP", &[1]),
    ("MB", &[0]),
    ("MD", &[0]),
    ("MF", &[0]),
    ("MG", &[0]),
    ("MINFO", &[0, 1]),
    ("MR", &[0]),
    ("MX", &[1]),
    ("NAPTR", &[5]),
    ("NS", &[0]),
    ("NSAP-PTR", &[0]),
    ("NSEC", &[0]),
    ("NXT", &[0]),
    ("PTR", &[0]),
    ("PX", &[1, 2]),
    ("RP", &[0, 1]),
    ("RRSIG", &[7]),
    ("RT", &[1]),
    ("SIG", &[7]),
    ("SOA", &[0, 1]),
    ("SRV", &[3]),
    ("SVCB", &[1]),
    ("TALINK", &[0, 1]),
    ("TKEY", &[0]),
    ("TSIG", &[0]),
];

/// Types with a gateway or relay that is a name if another field says so (RFC 4025, 2.5; 8777, 4.3): the type, the
/// number of that other field, its value for a name, and the number of the field that is the name.
const GATEWAYS: [(&str, usize, &[u8], usize); 2] = [("IPSECKEY", 1, b"3", 3), ("AMTRELAY", 2, b"3", 3)];

/// The tokens of an entry that are names; `content` is the index of the token after the type or directive.
pub(super) fn positions(head: &EntryHead, indented: bool, texts: &[&[u8]], content: usize) -> Vec<usize> {
    let rtype = match head {
        EntryHead::Directive(name) if name == "$ORIGIN" => return vec![1],
        EntryHead::Directive(name) if name == "$INCLUDE" => return vec![2],
        EntryHead::Directive(_) => return Vec::new(),
        EntryHead::Record { rtype, .. } => rtype.as_str(),
    };
    let owner = (!indented).then_some(0);
    let fields = texts.get(content..).unwrap_or_default();
    if fields.first() == Some(&b"\\#".as_slice()) {
        return owner.into_iter().collect();
    }
    let fixed = POSITIONS.iter().filter(|(name, _)| *name == rtype).flat_map(|(_, at)| at.iter().copied());
    let chosen = GATEWAYS.iter().filter(|(name, ..)| *name == rtype);
    let chosen = chosen.filter(|(_, kind, named, _)| fields.get(*kind) == Some(named)).map(|(.., at)| *at);
    owner.into_iter().chain(fixed.chain(chosen).map(|at| content + at)).collect()
}

/// The first and the last field of a type's content that may be in quotes: texts (RFC 1035, 3.3; 1183; 1712; 3403;
/// 7553; 8659), and the parameters of SVCB (RFC 9460, 2.1). The tag of CAA is not a text, but Knot and NSD accept
/// quotes around it.
const TEXTS: [(&str, usize, usize); 15] = [
    ("AVC", 0, usize::MAX),
    ("CAA", 1, 2),
    ("GPOS", 0, 2),
    ("HINFO", 0, 1),
    ("HTTPS", 2, usize::MAX),
    ("ISDN", 0, 1),
    ("NAPTR", 2, 4),
    ("NINFO", 0, usize::MAX),
    ("RESINFO", 0, usize::MAX),
    ("SPF", 0, usize::MAX),
    ("SVCB", 2, usize::MAX),
    ("TXT", 0, usize::MAX),
    ("URI", 2, 2),
    ("WALLET", 0, usize::MAX),
    ("X25", 0, 0),
];

/// The first token that is in quotes but is not a text; `content` is the index of the token after the type or
/// directive.
pub(super) fn needless_quotes(head: &EntryHead, texts: &[&[u8]], content: usize) -> Option<usize> {
    let by_octets = texts.get(content) == Some(&b"\\#".as_slice());
    let allowed = match head {
        EntryHead::Directive(name) if name == "$INCLUDE" => 1..=1,
        EntryHead::Directive(_) => return texts.iter().position(|text| text.starts_with(b"\"")),
        EntryHead::Record { rtype, .. } => match TEXTS.iter().find(|(name, ..)| name == rtype).filter(|_| !by_octets) {
            Some((_, first, last)) => content + first..=last.saturating_add(content),
            None => return texts.iter().position(|text| text.starts_with(b"\"")),
        },
    };
    texts.iter().enumerate().position(|(at, text)| text.starts_with(b"\"") && !allowed.contains(&at))
}

/// The name that a token means, in wire form, its case unchanged. `origin` is in wire form.
pub(super) fn resolve(token: &[u8], origin: &[u8]) -> Result<Vec<u8>, NotAName> {
    if token.starts_with(b"\"") {
        return Err(NotAName::Quoted);
    }
    Name::wire_under(&plain(token), origin).map_err(NotAName::Broken)
}

/// A token in printable ASCII; other octets are written as escapes.
pub(super) fn plain(token: &[u8]) -> String {
    let mut text = String::with_capacity(token.len());
    for &byte in token {
        match byte {
            0x20..=0x7e => text.push(char::from(byte)),
            other => text.push_str(&format!("\\{other:03}")),
        }
    }
    text
}

/// A name in wire form as the text of an absolute name, its case unchanged.
pub(super) fn text_of(mut wire: &[u8]) -> String {
    let mut text = String::new();
    while let Some((&len, rest)) = wire.split_first() {
        let (label, after) = rest.split_at_checked(usize::from(len)).unwrap_or((rest, &[]));
        for &byte in label {
            match byte {
                byte if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) => text.push(char::from(byte)),
                other => text.push_str(&format!("\\{other:03}")),
            }
        }
        if len > 0 || text.is_empty() {
            text.push('.');
        }
        wire = after;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &[u8] = b"\x03Sub\x07example\x00";

    #[test]
    fn only_a_free_standing_at_sign_is_the_origin() {
        for (token, name) in [
            (&b"@"[..], Ok(ORIGIN.to_vec())),
            (b"\\@", Ok([b"\x01@", ORIGIN].concat())),
            (b"\\064", Ok([b"\x01@", ORIGIN].concat())),
            (b"a@", Ok([b"\x02a@", ORIGIN].concat())),
            (b"@.", Ok(b"\x01@\x00".to_vec())),
            (b".", Ok(b"\x00".to_vec())),
            (b"WWW", Ok([b"\x03WWW", ORIGIN].concat())),
            (b"\xe9", Ok([b"\x01\xe9", ORIGIN].concat())),
            (b"\"@\"", Err(NotAName::Quoted)),
            (b"a..b", Err(NotAName::Broken(NameError::EmptyLabel))),
        ] {
            assert_eq!(resolve(token, ORIGIN), name, "{}", token.escape_ascii());
        }
    }

    #[test]
    fn a_name_as_text_is_read_as_the_same_name() {
        for wire in [&b"\x00"[..], ORIGIN, b"\x05a.b\\@\x01\x00\x00"] {
            assert_eq!(resolve(text_of(wire).as_bytes(), b"\x05other\x00"), Ok(wire.to_vec()), "{}", text_of(wire));
        }
    }

    #[test]
    fn only_texts_are_in_quotes() {
        let record = |rtype: &str| EntryHead::Record { rtype: rtype.into(), ttl: None };
        for (head, fields, content, wrong) in [
            (record("TXT"), "a TXT \"x\" y", 2, None),
            (record("TXT"), "a \"5\" TXT x", 3, Some(1)),
            (record("TXT"), "a TXT \\# 2 \"0161\"", 2, Some(4)),
            (record("CAA"), "a CAA 0 \"issue\" \"x\"", 2, None),
            (record("CAA"), "a CAA \"0\" issue \"x\"", 2, Some(2)),
            (record("NAPTR"), "a NAPTR 1 1 \"\" \"\" \"\" .", 2, None),
            (record("HTTPS"), "a HTTPS 1 . alpn= \"h2\"", 2, None),
            (record("A"), "a A \"192.0.2.1\"", 2, Some(2)),
            (EntryHead::Directive("$TTL".into()), "$TTL \"5\"", 1, Some(1)),
            (EntryHead::Directive("$INCLUDE".into()), "$INCLUDE \"a\"", 1, None),
        ] {
            let texts: Vec<&[u8]> = fields.split(' ').map(str::as_bytes).collect();
            assert_eq!(needless_quotes(&head, &texts, content), wrong, "{fields}");
        }
    }
}
