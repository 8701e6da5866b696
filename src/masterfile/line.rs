//! Rewrites one entry as a single line that the scanner of the `domain` crate can read, and maps the scanner's columns
//! back to tokens. The scanner does not accept `1h` as a TTL, `@` as a name within content, or octets beyond ASCII, and
//! it does not know the text form of all types. This module finds the TTL, the type and the names of an entry; it
//! doesn't check the record.

use domain::base::Rtype;

use crate::masterfile::content::{self, Wrong};
use crate::masterfile::entry::{MasterEntry, Token};
use crate::masterfile::head::EntryHead;
use crate::masterfile::names::{self, NotAName};

/// Types that have the algorithm of a key in their content, and which field that is (RFC 4034, 2.2, 3.2 and 5.3).
const ALGORITHMS: [(&str, usize); 10] = [
    ("CDNSKEY", 2),
    ("CDS", 1),
    ("DLV", 1),
    ("DNSKEY", 2),
    ("DS", 1),
    ("KEY", 2),
    ("RKEY", 2),
    ("RRSIG", 1),
    ("SIG", 1),
    ("TA", 1),
];

/// An entry as one line for the scanner.
#[derive(Debug)]
pub(super) struct ScannerLine {
    /// The text, with its line feed.
    pub(super) bytes: Vec<u8>,
    /// Where each token begins in it.
    starts: Vec<usize>,
    /// What the entry is.
    pub(super) head: EntryHead,
    /// An error that was found here, with its token; then the scanner does not read the line.
    pub(super) wrong: Option<(usize, Fault)>,
}

/// Types whose content is written like that of another type, which the scanner knows.
const WRITTEN_ALIKE: [(&str, &str); 17] = [
    ("SPF", "TXT"),
    ("NINFO", "TXT"),
    ("AVC", "TXT"),
    ("RESINFO", "TXT"),
    ("WALLET", "TXT"),
    ("AFSDB", "MX"),
    ("KX", "MX"),
    ("RT", "MX"),
    ("LP", "MX"),
    ("SMIMEA", "TLSA"),
    ("DHCID", "OPENPGPKEY"),
    ("TALINK", "RP"),
    ("DLV", "DS"),
    ("TA", "DS"),
    ("KEY", "DNSKEY"),
    ("RKEY", "DNSKEY"),
    ("SIG", "RRSIG"),
];

/// An error in an entry that is found before the scanner reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The content is wrong; the reason is one of the scanner's, for `explain`.
    Content(&'static str),
    /// The token is not a name, where a name is needed.
    Name(NotAName),
    /// The token is in quotes, where no text is expected.
    Quoted,
}

impl ScannerLine {
    /// The line for `entry` of `source`. Relative names are under `origin`, which is in wire form.
    pub(super) fn of(entry: &MasterEntry, source: &[u8], origin: &[u8]) -> ScannerLine {
        let mut texts: Vec<&[u8]> =
            entry.tokens.iter().map(|t| source.get(t.start..t.end).unwrap_or_default()).collect();
        let (head, type_at, mut rewritten) = read_head(entry.indented, &texts);
        let at_sign = if texts.contains(&b"@".as_slice()) { names::text_of(origin) } else { String::new() };
        let mut wrong = None;
        for at in names::positions(&head, entry.indented, &texts, type_at + 1) {
            match texts.get(at).copied() {
                Some(b"@") => texts[at] = at_sign.as_bytes(),
                Some(text) => {
                    let reason = names::resolve(text, origin).err().map(|reason| (at, Fault::Name(reason)));
                    wrong = wrong.or(reason);
                }
                None => {}
            }
        }
        let quoted = names::needless_quotes(&head, &texts, type_at + 1).map(|at| (at, Fault::Quoted));
        wrong = wrong.or_else(|| quoted.into_iter().chain(no_type(&head, &texts, type_at)).min_by_key(|(at, _)| *at));
        let read = match &head {
            EntryHead::Record { rtype, .. } if wrong.is_none() => {
                read_content(rtype, &texts, entry, type_at + 1, origin)
            }
            EntryHead::Record { .. } | EntryHead::Directive(_) => None,
        };
        if let EntryHead::Record { rtype, .. } = &head
            && let Some(number) = content::number_of(rtype)
        {
            rewritten.push((type_at, format!("TYPE{number}")));
        }
        let mut line = ScannerLine { bytes: Vec::new(), starts: Vec::new(), head, wrong };
        if entry.indented {
            line.bytes.push(b' ');
        }
        let plain = if matches!(read, Some(Ok(_))) { type_at + 1 } else { texts.len() };
        for (at, text) in texts.iter().enumerate().take(plain) {
            let apart = at > 0 && entry.tokens[at - 1].end < entry.tokens[at].start;
            if apart {
                line.bytes.push(b' ');
            }
            line.starts.push(line.bytes.len());
            match rewritten.iter().find(|(index, _)| *index == at) {
                Some((_, other)) => line.bytes.extend_from_slice(other.as_bytes()),
                None => line.bytes.extend_from_slice(names::plain(text).as_bytes()),
            }
        }
        match read {
            Some(Ok(octets)) => line.push_octets(&octets),
            Some(Err(Wrong { at, reason })) => line.wrong = Some((at, Fault::Content(reason))),
            None => {}
        }
        line.bytes.push(b'\n');
        line
    }

    /// Adds content in the form for unknown types (RFC 3597, 5).
    fn push_octets(&mut self, octets: &[u8]) {
        self.bytes.extend_from_slice(format!(" \\# {} ", octets.len()).as_bytes());
        octets.iter().for_each(|octet| self.bytes.extend_from_slice(format!("{octet:02x}").as_bytes()));
    }

    /// The token at the scanner's `column`, or the last one before it.
    pub(super) fn token_at<'e>(&self, column: usize, entry: &'e MasterEntry) -> Option<&'e Token> {
        let index = self.starts.partition_point(|start| *start < column).saturating_sub(1);
        entry.tokens.get(index)
    }
}

/// What is wrong with the type of a record: it is unknown, or it is a type that no zone has.
fn no_type(head: &EntryHead, texts: &[&[u8]], type_at: usize) -> Option<(usize, Fault)> {
    let EntryHead::Record { rtype, .. } = head else { return None };
    texts.get(type_at)?;
    let by_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_written_well = rtype.strip_prefix("TYPE").is_none_or(by_number);
    let number = rtype.parse::<Rtype>().ok().map(Rtype::to_int).or_else(|| content::number_of(rtype));
    let reason = match number.filter(|_| is_written_well) {
        Some(number) => content::is_for_messages(number).then_some(content::FOR_MESSAGES)?,
        None => "expected rtype",
    };
    Some((type_at, Fault::Content(reason)))
}

/// The content of a record in wire form, if the scanner can't read its type. An error has the index of its token.
fn read_content(
    rtype: &str,
    texts: &[&[u8]],
    entry: &MasterEntry,
    first: usize,
    origin: &[u8],
) -> Option<Result<Vec<u8>, Wrong>> {
    let plain = texts.get(first..).unwrap_or_default();
    if !matches!(rtype, "HTTPS" | "SVCB") {
        let read = content::octets(rtype, plain, origin)?;
        return Some(read.map_err(|wrong| Wrong { at: first + wrong.at, ..wrong }));
    }
    // `alpn="h2"` is two tokens and one field.
    let (mut fields, mut tokens): (Vec<Vec<u8>>, Vec<usize>) = (Vec::new(), Vec::new());
    for (at, text) in plain.iter().enumerate().map(|(at, text)| (first + at, text)) {
        let goes_on = at > first && entry.tokens[at - 1].end == entry.tokens[at].start;
        match fields.last_mut().filter(|_| goes_on) {
            Some(field) => field.extend_from_slice(text),
            None => {
                fields.push(text.to_vec());
                tokens.push(at);
            }
        }
    }
    let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
    let read = content::octets(rtype, &fields, origin)?;
    Some(read.map_err(|wrong| Wrong { at: tokens.get(wrong.at).copied().unwrap_or(texts.len()), ..wrong }))
}

/// What the entry is, the index of its type's token, and the tokens to replace.
fn read_head(indented: bool, texts: &[&[u8]]) -> (EntryHead, usize, Vec<(usize, String)>) {
    let upper = |at: usize| texts.get(at).map(|t| String::from_utf8_lossy(t).to_ascii_uppercase()).unwrap_or_default();
    let mut rewritten = Vec::new();
    let mut rewrite = |at: usize| {
        if let Some(seconds) = texts.get(at).and_then(|text| seconds(text)) {
            // A number that is too large is refused later: by the scanner, or as a TTL.
            rewritten.push((at, seconds.to_string()));
        }
    };
    if !indented && texts.first().is_some_and(|text| text.starts_with(b"$")) {
        if upper(0) == "$TTL" {
            rewrite(1);
        }
        return (EntryHead::Directive(upper(0)), 0, rewritten);
    }
    let (mut at, mut ttl, mut classed) = (usize::from(!indented), None, false);
    loop {
        let token = upper(at);
        match texts.get(at).and_then(|text| seconds(text)) {
            Some(value) if ttl.is_none() => {
                rewrite(at);
                ttl = Some((value, at));
            }
            _ if !classed && is_class(&token) => classed = true,
            _ => break,
        }
        at += 1;
    }
    let rtype = upper(at);
    if rtype == "SOA" {
        // After the type: names of server and mailbox, serial, then four lengths of time (RFC 1035, 3.3.13).
        (at + 4..at + 8).for_each(rewrite);
    }
    if let Some((_, field)) = ALGORITHMS.iter().find(|(name, _)| *name == rtype) {
        let at = at + 1 + field;
        rewritten.extend(content::algorithm(&upper(at)).map(|number| (at, number.to_string())));
    }
    if let Some((_, alike)) = WRITTEN_ALIKE.iter().find(|(name, _)| *name == rtype) {
        rewritten.push((at, (*alike).to_string()));
    }
    (EntryHead::Record { rtype, ttl }, at, rewritten)
}

fn is_class(token: &str) -> bool {
    let number = token.strip_prefix("CLASS").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    number || ["IN", "CH", "HS"].contains(&token)
}

/// A TTL in seconds: `3600`, or `1h30m`, which all servers accept. `1h30` is not a TTL: BIND and Knot refuse it.
pub(super) fn seconds(text: &[u8]) -> Option<u64> {
    if !text.first()?.is_ascii_digit() {
        return None;
    }
    let (mut total, mut number, mut has_units) = (0u64, None, false);
    for byte in text {
        let unit = match byte.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => {
                let so_far: u64 = number.unwrap_or(0);
                number = Some(so_far.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.saturating_add(number.take()?.saturating_mul(unit));
        has_units = true;
    }
    match number {
        Some(_) if has_units => None,
        Some(seconds) => Some(seconds),
        None => Some(total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masterfile::entry::Entries;

    fn line(text: &str) -> (String, EntryHead) {
        let entry = Entries::new(text.as_bytes()).next().unwrap().unwrap();
        let line = ScannerLine::of(&entry, text.as_bytes(), b"\x06origin\x00");
        (String::from_utf8(line.bytes).unwrap(), line.head)
    }

    #[test]
    fn lengths_of_time_and_octets_are_written_plainly() {
        let record = |rtype: &str, ttl| EntryHead::Record { rtype: rtype.into(), ttl };
        for (text, plain, head) in [
            ("$ttl 1h30m ; c", "$ttl 5400\n", EntryHead::Directive("$TTL".into())),
            ("a 1d IN A 192.0.2.1", "a 86400 IN A 192.0.2.1\n", record("A", Some((86_400, 1)))),
            ("  in 5 txt \"ß\"", " in 5 txt \"\\195\\159\"\n", record("TXT", Some((5, 1)))),
            ("3600 A 192.0.2.1", "3600 A 192.0.2.1\n", record("A", None)),
            ("@ SOA a b (1 1h 2m\n3w 4)", "origin. SOA a b 1 3600 120 1814400 4\n", record("SOA", None)),
            ("@ SOA @ @ 1 2 3 4 5", "origin. SOA origin. origin. 1 2 3 4 5\n", record("SOA", None)),
            ("a MX 10 @ ; @", "a MX 10 origin.\n", record("MX", None)),
            ("a MX 10 \\@", "a MX 10 \\@\n", record("MX", None)),
            ("a TXT @ \"@\"", "a TXT @ \"@\"\n", record("TXT", None)),
            ("$ORIGIN @", "$ORIGIN origin.\n", EntryHead::Directive("$ORIGIN".into())),
            ("$include @ @", "$include @ origin.\n", EntryHead::Directive("$INCLUDE".into())),
            ("a IPSECKEY 10 3 2 @ AQ==", "a IPSECKEY 10 3 2 origin. AQ==\n", record("IPSECKEY", None)),
            ("a DS 1 rsasha256 2 00", "a DS 1 8 2 00\n", record("DS", None)),
            ("a DNSKEY 256 3 ED25519 AQ==", "a DNSKEY 256 3 15 AQ==\n", record("DNSKEY", None)),
            ("a SPF \"v\"", "a TXT \"v\"\n", record("SPF", None)),
            ("a EUI48 00-00-5e-00-53-2a", "a EUI48 \\# 6 00005e00532a\n", record("EUI48", None)),
            ("a HTTPS 1 . alpn=\"h2\"", "a HTTPS \\# 10 00010000010003026832\n", record("HTTPS", None)),
        ] {
            assert_eq!(line(text), (plain.to_string(), head), "{text}");
        }
    }

    #[test]
    fn a_length_of_time_ends_with_its_unit() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1h30m", Some(5400)),
            ("1W", Some(604_800)),
            ("1h30", None),
            ("+5", None),
            ("h", None),
            ("1.5h", None),
            ("99999999999999999999", Some(u64::MAX)),
        ] {
            assert_eq!(seconds(text.as_bytes()), expected, "{text}");
        }
    }
}
