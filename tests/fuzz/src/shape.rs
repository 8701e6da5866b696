//! A message's shape, read by other code than the server's and hickory's: where its sections end. Slow and plain.

/// Octets of a header.
pub(crate) const HEADER: usize = 12;

/// The 16 bits at `at`.
pub(crate) fn field(wire: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([wire[at], wire[at + 1]])
}

/// The one question of a message, where it has one whose name is written out and at most 255 octets long.
pub(crate) fn question(wire: &[u8]) -> Option<&[u8]> {
    if field(wire, 4) != 1 {
        return None;
    }
    let mut at = HEADER;
    loop {
        match *wire.get(at)? {
            0 => break,
            len @ 1..64 => at += 1 + usize::from(len),
            64.. => return None,
        }
    }
    (at + 1 - HEADER <= 255).then(|| wire.get(HEADER..at + 5))?
}

/// Where the message ends by its counts; `None` where it breaks off before, or a name in it doesn't end: labels that
/// aren't ones, pointers that don't point back, more than 255 octets.
pub(crate) fn end(wire: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    for _ in 0..field(wire, 4) {
        at = after_name(wire, at)? + 4;
    }
    let records: u32 = [6, 8, 10].iter().map(|count| u32::from(field(wire, *count))).sum();
    for _ in 0..records {
        at = after_name(wire, at)?;
        let len = wire.get(at + 8..at + 10)?;
        at += 10 + usize::from(u16::from_be_bytes([len[0], len[1]]));
    }
    (at <= wire.len()).then_some(at)
}

fn after_name(wire: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut after, mut octets) = (start, None, 0);
    loop {
        let len = usize::from(*wire.get(at)?);
        match len {
            0 => return Some(after.unwrap_or(at + 1)),
            1..64 => {
                octets += 1 + len;
                at += 1 + len;
                if octets > 254 {
                    return None;
                }
            }
            192.. => {
                let to = (len & 0x3F) << 8 | usize::from(*wire.get(at + 1)?);
                after = after.or(Some(at + 2));
                if to >= at || to < HEADER {
                    return None;
                }
                at = to;
            }
            _ => return None,
        }
    }
}
