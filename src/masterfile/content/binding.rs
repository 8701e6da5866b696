//! SVCB and HTTPS records (RFC 9460): the text form of their parameters, and the rules that the parameters must
//! satisfy, in text form or as octets. Pure.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use domain::utils::base64;

use crate::masterfile::content::name_len;
use crate::masterfile::content::{ContentFields, Wrong, unescaped};
use crate::masterfile::names;

/// The names of parameters and their numbers (IANA, DNS Service Parameter Keys).
const KEYS: [(&str, u16); 10] = [
    ("mandatory", MANDATORY),
    ("alpn", ALPN),
    ("no-default-alpn", NO_DEFAULT_ALPN),
    ("port", PORT),
    ("ipv4hint", IPV4HINT),
    ("ech", ECH),
    ("ipv6hint", IPV6HINT),
    ("dohpath", DOHPATH),
    ("ohttp", OHTTP),
    ("tls-supported-groups", TLS_SUPPORTED_GROUPS),
];
const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
/// RFC 9461, 5.
const DOHPATH: u16 = 7;
/// RFC 9540, 4.
const OHTTP: u16 = 8;
const TLS_SUPPORTED_GROUPS: u16 = 9;

const NO_KEY: &str = "expected a parameter such as `alpn=h2` or `key65400=x`";
const NO_VALUE: &str = "expected a value in RFC 9460's form";
const TWICE: &str = "it has a key that this record already has";
const NEEDS_ALPN: &str = "it needs `alpn` in the same record (RFC 9460, 7.1.1)";
const NOT_THERE: &str = "it names a parameter that the record does not have (RFC 9460, 8)";

/// Values by key; the wire form has them in this order.
type Params = BTreeMap<u16, Vec<u8>>;

/// Priority, target and parameters (RFC 9460, 2.1). `origin` is in wire form.
pub(super) fn binding(fields: &mut ContentFields<'_>, origin: &[u8]) -> Result<Vec<u8>, Wrong> {
    let priority = fields.number::<u16>()?;
    let target = names::resolve(fields.next()?, origin).map_err(|_| fields.wrong("expected a name"))?;
    let (mut params, mut places) = (Params::new(), BTreeMap::new());
    while fields.peek().is_some() {
        let (key, value) = param(fields.next()?).map_err(|reason| fields.wrong(reason))?;
        if let Some(reason) = value_fault(key, &value) {
            return Err(fields.wrong(reason));
        }
        if params.insert(key, value).is_some() {
            return Err(fields.wrong(TWICE));
        }
        places.insert(key, fields.at - 1);
    }
    if let Some((key, reason)) = inconsistency(&params) {
        return Err(Wrong { at: places.get(&key).copied().unwrap_or(fields.at), reason });
    }
    let mut octets = [&priority.to_be_bytes(), target.as_slice()].concat();
    for (key, value) in params {
        let len = u16::try_from(value.len()).map_err(|_| fields.wrong("it is longer than 65535 octets"))?;
        octets.extend([key.to_be_bytes(), len.to_be_bytes()].concat());
        octets.extend(value);
    }
    Ok(octets)
}

/// What is wrong with the octets of a SVCB or HTTPS record.
pub(super) fn fault(rdata: &[u8]) -> Option<&'static str> {
    const CUT: &str = "its parameters are cut short";
    let after_priority = rdata.get(2..)?;
    let (mut rest, mut params) = (after_priority.get(name_len(after_priority)?..)?, Params::new());
    while !rest.is_empty() {
        let Some(([k1, k2, l1, l2], after)) = rest.split_first_chunk::<4>() else { return Some(CUT) };
        let key = u16::from_be_bytes([*k1, *k2]);
        let Some((value, next)) = after.split_at_checked(usize::from(u16::from_be_bytes([*l1, *l2]))) else {
            return Some(CUT);
        };
        if params.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Some("its parameters are not in rising order (RFC 9460, 2.2)");
        }
        if value_fault(key, value).is_some() {
            return Some("a parameter has a value that its key can't have (RFC 9460, 7)");
        }
        params.insert(key, value.to_vec());
        rest = next;
    }
    inconsistency(&params).map(|(key, _)| match key {
        NO_DEFAULT_ALPN => "it has `no-default-alpn` without `alpn` (RFC 9460, 7.1.1)",
        _ => "`mandatory` names a parameter that is not there (RFC 9460, 8)",
    })
}

/// Parameters that contradict each other: the key of the wrong one, and the reason.
fn inconsistency(params: &Params) -> Option<(u16, &'static str)> {
    if params.contains_key(&NO_DEFAULT_ALPN) && !params.contains_key(&ALPN) {
        return Some((NO_DEFAULT_ALPN, NEEDS_ALPN));
    }
    let wanted = params.get(&MANDATORY).map(Vec::as_slice).unwrap_or_default();
    let missing = wanted.chunks_exact(2).any(|key| !params.contains_key(&u16::from_be_bytes([key[0], key[1]])));
    missing.then_some((MANDATORY, NOT_THERE))
}

/// What is wrong with a value in wire form. The value of an unknown key may be anything.
fn value_fault(key: u16, value: &[u8]) -> Option<&'static str> {
    let pairs = || value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let whole = |len: usize| !value.is_empty() && value.len().is_multiple_of(len);
    let (fits, expected) = match key {
        MANDATORY => (
            whole(2) && pairs().is_sorted_by(|one, next| one < next) && pairs().all(|key| key != MANDATORY),
            "expected other keys, each once (RFC 9460, 8)",
        ),
        ALPN => (is_alpn(value), "expected ALPN ids, none of them empty, such as `alpn=h2,h3`"),
        NO_DEFAULT_ALPN => (value.is_empty(), "expected `no-default-alpn` without a value"),
        PORT => (value.len() == 2, "expected a port, such as `port=443`"),
        IPV4HINT => (whole(4), "expected IPv4 addresses, such as `ipv4hint=192.0.2.1,192.0.2.2`"),
        ECH => (!value.is_empty(), "expected an ECHConfigList in Base64"),
        IPV6HINT => (whole(16), "expected IPv6 addresses, such as `ipv6hint=2001:db8::1`"),
        DOHPATH => (is_dohpath(value), "expected a path with the variable `dns`, such as `dohpath=/dns-query{?dns}`"),
        OHTTP => (value.is_empty(), "expected `ohttp` without a value"),
        TLS_SUPPORTED_GROUPS => (whole(2), "expected numbers of groups, such as `tls-supported-groups=29,23`"),
        _ => (true, ""),
    };
    (!fits).then_some(expected)
}

/// One or more ids of 1 to 255 octets, each after its length (RFC 9460, 7.1.1).
fn is_alpn(mut value: &[u8]) -> bool {
    if value.is_empty() {
        return false;
    }
    while let Some((&len, rest)) = value.split_first() {
        match rest.split_at_checked(usize::from(len)) {
            Some((id, next)) if !id.is_empty() => value = next,
            Some(_) | None => return false,
        }
    }
    true
}

/// A relative URI template in UTF-8 with the variable `dns` (RFC 9461, 5; RFC 6570).
fn is_dohpath(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let mut expressions = text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(inside, _)| inside);
    let has_dns = expressions.any(|inside| {
        let variables = inside.trim_start_matches(['+', '#', '.', '/', ';', '?', '&']);
        variables.split(',').any(|variable| variable.trim_end_matches('*') == "dns")
    });
    text.starts_with('/') && has_dns
}

/// `key`, `key=value` or `key="value"`: the key's number and the value in wire form.
fn param(field: &[u8]) -> Result<(u16, Vec<u8>), &'static str> {
    let (key, written) = match field.iter().position(|byte| *byte == b'=') {
        Some(at) => (&field[..at], &field[at + 1..]),
        None => (field, &[][..]),
    };
    let key = std::str::from_utf8(key).map_err(|_| NO_KEY)?;
    let inner = match written.strip_prefix(b"\"") {
        Some(rest) => rest.strip_suffix(b"\"").ok_or("it needs a space after its closing quote")?,
        None => written,
    };
    if has_quote(inner) {
        return Err("it has a quote within its value; write `\\\"`");
    }
    let text = unescaped(inner).ok_or("it has an invalid escape; write `\\` and three digits up to 255")?;
    if let Some((_, number)) = KEYS.iter().find(|(name, _)| *name == key) {
        return Ok((*number, named_value(*number, inner, text).ok_or_else(|| expected_of(*number))?));
    }
    // The form for unknown keys: the octets are the value in wire form (RFC 9460, 2.1).
    Ok((numbered(key).ok_or(NO_KEY)?, text))
}

/// The message for a value that does not have the form of its key.
fn expected_of(key: u16) -> &'static str {
    // An empty value is wrong for most keys, and a value that is not empty for keys that have none.
    value_fault(key, &[]).or_else(|| value_fault(key, &[0])).unwrap_or(NO_VALUE)
}

/// Whether there is an unescaped quote.
fn has_quote(text: &[u8]) -> bool {
    let mut escaped = false;
    text.iter().any(|byte| {
        let bare = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        bare
    })
}

/// `key65400`: no leading zeros, up to 65535.
fn numbered(key: &str) -> Option<u16> {
    let digits = key.strip_prefix("key")?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && (digits == "0" || !digits.starts_with('0'))).then(|| digits.parse().ok()).flatten()
}

/// The wire form of a value that is in the text form of its key. `written` still has its escapes, which most keys
/// forbid; in `text` they are replaced.
fn named_value(key: u16, written: &[u8], text: Vec<u8>) -> Option<Vec<u8>> {
    if key == ALPN {
        return ids(&text);
    }
    if key == DOHPATH || text.is_empty() {
        return Some(text);
    }
    // RFC 9460, 7.2, 7.3 and 8: no escapes.
    let plain = std::str::from_utf8(written).ok().filter(|plain| !plain.contains('\\'))?;
    match key {
        MANDATORY => {
            let keys = plain.split(',').map(|name| {
                KEYS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number).or_else(|| numbered(name))
            });
            let mut keys: Vec<u16> = keys.collect::<Option<_>>()?;
            keys.sort_unstable();
            Some(keys.into_iter().flat_map(u16::to_be_bytes).collect())
        }
        PORT => number(plain).map(|port| port.to_be_bytes().to_vec()),
        IPV4HINT => list(plain, |ip| Some(ip.parse::<Ipv4Addr>().ok()?.octets())),
        IPV6HINT => list(plain, |ip| Some(ip.parse::<Ipv6Addr>().ok()?.octets())),
        ECH => base64::decode(plain).ok(),
        TLS_SUPPORTED_GROUPS => list(plain, |group| number(group).map(u16::to_be_bytes)),
        // The other keys have no value; `value_fault` reports one.
        _ => Some(text),
    }
}

/// The wire form of items with commas between them.
fn list<const N: usize>(text: &str, item: impl Fn(&str) -> Option<[u8; N]>) -> Option<Vec<u8>> {
    let items: Option<Vec<[u8; N]>> = text.split(',').map(item).collect();
    items.map(|items| items.concat())
}

fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A list of ids with commas between them; within an id a comma is `\,` and a backslash `\\` (RFC 9460, A.1).
fn ids(text: &[u8]) -> Option<Vec<u8>> {
    let (mut value, mut id) = (Vec::new(), Vec::new());
    let mut rest = text.iter();
    loop {
        match rest.next() {
            Some(b'\\') => id.push(*rest.next().filter(|next| b",\\".contains(next))?),
            Some(b',') | None if id.is_empty() => return None,
            Some(b',') => close(&mut id, &mut value)?,
            None => {
                close(&mut id, &mut value)?;
                return Some(value);
            }
            Some(byte) => id.push(*byte),
        }
    }
}

fn close(id: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<()> {
    value.push(u8::try_from(id.len()).ok()?);
    value.append(id);
    Some(())
}
