//! The response of an HTTP/1 server, taken apart as leniently as curl does it: bare line feeds, folded lines, a space
//! before the colon, a missing reason phrase, any octet in a value but NUL. What would be dangerous to a proxy
//! (request smuggling) does no harm to a probe, which reads one response on a connection of its own. Pure; `http1`
//! reads the octets.

use crate::health::probe::failure::shown;

/// Longest line of a chunk's size or of a trailer. Judgment: extensions are hardly ever used.
const LINE_LIMIT: usize = 8 * 1024;

/// A head, line by line.
#[derive(Debug, Default)]
pub(super) struct Head {
    status: Option<u16>,
    location: Option<Vec<u8>>,
    length: Option<u64>,
    is_chunked: bool,
    /// The header that a folded line may still continue: its name in lower case, and its value.
    pending: Option<(Vec<u8>, Vec<u8>)>,
}

impl Head {
    /// Whether a response may begin with these octets.
    pub(super) fn may_begin_with(octets: &[u8]) -> bool {
        let start = octets.iter().position(|octet| !matches!(octet, b'\r' | b'\n')).unwrap_or(octets.len());
        let line = &octets[start..];
        let seen = line.len().min(PROTOCOL.len());
        line[..seen].eq_ignore_ascii_case(&PROTOCOL[..seen])
    }

    /// Takes in a line, without its line feed; whether it was the last. An error is what is wrong with it, in words.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<bool, String> {
        let line = line.trim_ascii_end_of(b'\r');
        if line.contains(&0) {
            return Err("a NUL octet in the head".to_owned());
        }
        match (self.status, line) {
            // Some servers send an empty line too many after the response before.
            (None, []) => {}
            (None, line) => self.status = Some(status_of(line)?),
            (Some(_), []) => {
                self.settle()?;
                return Ok(true);
            }
            (Some(_), [b' ' | b'\t', more @ ..]) => {
                if let Some((_, value)) = &mut self.pending {
                    value.push(b' ');
                    value.extend(more.trim_ascii());
                }
            }
            (Some(_), line) => {
                self.settle()?;
                let colon = line.iter().position(|octet| *octet == b':');
                let colon = colon.ok_or_else(|| format!("a header line without a colon: {:?}", shown(line)))?;
                let name = line[..colon].trim_ascii_end().to_ascii_lowercase();
                self.pending = Some((name, line[colon + 1..].trim_ascii().to_vec()));
            }
        }
        Ok(false)
    }

    /// Whether all that came is complete, as the connection ends here: after a whole line, though no empty one
    /// followed.
    pub(super) fn end(&mut self) -> Result<bool, String> {
        self.settle()?;
        Ok(self.status.is_some())
    }

    /// The status code; 0 before there is one.
    pub(super) fn status(&self) -> u16 {
        self.status.unwrap_or_default()
    }

    /// Whether another head follows: an interim response (RFC 9110, 15.2), but for a change of protocols.
    pub(super) fn is_interim(&self) -> bool {
        matches!(self.status(), 100 | 102..=199)
    }

    /// Where a redirect leads.
    pub(super) fn location(&self) -> Option<&[u8]> {
        self.location.as_deref()
    }

    /// How the body ends (RFC 9112, 6.3).
    pub(super) fn body(&self) -> Body {
        match (self.status(), self.is_chunked, self.length) {
            (101 | 204 | 304, ..) => Body::Ended,
            (_, true, _) => Body::Chunked(Chunk::Size),
            (_, false, Some(length)) => Body::Length(length),
            (_, false, None) => Body::UntilEnd,
        }
    }

    fn settle(&mut self) -> Result<(), String> {
        let Some((name, value)) = self.pending.take() else { return Ok(()) };
        match name.as_slice() {
            b"location" => self.location = self.location.take().or(Some(value)),
            b"content-length" => self.length = length_of(value.trim_ascii())?.or(self.length),
            b"transfer-encoding" => {
                let mut codings = value.split(|octet| *octet == b',').map(<[u8]>::trim_ascii);
                self.is_chunked |= codings.any(|coding| coding.eq_ignore_ascii_case(b"chunked"));
            }
            _ => {}
        }
        Ok(())
    }
}

const PROTOCOL: &[u8] = b"HTTP/";

/// `HTTP/1.1 200 OK`, with or without a reason, after any number of spaces. Some servers call HTTP/1.1 by the name of
/// 2.
fn status_of(line: &[u8]) -> Result<u16, String> {
    let wrong = || shown(line);
    let (protocol, rest) = line.split_at_checked(PROTOCOL.len()).ok_or_else(wrong)?;
    if !protocol.eq_ignore_ascii_case(PROTOCOL) {
        return Err(wrong());
    }
    let version = rest.iter().position(|octet| *octet == b' ').ok_or_else(wrong)?;
    if !matches!(&rest[..version], b"1.0" | b"1.1" | b"2" | b"2.0") {
        return Err(wrong());
    }
    match rest[version..].trim_ascii_start() {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..]
            if !rest.first().is_some_and(u8::is_ascii_digit) =>
        {
            Ok([a, b, c].into_iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
        }
        _ => Err(wrong()),
    }
}

/// The number that the value begins with; `None` for one that is too great to be meant.
fn length_of(value: &[u8]) -> Result<Option<u64>, String> {
    let digits = value.strip_prefix(b"+").unwrap_or(value);
    let len = digits.iter().take_while(|octet| octet.is_ascii_digit()).count();
    match std::str::from_utf8(&digits[..len]) {
        Ok(digits) if !digits.is_empty() => Ok(digits.parse().ok()),
        Ok(_) | Err(_) => Err(format!("Content-Length {:?}", shown(value))),
    }
}

/// What is still to come of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing.
    Ended,
    /// So many octets.
    Length(u64),
    /// Chunks.
    Chunked(Chunk),
    /// Whatever comes until the connection ends.
    UntilEnd,
}

/// Where in its chunks a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Before the line with the size.
    Size,
    /// In the data.
    Data(u64),
    /// Before the line end after the data.
    DataEnd,
    /// After the last chunk.
    Trailer,
}

impl Body {
    /// Takes what it can of `input`: gives how many octets it took, and adds to `out` what they hold. Nothing is taken
    /// when more must come first.
    pub(super) fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let took = match *self {
                Body::Ended => 0,
                Body::UntilEnd => {
                    out.extend(rest);
                    rest.len()
                }
                Body::Length(left) => {
                    let took = take_data(rest, left, out);
                    *self = if took as u64 == left { Body::Ended } else { Body::Length(left - took as u64) };
                    took
                }
                Body::Chunked(chunk) => self.take_chunk(chunk, rest, out)?,
            };
            at += took;
            if took == 0 || at == input.len() {
                return Ok(at);
            }
        }
    }

    fn take_chunk(&mut self, chunk: Chunk, rest: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        if let Chunk::Data(left) = chunk {
            let took = take_data(rest, left, out);
            let left = left - took as u64;
            *self = Body::Chunked(if left == 0 { Chunk::DataEnd } else { Chunk::Data(left) });
            return Ok(took);
        }
        let Some(end) = rest.iter().position(|octet| *octet == b'\n') else {
            return if rest.len() > LINE_LIMIT { Err("a chunk's line without an end".to_owned()) } else { Ok(0) };
        };
        let line = rest[..end].trim_ascii_end_of(b'\r');
        *self = match chunk {
            Chunk::Size => match size_of(line)? {
                0 => Body::Chunked(Chunk::Trailer),
                size => Body::Chunked(Chunk::Data(size)),
            },
            Chunk::Data(_) | Chunk::DataEnd if line.is_empty() => Body::Chunked(Chunk::Size),
            Chunk::Data(_) | Chunk::DataEnd => return Err("a chunk that is longer than its size".to_owned()),
            Chunk::Trailer if line.is_empty() => Body::Ended,
            Chunk::Trailer => Body::Chunked(Chunk::Trailer),
        };
        Ok(end + 1)
    }
}

fn take_data(rest: &[u8], left: u64, out: &mut Vec<u8>) -> usize {
    let took = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
    out.extend(&rest[..took]);
    took
}

/// The size in hexadecimal; extensions after it don't matter.
fn size_of(line: &[u8]) -> Result<u64, String> {
    let len = line.iter().take_while(|octet| octet.is_ascii_hexdigit()).count();
    let digits = std::str::from_utf8(&line[..len]).unwrap_or_default();
    u64::from_str_radix(digits, 16).map_err(|_| format!("a chunk's size is {:?}", shown(line)))
}

/// What `[u8]::trim_ascii_end` is for one octet.
trait TrimEnd {
    fn trim_ascii_end_of(&self, octet: u8) -> &[u8];
}

impl TrimEnd for [u8] {
    fn trim_ascii_end_of(&self, octet: u8) -> &[u8] {
        let end = self.iter().rposition(|other| *other != octet).map_or(0, |last| last + 1);
        &self[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(mut body: Body, input: &[u8], step: usize) -> Result<(String, Body), String> {
        let (mut out, mut held) = (Vec::new(), Vec::new());
        for part in input.chunks(step) {
            held.extend(part);
            let took = body.take(&held, &mut out)?;
            held.drain(..took);
        }
        Ok((String::from_utf8_lossy(&out).into_owned(), body))
    }

    #[test]
    fn bodies_come_out_the_same_however_they_are_cut() {
        let chunks = Body::Chunked(Chunk::Size);
        for step in 1..9 {
            for (body, input, held, left) in [
                (Body::Length(2), "okmore", "ok", Body::Ended),
                (Body::Length(9), "ok", "ok", Body::Length(7)),
                (Body::UntilEnd, "ok\r\n", "ok\r\n", Body::UntilEnd),
                (chunks, "2\r\nok\r\n0\r\n\r\n", "ok", Body::Ended),
                (chunks, "2;a=b\nok\n0\n\n", "ok", Body::Ended),
                (chunks, "001 \r\no\r\n1\r\nk\r\n0\r\nX: y\r\n\r\n", "ok", Body::Ended),
                (chunks, "3\r\nok", "ok", Body::Chunked(Chunk::Data(1))),
            ] {
                assert_eq!(body_of(body, input.as_bytes(), step), Ok((held.to_owned(), left)), "{input:?} by {step}");
            }
            for input in ["zz\r\n", "\r\n", "1\r\nok\r\n", "fffffffffffffffff\r\n"] {
                assert!(body_of(chunks, input.as_bytes(), step).is_err(), "{input:?} by {step}");
            }
        }
        assert!(Body::Chunked(Chunk::Size).take(&[b'0'; LINE_LIMIT + 1], &mut Vec::new()).is_err());
    }

    #[test]
    fn what_can_not_become_a_response_is_known_at_once() {
        for (octets, may) in
            [("", true), ("\r\nHT", true), ("http/1", true), ("HTTP/1.1 200", true), ("2", false), ("HTP", false)]
        {
            assert_eq!(Head::may_begin_with(octets.as_bytes()), may, "{octets:?}");
        }
    }
}
